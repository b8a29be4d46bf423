"""Fixed-point arithmetic on 32-bit lanes as kernel IR; `ellc.ir.fixed_point` defines its results.

A Qn number has n integer bits and 31 - n fraction bits. NEON has one instruction for `mul_high` and
one for `shr_round`.
"""

from __future__ import annotations

import math

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand
from ellc.codegen.kir.types import Elem
from ellc.ir.fixed_point import LOG_BITS, LOG_CENTRE, SOFTMAX_SUM_BITS, log_terms

_BITS = 31
_MOST_REDUCED = -2  # the largest shift of a factor in `multiply_reduced`


def multiply(
    b: KernelBuilder,
    x: Operand,
    mantissa: Operand,
    shift: Operand,
    *,
    keeps_negative: bool = True,
) -> Operand:
    """x times the factor `mantissa / 2^31 * 2^shift`, as TensorFlow Lite computes it.

    A positive `shift` shifts x left before `mul_high`. A negative `shift` divides the product.
    Unless it `keeps_negative` numbers, only those above 0 are right, and all others are 0 or below.
    """
    product = b.op("mul_high", _shifted_left(b, x, shift), mantissa)
    low, high = b.range_of(shift)
    if low >= 0:
        return product
    if low == high and keeps_negative:
        return divide_by_power(b, product, -low)
    zero = b.const(0, x)
    if not keeps_negative:
        # Halves below 0 are rounded up, and stay at 0 or below.
        down = b.min(shift, zero) if high > 0 else shift
        bits = b.const(-low, x) if low == high else b.sub(zero, down)
        return b.op("shr_round", product, bits)
    # `down` is minus the number of bits to shift right. It is negative only in lanes that divide,
    # so that `and` keeps the sign of the product in these lanes and clears it in the others.
    down = b.min(shift, zero) if high > 0 else shift
    negative = product if high < 0 else b.op("and", product, down)
    borrow = b.shift_right(negative, _BITS)
    return b.op("shr_round", b.add(product, borrow), b.sub(zero, down))


def multiply_once(b: KernelBuilder, x: Operand, mantissa: Operand, shift: Operand) -> Operand:
    """x times a factor `mantissa / 2^31 * 2^shift` that is not negative, rounded only once."""
    if x.type.elem is Elem.I64:
        bits = b.sub(b.const(_BITS, shift), shift)
        return _scaled_once(b, x, b.convert(mantissa, Elem.I64), bits)
    raised = _shifted_left(b, x, shift)
    product = b.op("mul_high", raised, mantissa)
    low, high = b.range_of(shift)
    if low >= 0:
        return product
    zero, half = b.const(0, x), b.const(1 << (_BITS - 1), x)
    # `mul_high` rounds up if bit 30 of the product is set. Lanes that divide must undo this.
    rounded_up = b.compare("ne", b.op("and", b.mul(raised, mantissa), half), zero)
    below = b.select(rounded_up, b.sub(product, b.const(1, x)), product)
    if low == high:
        return b.op("shr_round", below, b.const(-low, x))
    bits = b.sub(zero, b.min(shift, zero) if high > 0 else shift)
    divided = b.op("shr_round", below, bits)
    return divided if high < 0 else b.select(b.compare("gt", bits, zero), divided, product)


def multiply_reduced(b: KernelBuilder, x: Operand, mantissa: Operand, shift: Operand) -> Operand:
    """x times a factor whose mantissa is reduced to 15 bits, rounded only once.

    x has 32 or 64 bits. A `shift` above -2 counts as -2.
    """
    half, most = b.const(1 << 15, mantissa), b.const((1 << 15) - 1, mantissa)
    # The mantissa is rounded by adding a half. The sum is unsigned, as it may exceed 31 bits.
    unsigned = b.add(b.bitcast(mantissa, Elem.U32), b.bitcast(half, Elem.U32))
    factor = b.min(b.bitcast(b.shift_right(unsigned, 16), Elem.I32), most)
    if b.range_of(shift)[1] > _MOST_REDUCED:  # invalid lanes may have larger shifts
        shift = b.min(shift, b.const(_MOST_REDUCED, shift))
    return _scaled_once(b, x, b.convert(factor, x.type.elem), b.sub(b.const(15, shift), shift))


