"""Imports the magnitudes, real parts and imaginary parts of spectra.

`without_complex` merges these operators with the RFFT2D before them, so each of them reads a signal
and computes the transform itself.
"""

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
    "the result of an RFFT2D over one axis, with a constant length that is a power of two from 4 "
    f"to {MOST_LENGTH}"
)


@TFLITE.imports("RFFT2D", limits=f"only {', '.join(READERS)} may read its result")
def rfft_2d(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Raise `Unsupported`: the RFFT2D was not merged, because another operator reads it."""
    raise Unsupported(f"an operator other than {', '.join(READERS)} reads its complex result")


@TFLITE.imports("COMPLEX_ABS", limits=_LIMITS)
def complex_abs(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute the magnitudes of the spectrum."""
    parts = [_part(emitter, inputs, index) for index in (0, 1)]
    squares = [emitter.add(Mul(), part, part) for part in parts]
    return emitter.add(Sqrt(), emitter.add(Add(), *squares))


@TFLITE.imports("REAL", limits=_LIMITS)
def real(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute the real parts of the spectrum."""
    return _part(emitter, inputs, 0)


@TFLITE.imports("IMAG", limits=_LIMITS)
def imag(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute the imaginary parts of the spectrum."""
    return _part(emitter, inputs, 1)


def _part(emitter: Emitter, inputs: Inputs, index: int) -> Value:
    """Compute the real (0) or imaginary (1) parts of the spectrum of the signal [.., 1, L]."""
    x = want_float(operand(inputs, 0))
    if len(inputs) != 2:
        raise Unsupported("its complex operand is not the result of an RFFT2D")
    lengths = known_ints(operand(inputs, 1), "the transform's length")
    if x.dtype is not DType.F32 or x.type.rank < 2 or x.shape[-2] != 1 or len(lengths) != 2:
        raise Unsupported(
            f"a transform of lengths {tuple(lengths)} on {x.dtype.value}{list(x.shape)}"
        )
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
