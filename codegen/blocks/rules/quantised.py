"""Operators on stored integers of 8 or 16 bits, and fixed-point functions, as kernel IR.

They compute in 32-bit lanes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from ellc.codegen.blocks.linear_sums import LinearSum, linear_sum
from ellc.codegen.blocks.pointwise import emits, narrows
from ellc.codegen.kir import fixed_point, fixed_point_16
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand
from ellc.codegen.kir.types import Elem
from ellc.ir.ops.fixed_point_functions import (
    Function16,
    InverseRoot,
    LeadingZeros,
    LogOfSum,
    RoundedRoot,
)
from ellc.ir.ops.quantised import AFFINE_RULES, Dequantize, Quantize, Requantize
from ellc.ir.ops.quantised_arithmetic import QuantAdd, QuantDiv, QuantMul
from ellc.ir.types import DType

# The sum of `_MAGIC` and a float of magnitude below 2^22 has the nearest integer in its lowest
# bits. `_MAGIC_BITS` are the bits of `_MAGIC` as a float32.
_MAGIC, _MAGIC_BITS = 1.5 * 2.0**23, 0x4B400000
_FIXED_POINT = ("tflite", "tflite_once", "tflite_reduced")
_BYTES = (DType.I8, DType.U8)
_FAR = 2.0**20  # larger magnitudes saturate in any case


@emits(Requantize, costly=True)
def _requantize(op: Requantize, b: KernelBuilder, x: Operand, *factor: Operand) -> Operand:
    if op.rule in _FIXED_POINT:
        return _stored(b, _in_fixed_point(op, b, x, *factor), op)
    if op.rule in AFFINE_RULES:
        return _affine(b, op, x, *factor)
    real = b.mul(b.convert(x, Elem.F32), factor[0])
    low, high = (float(v - op.zero_point) for v in (op.low, op.high))
    real = b.min(b.max(real, b.const(low, real)), b.const(high, real))
    return b.convert(_rounded_even(b, real, op.zero_point), Elem.of(op.dtype))


@narrows(Requantize, when=lambda op: op.rule in _FIXED_POINT and op.dtype in _BYTES)
def _requantize_narrowly(
    op: Requantize, b: KernelBuilder, x: Sequence[Operand], *factor: Sequence[Operand]
) -> Operand:
    """The results of two vectors of sums as one vector."""
    halves = b.interleaved(
        [partial(_halved, b, op, sums, *factors) for sums, *factors in zip(x, *factor, strict=True)]
    )
    return _limited_half(b, b.op("join", *halves), op)


def _halved(b: KernelBuilder, op: Requantize, x: Operand, *factor: Operand) -> Operand:
    return _saturated(b, _in_fixed_point(op, b, x, *factor), Elem.I16)


def _in_fixed_point(
    op: Requantize, b: KernelBuilder, x: Operand, mantissa: Operand, shift: Operand
) -> Operand:
    """x times a factor by one of TensorFlow Lite's rules."""
    if op.rule == "tflite_once":
        return fixed_point.multiply_once(b, x, mantissa, shift)
    if op.rule == "tflite_reduced":
        return fixed_point.multiply_reduced(b, x, mantissa, shift)
    keeps_negative = op.low < op.zero_point
    return fixed_point.multiply(b, x, mantissa, shift, keeps_negative=keeps_negative)


def _affine(
    b: KernelBuilder, op: Requantize, x: Operand, factor: Operand, offset: Operand
) -> Operand:
    """An affine rule. The sum is too small to need a limit before it is rounded."""
    if op.rule == "affine_apart":
        sign = b.op("and", x, b.const(-(1 << 31), x))
        offset = b.bitcast(b.op("or", b.bitcast(offset, Elem.I32), sign), Elem.F32)
    real = b.mul_add(b.convert(x, Elem.F32), factor, offset)
    return _limited(b, _rounded_even(b, real, op.zero_point), op)


def _limited(b: KernelBuilder, value: Operand, op: Requantize | QuantAdd) -> Operand:
    """`value`, saturated to the stored type, then clamped.

    Only limits inside the range of the type take instructions, each for more lanes than before.
    """
    stored = _narrowed(b, value, op.dtype)
    info = np.iinfo(op.dtype.numpy)
    if op.low > info.min:
        stored = b.max(stored, b.const(op.low, stored))
    return b.min(stored, b.const(op.high, stored)) if op.high < info.max else stored


