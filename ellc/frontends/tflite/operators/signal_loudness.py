"""Imports TensorFlow Lite Micro's signal operators for loudness: gain control and logarithm."""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import operand
from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.operators.signal_parts import (
    as_type,
    bits_option,
    length_in_bits,
    require_type,
    u32_option,
    with_number,
)
from ellc.frontends.tflite.registry import TFLITE
from ellc.ir.ops.arithmetic import Add, Minimum, Mul, Sub
from ellc.ir.ops.comparisons import And, Greater, Less, Select, ShiftLeft, ShiftRight
from ellc.ir.ops.fixed_point_functions import Interpolate
from ellc.ir.ops.shape import Gather
from ellc.ir.types import Array, DType

# The size of the table of gains. For a number above 2 that has n bits, 3 coefficients start at the
# index 4n - 6. The numbers 0, 1 and 2 have one entry each.
_GAINS = 125
_RATIO_BITS, _GAIN_BITS = 12, 6  # the fraction bits of ratios and results


@TFLITE.imports("CUSTOM:SignalPCAN", limits=f"a table of {_GAINS} gains")
def gain_control(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Multiply energies by a gain that depends on the noise, and compress the product."""
    x = require_type(operand(inputs, 0), DType.U32, "operand", 1)
    noise = require_type(operand(inputs, 1), DType.U32, "estimate of noise", 1)
    table = require_type(operand(inputs, 2), DType.I16, "table of gains", 1)
    if noise.shape != x.shape or table.shape[0] < _GAINS:
        raise Unsupported(f"{x.shape} energies, {noise.shape} estimates, {table.shape} gains")
    gain = as_type(emitter, _gain(emitter, noise, as_type(emitter, table, DType.I32)), DType.U32)
    product = emitter.add(Mul(), *(as_type(emitter, v, DType.U64) for v in (x, gain)))
    shift = node.options.whole("snr_shift")
    if not 0 <= shift < 64:
        raise Unsupported(f"snr_shift is {shift}; 0 to 63 are supported")
    ratio = as_type(emitter, with_number(emitter, ShiftRight(), product, shift), DType.U32)
    square = emitter.add(Mul(), ratio, ratio)
    curved = with_number(emitter, ShiftRight(), square, 2 + 2 * _RATIO_BITS - _GAIN_BITS)
    straight = with_number(emitter, ShiftRight(), ratio, _RATIO_BITS - _GAIN_BITS)
    straight = with_number(emitter, Sub(), straight, 1 << _GAIN_BITS)
    is_small = with_number(emitter, Less(), ratio, 2 << _RATIO_BITS)
    return emitter.add(Select(), curved, straight, is_small)


def _gain(emitter: Emitter, x: Value, table: Value) -> Value:
    """Look up the gain for x (u32); the result is an i32 within 16 bits.

    The table has a parabola for every number of bits that x may have; the parabola is evaluated at
    a fraction of 10 bits. The numbers 0, 1 and 2 have one entry each.
    """
    length = length_in_bits(emitter, x)
    eleven = emitter.constant(emitter.full(x.shape, 11, np.int32))
    up = as_type(emitter, emitter.add(Sub(), eleven, length), DType.U32)
    down = as_type(emitter, emitter.add(Sub(), length, eleven), DType.U32)
    is_short = with_number(emitter, Less(), length, 11)
    moved = [emitter.add(op, x, by) for op, by in ((ShiftLeft(), up), (ShiftRight(), down))]
    fraction = with_number(emitter, And(), emitter.add(Select(), *moved, is_short), 0x3FF)
    fraction = as_type(emitter, fraction, DType.I32)
    position = with_number(emitter, Sub(), with_number(emitter, Mul(), length, 4), 6)
    terms = [
        emitter.add(Gather(0), table, with_number(emitter, Add(), position, i) if i else position)
        for i in range(3)
    ]
    value = with_number(emitter, ShiftRight(), emitter.add(Mul(), terms[2], fraction), 5)
    value = emitter.add(Add(), value, with_number(emitter, ShiftLeft(), terms[1], 5))
    value = with_number(emitter, Add(), emitter.add(Mul(), value, fraction), 1 << 14)
    value = emitter.add(Add(), with_number(emitter, ShiftRight(), value, 15), terms[0])
    small = emitter.add(Gather(0), table, as_type(emitter, x, DType.I32))
    is_large = with_number(emitter, Greater(), x, 2)
    chosen = emitter.add(Select(), value, small, is_large)
    return as_type(emitter, as_type(emitter, chosen, DType.I16), DType.I32)


_LOG_BITS = 16  # the fraction bits of logarithms
_SEGMENT_BITS = 9  # neighbouring points of the table are 2^9 apart in the fraction
_LN_2 = 45426  # the natural logarithm of 2, times 2^16, rounded


@TFLITE.imports("CUSTOM:SignalFilterBankLog")
def logarithm(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute the natural logarithm of x * 2^`input_correction_bits`, times a scale.

    The result is an i16 of at most 32767, and 0 if x * 2^`input_correction_bits` is at most 1.
    """
    x = require_type(operand(inputs, 0), DType.U32, "operand", 1)
    scaled = with_number(emitter, ShiftLeft(), x, bits_option(node, "input_correction_bits"))
    log2 = as_type(emitter, _log2(emitter, scaled), DType.U64)
    half = 1 << (_LOG_BITS - 1)
    value = with_number(emitter, Add(), with_number(emitter, Mul(), log2, _LN_2), half)
    value = as_type(emitter, with_number(emitter, ShiftRight(), value, _LOG_BITS), DType.U32)
    value = with_number(emitter, Mul(), value, u32_option(node, "output_scale"))
    value = with_number(emitter, ShiftRight(), with_number(emitter, Add(), value, half), _LOG_BITS)
    bounded = with_number(emitter, Minimum(), value, 2**15 - 1)
    zero = emitter.constant(np.zeros(1, np.uint32))
    is_large = with_number(emitter, Greater(), scaled, 1)
    return as_type(emitter, pointwise(emitter, Select(), bounded, zero, is_large), DType.I16)


def _log2(emitter: Emitter, x: Value) -> Value:
    """Compute the i32 logarithm to base 2 of a u32 x >= 1, with 16 fraction bits."""
    exponent = with_number(emitter, Sub(), length_in_bits(emitter, x), 1)
    bits = as_type(emitter, exponent, DType.U32)
    ones = emitter.constant(emitter.full(x.shape, 1, np.uint32))
    rest = emitter.add(Sub(), x, emitter.add(ShiftLeft(), ones, bits))
    sixteen = emitter.constant(emitter.full(x.shape, _LOG_BITS, np.uint32))
    moved = [
        emitter.add(ShiftLeft(), rest, emitter.add(Sub(), sixteen, bits)),
        emitter.add(ShiftRight(), rest, emitter.add(Sub(), bits, sixteen)),
    ]
    is_short = with_number(emitter, Less(), bits, _LOG_BITS)
    fraction = as_type(emitter, emitter.add(Select(), *moved, is_short), DType.I32)
    points = _log_points()
    tables = (emitter.full((len(points) - 1,), 0, np.int32), np.diff(points))
    line = emitter.add(
        Interpolate(_SEGMENT_BITS), fraction, *(emitter.constant(table) for table in tables)
    )
    base = emitter.add(
        Gather(0),
        emitter.constant(points),
        with_number(emitter, ShiftRight(), fraction, _SEGMENT_BITS),
    )
    added = emitter.add(Add(), base, with_number(emitter, ShiftRight(), line, _LOG_BITS))
    exponent = with_number(emitter, ShiftLeft(), exponent, _LOG_BITS)
    return emitter.add(Add(), emitter.add(Add(), exponent, fraction), added)


def _log_points() -> Array:
    """Compute (log2(1 + i / 128) - i / 128) * 2^16 for i from 0 to 128, rounded."""
    steps = np.arange(129) / 128
    return np.rint((np.log2(1 + steps) - steps) * (1 << _LOG_BITS)).astype(np.int32)