def _scaled_once(b: KernelBuilder, x: Operand, factor: Operand, bits: Operand) -> Operand:
    """`x * factor / 2^bits` in 32 bits, rounded to nearest (halves up). `bits` is at least 17.

    The two halves of x are multiplied separately, so that no product needs more bits than x has.
    """
    low = b.op("and", x, b.const(0xFFFF, x))
    high = b.add(b.mul(b.shift_right(x, 16), factor), b.shift_right(b.mul(low, factor), 16))
    rest = b.sub(bits, b.const(16, bits))
    if x.type.elem is not Elem.I64:
        return b.op("shr_round", high, rest)
    rest = b.convert(rest, Elem.I64)
    half = b.op("shl_by", b.const(1, x), b.sub(rest, b.const(1, rest)))
    return b.convert(b.op("shr_by", b.add(high, half), rest), Elem.I32)


def _shifted_left(b: KernelBuilder, x: Operand, shift: Operand) -> Operand:
    """`x * 2^shift` in lanes where the shift is positive, else x."""
    low, high = b.range_of(shift)
    if high <= 0:
        return x
    if low == high:
        return b.shift_left(x, high)
    return b.op("shl_by", x, b.max(shift, b.const(0, x)) if low < 0 else shift)


def divide_by_power(b: KernelBuilder, x: Operand, bits: int) -> Operand:
    """`x / 2^bits`, rounded to nearest (halves away from zero). x must not be the lowest number."""
    if bits == 0:
        return x
    # `shr_round` rounds halves up. Subtracting 1 from negative numbers makes it round them down.
    return b.op("shr_round", b.add(x, b.shift_right(x, _BITS)), b.const(bits, x))


def quotient(b: KernelBuilder, x: Operand, y: Operand, mantissa: int, shift: int) -> Operand:
    """`x / y * mantissa / 2^31 * 2^shift`. A y of 0 counts as 1.

    If x and y have n bits, `shift` must be at most 32 - n.
    """
    zero, one, most = b.const(0, x), b.const(1, x), b.const(_BITS, x)
    x = b.select(b.compare("lt", y, zero), b.sub(zero, x), x)
    y = b.max(b.op("abs", y), one)
    zeros, highest = leading_zeros(b, b.bitcast(y, Elem.U32))
    inverse = one_over_one_plus(
        b, b.bitcast(b.sub(highest, b.const(1 << _BITS, highest)), Elem.I32)
    )
    # `room` is how far x can be shifted left: one less than the number of zero bits above its
    # magnitude, and 31 for 0 and -1.
    magnitude = b.op("xor", x, b.shift_right(x, _BITS))
    doubled = b.add(b.shift_left(magnitude, 1), one)
    room = b.bitcast(leading_zeros(b, b.bitcast(doubled, Elem.U32))[0], Elem.I32)
    ratio = b.op("mul_high", b.op("shl_by", x, room), inverse)
    product = b.op("mul_high", ratio, b.const(mantissa, x))
    bits = b.add(b.sub(room, b.bitcast(zeros, Elem.I32)), b.const(_BITS - shift, x))
    # As in `divide_by_power`, 1 is subtracted from negative numbers, but only if bits is not 0.
    borrow = b.select(b.compare("gt", bits, zero), b.shift_right(product, _BITS), zero)
    scaled = b.op("shr_round", b.add(product, borrow), b.min(bits, most))
    return b.select(b.compare("gt", bits, most), zero, scaled)


