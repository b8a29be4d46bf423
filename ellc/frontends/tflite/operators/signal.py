"""Imports TensorFlow Lite Micro's signal operators on samples and spectra, bit for bit.

The operators in this module, in `signal_channels.py` and in `signal_loudness.py` compute the
features for wake-word detection. All except the transforms become integer arithmetic with ordinary
operators of the graph.
"""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import operand, result
from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.operators.signal_parts import (
    as_type,
    bits_option,
    require_type,
    with_number,
)
from ellc.frontends.tflite.registry import TFLITE
from ellc.ir.ops.arithmetic import Maximum, Minimum, Mul, Sub
from ellc.ir.ops.comparisons import Less, Select, ShiftLeft, ShiftRight
from ellc.ir.ops.fixed_point_functions import LeadingZeros
from ellc.ir.ops.functions import Abs
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.reduce import Reduce
from ellc.ir.ops.shape import Slice
from ellc.ir.ops.spectrum import Irfft, Rfft, rfft_tables
from ellc.ir.types import DType

MOST_LENGTH = 1 << 16  # the largest length of a transform


@TFLITE.imports("CUSTOM:SignalWindow", limits="as many samples as weights, or a multiple")
def window(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Multiply samples by weights, shift right, and saturate to 16 bits."""
    x, weights = operand(inputs, 0), operand(inputs, 1)
    require_type(x, DType.I16, "operand")
    require_type(weights, DType.I16, "window", 1)
    (count,) = weights.shape
    if not count or x.type.elements % count:
        raise Unsupported(f"a window of {count} samples over {x.shape}")
    rows = as_type(emitter, reshaped(emitter, x, (x.type.elements // count, count)), DType.I32)
    product = emitter.add(Mul(), rows, as_type(emitter, weights, DType.I32))
    shifted = with_number(emitter, ShiftRight(), product, bits_option(node, "shift"))
    clipped = with_number(emitter, Minimum(), shifted, 2**15 - 1)
    clipped = with_number(emitter, Maximum(), clipped, -(2**15))
    return reshaped(emitter, as_type(emitter, clipped, DType.I16), x.shape)


@TFLITE.imports(
    "CUSTOM:SignalFftAutoScale",
    limits="-32768 counts as 32768; in the reference kernel it depends on the order of samples",
)
def auto_scale(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> list[Value]:
    """Shift samples left as far as possible without overflow; also return the number of bits."""
    x = require_type(operand(inputs, 0), DType.I16, "operand", 1)
    widened = as_type(emitter, x, DType.I32)
    top = emitter.add(Reduce("max", (0,), True), emitter.add(Abs(), widened))
    room = with_number(emitter, Sub(), emitter.add(LeadingZeros(), top), 17)
    room = with_number(emitter, Maximum(), room, 0)
    silent = with_number(emitter, Less(), top, 1)  # if all samples are 0, the kernels do not shift
    bits = emitter.add(Select(), emitter.constant(np.zeros(1, np.int32)), room, silent)
    scaled = as_type(emitter, emitter.add(ShiftLeft(), widened, bits), DType.I16)
    return [scaled, reshaped(emitter, bits, ())]


@TFLITE.imports(
    "CUSTOM:SignalRfft", limits=f"lengths that are powers of two from 4 to {MOST_LENGTH}"
)
def rfft(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute the spectrum of every row as pairs (real, imaginary)."""
    x, length = operand(inputs, 0), node.options.whole("fft_length")
    _ = node.options.whole("T")  # the operand's type: read only so that it is not reported
    return spectrum_of(emitter, x, length)


def spectrum_of(emitter: Emitter, x: Value, length: int) -> Value:
    """Convert rows [.., L], padded with zeros, to spectra [.., length + 2] of complex pairs."""
    _want_numbers(x)
    *outer, given = x.shape
    if not 4 <= length <= MOST_LENGTH or length.bit_count() != 1 or given > length:
        raise Unsupported(
            f"fft_length {length} for rows of {given}; it must be a power of two from 4 to "
            f"{MOST_LENGTH} and not smaller than a row"
        )
    rows = reshaped(emitter, x, (x.type.elements // given, given))
    if given < length:
        rows = emitter.add(Pad((0, 0), (0, length - given), 0.0), rows)
    tables = (emitter.constant(table) for table in rfft_tables(length, x.dtype))
    return reshaped(emitter, emitter.add(Rfft(), rows, *tables), (*outer, length + 2))


@TFLITE.imports(
    "CUSTOM:SignalIrfft", limits=f"lengths that are powers of two from 4 to {MOST_LENGTH}"
)
def irfft(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute the signal of every row of pairs (real, imaginary)."""
    x, length = operand(inputs, 0), node.options.whole("fft_length")
    _ = node.options.whole("T")
    _want_numbers(x)
    *outer, given = x.shape
    if not 4 <= length <= MOST_LENGTH or length.bit_count() != 1 or given != length + 2:
        raise Unsupported(f"a signal of length {length} from {given // 2} pairs")
    rows = reshaped(emitter, x, (x.type.elements // given, given))
    tables = (emitter.constant(t) for t in rfft_tables(length, x.dtype, inverse=True))
    return reshaped(emitter, emitter.add(Irfft(), rows, *tables), (*outer, length))


def _want_numbers(x: Value) -> None:
    """Raise `Unsupported` unless x has rows of a type that transforms support."""
    wanted = (DType.F32, DType.I16, DType.I32)
    if x.dtype not in wanted or x.type.rank < 1 or not x.type.elements:
        raise Unsupported(f"its operand is {x.dtype.value}{list(x.shape)}")


@TFLITE.imports("CUSTOM:SignalEnergy")
def energy(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute |z|^2 for the pairs (real, imaginary) from `start_index` up to `end_index`.

    All other numbers of the result are 0.
    """
    x = require_type(operand(inputs, 0), DType.I16, "operand", 1)
    start, end = node.options.whole("start_index"), node.options.whole("end_index")
    (count,) = shape = result(node).shape if len(result(node).shape) == 1 else (0,)
    if x.type.elements % 2 or not 0 <= start < end <= min(x.type.elements // 2, count):
        raise Unsupported(
            f"pairs {start} to {end} of {x.type.elements} numbers, for a result of shape {shape}"
        )
    pairs = reshaped(emitter, x, (x.type.elements // 2, 2))
    part = emitter.add(Slice((start, 0), (end - start, 2), (1, 1)), pairs)
    widened = as_type(emitter, part, DType.I32)
    squares = as_type(emitter, emitter.add(Mul(), widened, widened), DType.U32)
    energies = emitter.add(Reduce("sum", (1,)), squares)
    if (start, end) == (0, count):
        return energies
    return emitter.add(Pad((start,), (count - end,), 0.0), energies)
