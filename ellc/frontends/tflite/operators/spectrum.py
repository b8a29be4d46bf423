"""Spectra of floats: magnitudes and parts. `without_complex` joins a transform with its reader."""

from __future__ import annotations

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.tflite.common import operand, want_float
from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.operators.signal import MOST_LENGTH, spectrum_of
from ellc.frontends.tflite.registry import TFLITE
from ellc.frontends.tflite.spectra import READERS
from ellc.ir.ops.arithmetic import Add, Mul
from ellc.ir.ops.functions import Sqrt
from ellc.ir.ops.shape import Slice
from ellc.ir.types import DType

_LIMITS = (
    "of a RFFT2D over one axis, whose length is a constant and a power of two from 4 to "
    f"{MOST_LENGTH}"
)


@TFLITE.imports("RFFT2D", limits=f"where {', '.join(READERS)} read it")
def rfft_2d(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Refused: one that is left has another reader."""
    raise Unsupported(f"a complex result that others than {', '.join(READERS)} read")


@TFLITE.imports("COMPLEX_ABS", limits=_LIMITS)
def complex_abs(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """The magnitudes."""
    parts = [_part(emitter, inputs, index) for index in (0, 1)]
    squares = [emitter.add(Mul(), part, part) for part in parts]
    return emitter.add(Sqrt(), emitter.add(Add(), *squares))


@TFLITE.imports("REAL", limits=_LIMITS)
def real(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """The real parts."""
    return _part(emitter, inputs, 0)


@TFLITE.imports("IMAG", limits=_LIMITS)
def imag(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """The imaginary parts."""
    return _part(emitter, inputs, 1)


def _part(emitter: Emitter, inputs: Inputs, index: int) -> Value:
    """One part of the spectrum of [.., 1, L]."""
    x = want_float(operand(inputs, 0))
    if len(inputs) != 2:
        raise Unsupported("complex numbers that are no result of RFFT2D")
    lengths = known_ints(operand(inputs, 1), "the transform's length")
    if x.dtype is not DType.F32 or x.type.rank < 2 or x.shape[-2] != 1 or len(lengths) != 2:
        raise Unsupported(f"a transform {tuple(lengths)} of {x.dtype.value}{list(x.shape)}")
    if lengths[0] != 1:
        raise Unsupported(f"a transform over two axes: {tuple(lengths)}")
    length = lengths[1]
    if x.shape[-1] > length > 0:
        starts, steps = (0,) * x.type.rank, (1,) * x.type.rank
        x = emitter.add(Slice(starts, (*x.shape[:-1], length), steps), x)
    pairs = spectrum_of(emitter, x, length)
    rows = pairs.type.elements // 2
    part = emitter.add(Slice((0, index), (rows, 1), (1, 1)), reshaped(emitter, pairs, (rows, 2)))
    return reshaped(emitter, part, (*x.shape[:-1], length // 2 + 1))