def log_of_sum(b: KernelBuilder, x: Operand) -> Operand:
    """The natural logarithm of x >= 1. x is a Q12 number, and the result is a Q5 number."""
    half_root, one = b.const(_q0(math.sqrt(0.5)), x), b.const(1, x)
    zeros = zeros_above(b, x)
    scaled = b.op("mul_high", b.op("shl_by", x, b.sub(zeros, one)), half_root)
    lower = b.op("mul_high", x, half_root)
    lower_zeros = b.sub(zeros_above(b, lower), one)
    raised = _saturating_shift_by(b, x, lower_zeros)
    r = b.min(saturating_shift(b, scaled, 1), raised)
    unit, integer_bits = _BITS - (LOG_BITS + 1), b.const(SOFTMAX_SUM_BITS, x)
    quarter = b.const(1 << (unit - 2), x)
    power = b.max(
        b.add(b.shift_left(b.sub(integer_bits, zeros), unit), quarter),
        b.sub(b.shift_left(b.sub(integer_bits, lower_zeros), unit), quarter),
    )
    numerator, denominator = _log_fraction(b, r)
    small = divide_by_power(b, numerator, LOG_BITS + 1)
    fraction = b.op("mul_high", small, one_over_one_plus(b, denominator))
    logarithm = b.add(b.op("mul_high", power, b.const(_q0(math.log(2)), x)), fraction)
    return saturating_shift(b, logarithm, 1)


def _log_fraction(b: KernelBuilder, r: Operand) -> tuple[Operand, Operand]:
    """(numerator, denominator - 1) of the rational function that approximates the logarithm."""

    def product(first: Operand, second: Operand | int) -> Operand:
        return b.op("mul_high", first, b.const(second, r) if isinstance(second, int) else second)

    terms, centre = log_terms(), _q0(LOG_CENTRE)
    total = b.add(b.bitcast(r, Elem.U32), Imm(centre + 1, r.type.with_elem(Elem.U32)))
    mean = b.bitcast(b.shift_right(total, 1), Elem.I32)
    q = b.shift_left(b.sub(r, b.const(centre, r)), 1)
    square = product(q, q)
    numerator = b.add(product(q, r), product(product(q, square), terms.cube))
    inner = b.add(b.add(q, b.const(terms.constant, r)), product(square, terms.square))
    return numerator, b.add(product(inner, mean), product(q, terms.linear))


def inverse_root(b: KernelBuilder, x: Operand) -> Operand:
    """The mantissa of 1 / sqrt(x). An x below 1 counts as 1."""
    one = b.const(1, x)
    wide, pairs = _even_shift(b, x)
    whole = b.shift_right(b.op("shl_by", wide, b.shift_left(pairs, 1)), 1)
    half = divide_by_power(b, whole, 1)
    guess: Operand = b.const(1 << 28, x)
    for _ in range(5):
        square = b.op("mul_high", guess, guess)
        cube = saturating_shift(b, b.op("mul_high", square, guess), 6)
        step = b.sub(b.op("mul_high", guess, b.const(3 << 27, x)), b.op("mul_high", half, cube))
        guess = saturating_shift(b, step, 3)
    mantissa = b.op("mul_high", guess, b.const(_q0(math.sqrt(0.5)), x))
    # For small x, the result would need a left shift. The mantissa is shifted instead.
    more = b.max(b.sub(pairs, b.const(11, x)), b.const(0, x))
    mantissa = b.op("shl_by", mantissa, more)
    return b.select(b.compare("le", x, one), b.const((1 << _BITS) - 1, x), mantissa)


def inverse_root_shift(b: KernelBuilder, x: Operand) -> Operand:
    """The shift that belongs to the mantissa of `inverse_root`."""
    zero, one = b.const(0, x), b.const(1, x)
    large = b.compare("ge", x, b.const(1 << 29, x))
    right = b.sub(b.select(large, b.const(12, x), b.const(11, x)), _even_shift(b, x)[1])
    return b.select(b.compare("le", x, one), zero, b.min(b.sub(zero, right), zero))


def _even_shift(b: KernelBuilder, x: Operand) -> tuple[Operand, Operand]:
    """(wide, pairs): `wide * 4^pairs` is at least 2^27.

    `wide` is x if x is below 2^29, else a quarter of x. An x below 1 counts as 1.
    """
    positive = b.max(x, b.const(1, x))
    large = b.compare("ge", positive, b.const(1 << 29, x))
    wide = b.select(large, b.shift_right(positive, 2), positive)
    zeros = zeros_above(b, wide)
    return wide, b.sub(b.shift_right(b.sub(zeros, b.const(1, x)), 1), b.const(1, x))


