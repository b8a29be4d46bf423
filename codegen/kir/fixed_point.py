"""Fixed-point arithmetic on 32-bit lanes as kernel IR; `ir.fixed_point` says what it means.

On NEON `mul_high` and `shr_round` are one instruction each.
"""

from __future__ import annotations

from codegen.kir.build import KernelBuilder
from codegen.kir.ir import Imm, Operand
from codegen.kir.types import Elem

_BITS = 31


def multiply(b: KernelBuilder, x: Operand, mantissa: Operand, shift: Operand) -> Operand:
    """x times a factor: left by a positive `shift`, `mul_high`, right by a negative one."""
    product = b.op("mul_high", _raised(b, x, shift), mantissa)
    low, high = b.range_of(shift)
    if low == high:
        return divide_by_power(b, product, max(-low, 0))
    if low >= 0:
        return product
    zero = b.const(0, x)
    # `down` is minus the bits to divide by: it also tells where there are any.
    down = b.min(shift, zero) if high > 0 else shift
    negative = product if high < 0 else b.op("and", product, down)
    borrow = b.shift_right(negative, _BITS)
    return b.op("shr_round", b.add(product, borrow), b.sub(zero, down))


def multiply_once(b: KernelBuilder, x: Operand, mantissa: Operand, shift: Operand) -> Operand:
    """x times a factor that is not negative, rounded a single time."""
    raised = _raised(b, x, shift)
    product = b.op("mul_high", raised, mantissa)
    low, high = b.range_of(shift)
    if low >= 0:
        return product
    zero, half = b.const(0, x), b.const(1 << (_BITS - 1), x)
    # `mul_high` rounds up where bit 30 of the product is set; unless nothing is divided, undo it.
    rounded_up = b.compare("ne", b.op("and", b.mul(raised, mantissa), half), zero)
    below = b.select(rounded_up, b.sub(product, b.const(1, x)), product)
    if low == high:
        return b.op("shr_round", below, b.const(-low, x))
    bits = b.sub(zero, b.min(shift, zero) if high > 0 else shift)
    divided = b.op("shr_round", below, bits)
    return divided if high < 0 else b.select(b.compare("gt", bits, zero), divided, product)


def _raised(b: KernelBuilder, x: Operand, shift: Operand) -> Operand:
    """x * 2^shift where the shift is positive."""
    low, high = b.range_of(shift)
    if high <= 0:
        return x
    if low == high:
        return b.shift_left(x, high)
    return b.op("shl_by", x, b.max(shift, b.const(0, x)) if low < 0 else shift)


def divide_by_power(b: KernelBuilder, x: Operand, bits: int) -> Operand:
    """x / 2^bits, rounded, halves away from zero; x is not the lowest number."""
    if bits == 0:
        return x
    # A negative half less one rounds down.
    return b.op("shr_round", b.add(x, b.shift_right(x, _BITS)), b.const(bits, x))


def leading_zeros(b: KernelBuilder, x: Operand) -> tuple[Operand, Operand]:
    """(number of zero bits above the highest one, x shifted left by it); 31 and 0 for x = 0."""
    zeros: Operand = b.const(0, x)
    for bits in (16, 8, 4, 2, 1):
        small = b.compare("lt", x, b.const(1 << (32 - bits), x))
        zeros = b.select(small, b.add(zeros, b.const(bits, x)), zeros)
        x = b.select(small, b.shift_left(x, bits), x)
    return zeros, x


def one_over_one_plus(b: KernelBuilder, x: Operand) -> Operand:
    """1 / (1 + x) as Q0 for 0 <= x < 1 as Q0: three steps of Newton's method."""

    def product(first: Operand, second: Operand) -> Operand:
        return b.op("mul_high", first, second)

    # Half the denominator, (x + 1 + 2^31 - 1) / 2, without leaving 32 bits.
    unsigned = b.add(b.bitcast(x, Elem.U32), Imm(1 << _BITS, x.type.with_elem(Elem.U32)))
    half = b.bitcast(b.shift_right(unsigned, 1), Elem.I32)
    guess = b.add(b.const(_q2(48 / 17), x), product(half, b.const(_q2(-32 / 17), x)))
    for _ in range(3):
        error = b.sub(b.const(1 << 29, x), product(half, guess))
        guess = b.add(guess, saturating_shift(b, product(guess, error), 2))
    return saturating_shift(b, guess, 1)


def saturating_shift(b: KernelBuilder, x: Operand, bits: int) -> Operand:
    """x * 2^bits, the lowest or highest number where that does not fit."""
    highest = (1 << _BITS) - 1
    result = b.shift_left(x, bits)
    above = b.compare("gt", x, b.const(highest >> bits, x))
    below = b.compare("lt", x, b.const(-(1 << (_BITS - bits)), x))
    result = b.select(above, b.const(highest, x), result)
    return b.select(below, b.const(-highest - 1, x), result)


def _q2(real: float) -> int:
    """The nearest number with two integer bits."""
    return round(real * 2.0**29)