@emits(Quantize, costly=True)
def _quantize(op: Quantize, b: KernelBuilder, x: Operand, scale: Operand, zero: Operand) -> Operand:
    real = _quotient(b, x, scale)
    real = b.select(b.compare("eq", real, real), real, b.const(0.0, real))
    real = b.min(b.max(real, b.const(-_FAR, real)), b.const(_FAR, real))
    round_ = _rounded_even if op.rounding == "half_even" else _rounded_away
    return _narrowed(b, b.add(round_(b, real), zero), op.dtype)


@emits(Dequantize)
def _dequantize(
    op: Dequantize, b: KernelBuilder, x: Operand, scale: Operand, zero: Operand
) -> Operand:
    return b.mul(b.convert(b.sub(b.convert(x, Elem.I32), zero), Elem.F32), scale)


@emits(QuantAdd, costly=True)
def _quant_add(op: QuantAdd, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    # Thousands of modelled cycles on pi3_64 of 1x1 layers with a residual, by the definition and by
    # the linear function: 144 -> 24, 56x56 3,592 and 3,429; 192 -> 32, 28x28 1,427 and 1,373.
    form = linear_sum(op, x.type.elem) if x.type == y.type else None
    if form is not None:
        rounded = _linear(b, form, x, y)
        if rounded.type.lanes > 1:
            return _limited(b, rounded, op)
        low, high = b.const(op.low, rounded), b.const(op.high, rounded)
        return b.convert(b.min(b.max(rounded, low), high), Elem.of(op.dtype))
    first = _raised(b, x, op.left_shift, op.x_zero, op.x_multiplier, op.x_shift)
    second = _raised(b, y, op.left_shift, op.y_zero, op.y_multiplier, op.y_shift)
    both = b.sub(first, second) if op.subtract else b.add(first, second)
    product = b.op("mul_high", both, b.const(op.out_multiplier, both))
    return _stored(b, fixed_point.divide_by_power(b, product, -op.out_shift), op)


def _linear(b: KernelBuilder, form: LinearSum, x: Operand, y: Operand) -> Operand:
    """The sum as one linear function, in 32 bits."""
    first, second = (b.convert(v, Elem.I32) for v in (x, y))
    part = b.mul_add(first, b.const(form.x_factor, first), b.const(form.offset, first))
    total = b.mul_add(second, b.const(form.y_factor, second), part)
    return b.shift_right(total, form.bits)


@emits(QuantMul, costly=True)
def _quant_mul(op: QuantMul, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    product = b.mul(_difference(b, x, op.x_zero), _difference(b, y, op.y_zero))
    mantissa, shift = b.const(op.multiplier, product), b.const(op.shift, product)
    return _stored(b, fixed_point.multiply(b, product, mantissa, shift), op)


@emits(QuantDiv, costly=True)
def _quant_div(op: QuantDiv, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    above, below = _difference(b, x, op.x_zero), _difference(b, y, op.y_zero)
    return _stored(b, fixed_point.quotient(b, above, below, op.multiplier, op.shift), op)


@emits(LogOfSum, costly=True)
def _log_of_sum(op: LogOfSum, b: KernelBuilder, x: Operand) -> Operand:
    return fixed_point.log_of_sum(b, x)


@emits(InverseRoot, costly=True)
def _inverse_root(op: InverseRoot, b: KernelBuilder, x: Operand) -> Operand:
    part = {"mantissa": fixed_point.inverse_root, "shift": fixed_point.inverse_root_shift}
    return part[op.part](b, x)


@emits(RoundedRoot, costly=True)
def _rounded_root(op: RoundedRoot, b: KernelBuilder, x: Operand) -> Operand:
    return fixed_point.rounded_root(b, x)


@emits(Function16, costly=True)
def _function_16(op: Function16, b: KernelBuilder, x: Operand) -> Operand:
    return fixed_point_16.function_16(b, x, op.function, op.integer_bits)


@emits(LeadingZeros)
def _leading_zeros(op: LeadingZeros, b: KernelBuilder, x: Operand) -> Operand:
    return fixed_point.zeros_above(b, x)


# --- parts ---------------------------------------------------------------------------------------


def _difference(b: KernelBuilder, x: Operand, zero: int) -> Operand:
    """`x - zero` in 32 bits."""
    widened = b.convert(x, Elem.I32)
    return b.sub(widened, b.const(zero, widened)) if zero else widened


def _raised(
    b: KernelBuilder, x: Operand, left_shift: int, zero: int, multiplier: int, shift: int
) -> Operand:
    """`(x - zero) * 2^left_shift` times a fixed-point factor.

    If the factor of bytes is 1/2, shifting left by one bit less saves the multiplication.
    """
    difference = _difference(b, x, zero)
    if multiplier == 1 << 30 and left_shift > 0 and x.type.elem.bytes == 1:
        product = b.shift_left(difference, left_shift - 1)
    else:
        product = b.op(
            "mul_high", b.shift_left(difference, left_shift), b.const(multiplier, difference)
        )
    return fixed_point.divide_by_power(b, product, -shift)


def _stored(
    b: KernelBuilder, scaled: Operand, op: Requantize | QuantAdd | QuantMul | QuantDiv
) -> Operand:
    """The stored integers: `scaled`, clamped, plus the zero point, narrowed to the stored type.

    Bytes are narrowed to 16 bits before they are clamped, so that each instruction clamps twice as
    many lanes.
    """
    elem = Elem.of(op.dtype)
    if elem.bytes == 1 and scaled.type.lanes > 1:
        scaled = _saturated(b, scaled, Elem.I16)
        if b.high_products:
            return _limited_half(b, scaled, op)
    low, high = (b.const(v - op.zero_point, scaled) for v in (op.low, op.high))
    clamped = b.min(b.max(scaled, low), high)
    moved = b.add(clamped, b.const(op.zero_point, scaled)) if op.zero_point else clamped
    return b.convert(moved, elem)


def _limited_half(
    b: KernelBuilder, x: Operand, op: Requantize | QuantAdd | QuantMul | QuantDiv
) -> Operand:
    """16-bit numbers plus the zero point, clamped, as bytes.

    The limits of the type take no instruction on NEON, because narrowing saturates.
    """
    elem, zero = Elem.of(op.dtype), op.zero_point
    info = np.iinfo(elem.numpy)
    low_is_left, high_is_left = op.low > info.min, op.high < info.max
    if zero > 0:  # the sum must not exceed 16 bits
        x, high_is_left = b.min(x, b.const(op.high - zero, x)), False
    if zero < 0:
        x, low_is_left = b.max(x, b.const(op.low - zero, x)), False
    if zero:
        x = b.add(x, b.const(zero, x))
    if low_is_left:
        x = b.max(x, b.const(op.low, x))
    if high_is_left:
        x = b.min(x, b.const(op.high, x))
    return _saturated(b, x, elem)


def _narrowed(b: KernelBuilder, value: Operand, dtype: DType) -> Operand:
    """`value`, saturated to a narrower type. Lanes of vectors are halved in width at each step."""
    elem = Elem.of(dtype)
    if elem.bytes == 1 and value.type.lanes > 1:
        value = _saturated(b, value, Elem.I16)
    return _saturated(b, value, elem)


def _saturated(b: KernelBuilder, value: Operand, elem: Elem) -> Operand:
    info = np.iinfo(elem.numpy)
    clamped = b.min(b.max(value, b.const(info.min, value)), b.const(info.max, value))
    return b.convert(clamped, elem)


def _quotient(b: KernelBuilder, x: Operand, scale: Operand) -> Operand:
    """`x / scale`. If `scale` is a literal power of two, a product with its exact inverse."""
    if isinstance(scale, Imm):
        mantissa, exponent = math.frexp(scale.value)
        if mantissa == 0.5 and abs(exponent) < 120:
            return b.mul(x, b.const(1 / scale.value, x))
    return b.div(x, scale)


def _rounded_even(b: KernelBuilder, real: Operand, zero_point: int = 0) -> Operand:
    """The nearest integer (halves go to the even integer), plus the zero point."""
    bits = b.bitcast(b.add(real, b.const(_MAGIC, real)), Elem.I32)
    return b.sub(bits, b.const(_MAGIC_BITS - zero_point, bits))


def _rounded_away(b: KernelBuilder, real: Operand) -> Operand:
    """The nearest integer (halves go away from zero)."""
    truncated = b.convert(real, Elem.I32)
    rest = b.sub(real, b.convert(truncated, Elem.F32))
    one, zero = b.const(1, truncated), b.const(0, truncated)
    up = b.select(b.compare("ge", rest, b.const(0.5, rest)), one, zero)
    down = b.select(b.compare("le", rest, b.const(-0.5, rest)), one, zero)
    return b.sub(b.add(truncated, up), down)