def zeros_above(b: KernelBuilder, x: Operand) -> Operand:
    """The number of leading zero bits of x, as a signed integer. x must not be negative."""
    return b.bitcast(leading_zeros(b, b.bitcast(x, Elem.U32))[0], Elem.I32)


def leading_zeros(b: KernelBuilder, x: Operand) -> tuple[Operand, Operand]:
    """(number of leading zero bits of x, x shifted left by this number); (31, 0) for x = 0."""
    zeros: Operand = b.const(0, x)
    for bits in (16, 8, 4, 2, 1):
        small = b.compare("lt", x, b.const(1 << (32 - bits), x))
        zeros = b.select(small, b.add(zeros, b.const(bits, x)), zeros)
        x = b.select(small, b.shift_left(x, bits), x)
    return zeros, x


def one_over_one_plus(b: KernelBuilder, x: Operand) -> Operand:
    """1 / (1 + x) for 0 <= x < 1, by three steps of Newton's method, in Q0 numbers."""

    def product(first: Operand, second: Operand) -> Operand:
        return b.op("mul_high", first, second)

    # Half the denominator, (x + 1 + 2^31 - 1) / 2, computed without exceeding 32 bits.
    unsigned = b.add(b.bitcast(x, Elem.U32), Imm(1 << _BITS, x.type.with_elem(Elem.U32)))
    half = b.bitcast(b.shift_right(unsigned, 1), Elem.I32)
    guess = b.add(b.const(_q2(48 / 17), x), product(half, b.const(_q2(-32 / 17), x)))
    for _ in range(3):
        error = b.sub(b.const(1 << 29, x), product(half, guess))
        guess = b.add(guess, saturating_shift(b, product(guess, error), 2))
    return saturating_shift(b, guess, 1)


def saturating_shift(b: KernelBuilder, x: Operand, bits: int) -> Operand:
    """`x * 2^bits`, saturated to the lowest or highest number."""
    highest = (1 << _BITS) - 1
    result = b.shift_left(x, bits)
    above = b.compare("gt", x, b.const(highest >> bits, x))
    below = b.compare("lt", x, b.const(-(1 << (_BITS - bits)), x))
    result = b.select(above, b.const(highest, x), result)
    return b.select(below, b.const(-highest - 1, x), result)


def _saturating_shift_by(b: KernelBuilder, x: Operand, bits: Operand) -> Operand:
    """`x * 2^bits`, saturated to the highest number, for x >= 0 and bits below 32."""
    raised = b.op("shl_by", b.bitcast(x, Elem.U32), b.bitcast(bits, Elem.U32))
    highest = b.const((1 << _BITS) - 1, raised)
    return b.bitcast(b.min(raised, highest), Elem.I32)


def _q0(real: float) -> int:
    """The nearest Q0 number."""
    return math.floor(real * 2.0**_BITS + 0.5)


def _q2(real: float) -> int:
    """The nearest Q2 number."""
    return round(real * 2.0**29)


def rounded_root(b: KernelBuilder, x: Operand) -> Operand:
    """The rounded square root of 64-bit integers, in 32 bits. Each trip of the loop finds one bit.

    The result is limited to 2^16 - 1 if x is below 2^32, and to 2^32 - 1 for any other x.
    """
    zero, top = b.const(0, x), b.const(1 << 62, x)
    with b.loop("digit", 0, 32, carry=(x, zero, top)) as loop:
        rest, root, bit = loop.carried
        tried = b.add(root, bit)
        fits = b.compare("ge", rest, tried)
        half = b.shift_right(root, 1)
        rest = b.select(fits, b.sub(rest, tried), rest)
        loop.carry((rest, b.select(fits, b.add(half, bit), half), b.shift_right(bit, 2)))
    rest, root, _ = loop.results
    rounded = b.select(b.compare("gt", rest, root), b.add(root, b.const(1, root)), root)
    short = b.compare("lt", x, b.const(1 << 32, x))
    most = b.select(short, b.const((1 << 16) - 1, x), b.const((1 << 32) - 1, x))
    return b.convert(b.min(rounded, most), Elem.U32)
