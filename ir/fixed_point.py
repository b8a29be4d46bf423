"""TFLite's fixed-point arithmetic on 32-bit integers, bit for bit as in its reference kernels.

A real factor is a pair (mantissa, shift): mantissa / 2^31 * 2^shift with a mantissa of 31 bits.
*Qn* is a fixed-point format with n integer bits: the int32 x stands for x / 2^(31 - n). Functions
take and return int32 arrays, and results that do not fit wrap around, unless a function says
otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ellc.ir.types import Array

SOFTMAX_INPUT_BITS = 5  # integer bits of the exponent: Q5
SOFTMAX_SUM_BITS = 12  # integer bits of the sum: Q12
_ONE = (1 << 31) - 1  # the largest Q0, which stands for 1


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(mantissa, shift) of a factor: 2^30 <= |mantissa| < 2^31, -31 <= shift <= 31.

    (0, 0) for 0, and for factors whose magnitude is below 2^-32 or at least 2^31. Those of at least
    2^31 would shift a number left by 32 bits or more, which gives 0 modulo 2^32.
    """
    if real == 0 or math.isinf(real):
        return 0, 0
    fraction, shift = math.frexp(real)
    mantissa = _half_away(fraction * 2.0**31)
    if abs(mantissa) == 1 << 31:
        mantissa, shift = mantissa // 2, shift + 1
    return (mantissa, shift) if -31 <= shift <= 31 else (0, 0)


def _half_away(real: float) -> int:
    """The nearest integer; halves are rounded away from zero."""
    return int(math.copysign(math.floor(abs(real) + 0.5), real))


def wrapped(x: Array) -> Array:
    """64-bit integers modulo 2^32, as int32."""
    return x.astype(np.int64).astype(np.uint32).astype(np.int32)


def high_product(a: Array, b: Array | int) -> Array:
    """2ab / 2^32, halves rounded up: TFLite's "saturating rounding doubling high multiply".

    Only the product of the lowest int32 with itself does not fit; it becomes the highest int32.
    """
    product = a.astype(np.int64) * np.asarray(b, np.int64)
    return _narrow(np.minimum((product + (1 << 30)) >> 31, _ONE))


def divide_by_power(x: Array, exponent: Array | int) -> Array:
    """x / 2^exponent, halves rounded away from zero; exponents are 0 to 31."""
    wide, bits = x.astype(np.int64), np.asarray(exponent, np.int64)
    half = (np.int64(1) << bits) >> 1
    return _narrow(np.sign(wide) * ((np.abs(wide) + half) >> bits))


def _narrow(x: Array) -> Array:
    """64-bit integers that fit into 32 bits, as int32."""
    return np.asarray(x, np.int64).astype(np.int32)


def multiply(x: Array, mantissa: Array | int, shift: Array | int) -> Array:
    """x times a factor: a left shift, then `high_product`, then `divide_by_power`.

    `shift` is from -31 to 31. A positive one is the left shift, a negative one the division.
    """
    shifts = np.asarray(shift, np.int64)
    raised = wrapped(x.astype(np.int64) << np.maximum(shifts, 0))
    product = high_product(raised, np.asarray(mantissa, np.int32))
    return divide_by_power(product, np.maximum(-shifts, 0))


def multiply_once(x: Array, mantissa: Array | int, shift: Array | int) -> Array:
    """x times a factor as in `multiply`, but rounded only once, halves up.

    Mantissas are at least 0. x is int32, or int64 with numbers of up to 48 bits. For int64, shifts
    are at most 14.
    """
    shifts = np.asarray(shift, np.int64)
    if x.dtype == np.int64:
        return scaled_once(x, mantissa, 31 - shifts)
    raised = wrapped(x.astype(np.int64) << np.maximum(shifts, 0)).astype(np.int64)
    bits = 31 + np.maximum(-shifts, 0)
    half = np.int64(1) << (bits - 1)
    return _narrow((raised * np.asarray(mantissa, np.int64) + half) >> bits)


def multiply_reduced(x: Array, mantissa: Array | int, shift: Array | int) -> Array:
    """x times a factor whose mantissa is rounded to 15 bits, as TFLite scales 64-bit sums.

    The product is rounded once, halves up. x has up to 48 bits, shifts are from -31 to -2, and
    mantissas are at least 0.
    """
    return scaled_once(x, reduced(np.asarray(mantissa, np.int64)), 15 - np.asarray(shift, np.int64))


def reduced(mantissa: Array) -> Array:
    """The upper 15 bits of a mantissa, rounded; at most 2^15 - 1."""
    return np.asarray(np.minimum((mantissa + (1 << 15)) >> 16, (1 << 15) - 1))


def scaled_once(x: Array, factor: Array | int, bits: Array | int) -> Array:
    """x * factor / 2^bits, halves rounded up; products have up to 79 bits, and `bits` >= 17."""
    wide, by = x.astype(np.int64), np.asarray(factor, np.int64)
    high = (wide >> 16) * by + (((wide & 0xFFFF) * by) >> 16)
    rest = np.asarray(bits, np.int64) - 16
    return wrapped((high + (np.int64(1) << (rest - 1))) >> rest)


# --- exponential and reciprocal ------------------------------------------------------------------


def exp_of_negative(x: Array) -> Array:
    """e^x as Q0 for x <= 0 as Q5."""
    quarter = 1 << (31 - SOFTMAX_INPUT_BITS - 2)
    inside = (x & (quarter - 1)) - quarter  # -1/4 <= inside < 0; inside - x is a multiple of 1/4
    result = _exp_of_quarter(inside.astype(np.int32) << SOFTMAX_INPUT_BITS)
    quarters = inside - x
    for power in range(-2, SOFTMAX_INPUT_BITS):
        factor = _q0(math.exp(-(2.0**power)))
        bit = 1 << (31 - SOFTMAX_INPUT_BITS + power)
        result = np.where(quarters & bit, high_product(result, factor), result)
    return np.where(x == 0, _ONE, result).astype(np.int32)


def _exp_of_quarter(x: Array) -> Array:
    """e^x as Q0 for -1/4 <= x < 0 as Q0: the Taylor series of degree 4 around -1/8."""
    d = x + np.int32(1 << 28)
    square = high_product(d, d)
    cube, fourth = high_product(square, d), high_product(square, square)
    last = high_product(divide_by_power(fourth, 2) + cube, _q0(1 / 3))
    centre = _q0(math.exp(-1 / 8))
    return np.asarray(centre + high_product(centre, d + divide_by_power(last + square, 1)))


def reciprocal(x: Array, integer_bits: int = SOFTMAX_SUM_BITS) -> tuple[Array, Array]:
    """(y, bits) with 1 / x = y / 2^bits, where y is from 1/2 to 1, as Q0.

    x is unsigned, with `integer_bits` integer bits.
    """
    unsigned = x.astype(np.uint32).astype(np.int64)
    zeros = leading_zeros(unsigned)
    fraction = wrapped((unsigned << zeros) - (1 << 31))
    return _one_over_one_plus(fraction), (integer_bits - zeros).astype(np.int32)


def leading_zeros(x: Array) -> Array:
    """The number of leading zeros of 32-bit numbers x >= 0, int64; 31 (not 32) for 0."""
    return 32 - np.frexp(np.maximum(x, 1).astype(np.float64))[1].astype(np.int64)


def _one_over_one_plus(x: Array) -> Array:
    """1 / (1 + x) as Q0 for 0 <= x < 1 as Q0: three steps of Newton's method."""
    half = ((x.astype(np.int64) + _ONE + 1) >> 1).astype(np.int32)  # half the denominator
    guess = _q2(48 / 17) + high_product(half, _q2(-32 / 17))
    for _ in range(3):
        error = np.int32(1 << 29) - high_product(half, guess)
        guess = guess + saturating_shift(high_product(guess, error), 2)
    return saturating_shift(guess, 1)


def saturating_shift(x: Array, bits: int) -> Array:
    """x * 2^bits, saturated to int32."""
    return _narrow(np.clip(x.astype(np.int64) << bits, -(1 << 31), _ONE))


def _q0(real: float) -> Array:
    return np.array(_half_away(real * 2.0**31), np.int32)


def _q2(real: float) -> Array:
    return np.array(_half_away(real * 2.0**29), np.int32)


# --- logarithm and inverse square root -----------------------------------------------------------

LOG_BITS = 5  # integer bits of a logarithm: Q5
_SQRT_HALF = math.sqrt(0.5)
LOG_CENTRE = 0.5**0.25  # geometric mean of 1/sqrt(2) and 1; here `LogTerms` are exact


@dataclass(frozen=True, slots=True)
class LogTerms:
    """TFLite's coefficients of log(r / centre) = num / (1 + den), as Q0.

    `num` uses `cube`; `den` uses `constant`, `linear` and `square`. Both are functions of r and of
    q = 2 (r - centre); `centre` is `LOG_CENTRE`.
    """

    cube: int
    constant: int
    linear: int
    square: int


def log_terms() -> LogTerms:
    """The coefficients, rounded to Q0."""
    root = 2.0**0.25
    reals = (11 / 240 * root, 2 / root - root, root / 4, root / 20)
    return LogTerms(*(_half_away(r * 2.0**31) for r in reals))


def log_of_sum(x: Array) -> Array:
    """log(x) as Q5 for x >= 1 as Q12.

    There are two ways to write x as 2^k r with r near `LOG_CENTRE`: k is an integer, or an integer
    plus 1/2. The smaller r and the larger k are used. The result is log(r / `LOG_CENTRE`) +
    (k - 1/4) log(2).
    """
    unsigned = x.astype(np.int64)
    zeros = leading_zeros(unsigned)
    scaled = high_product(_narrow(unsigned << (zeros - 1)), _q0(_SQRT_HALF))
    lower = high_product(x, _q0(_SQRT_HALF))
    lower_zeros = leading_zeros(lower.astype(np.int64)) - 1
    raised = _narrow(np.minimum(unsigned << lower_zeros, _ONE))
    r = np.minimum(saturating_shift(scaled, 1), raised)
    unit, quarter = 31 - (LOG_BITS + 1), 1 << (31 - (LOG_BITS + 1) - 2)
    power = np.maximum(
        ((SOFTMAX_SUM_BITS - zeros) << unit) + quarter,
        ((SOFTMAX_SUM_BITS - lower_zeros) << unit) - quarter,
    )
    numerator, denominator = _log_fraction(r)
    fraction = high_product(
        divide_by_power(numerator, LOG_BITS + 1), _one_over_one_plus(denominator)
    )
    return saturating_shift(high_product(_narrow(power), _q0(math.log(2))) + fraction, 1)


def _log_fraction(r: Array) -> tuple[Array, Array]:
    """For log(r / centre): the numerator, and the denominator minus 1, as Q0."""
    terms = log_terms()
    mean = _narrow((r.astype(np.int64) + _q0(LOG_CENTRE) + 1) >> 1)
    q = wrapped((r.astype(np.int64) - _q0(LOG_CENTRE)) * 2)
    square = high_product(q, q)
    cube = high_product(high_product(q, square), terms.cube)
    numerator = wrapped(high_product(q, r).astype(np.int64) + cube)
    inner = np.int64(terms.constant) + q + high_product(square, terms.square)
    linear = high_product(q, terms.linear).astype(np.int64)
    return numerator, wrapped(high_product(wrapped(inner), mean) + linear)


def inverse_root(x: Array) -> tuple[Array, Array]:
    """1 / sqrt(x) as a factor (mantissa, shift) of `multiply`; numbers below 1 count as 1.

    x is shifted by an even number of bits until it is from 2^27 to 2^29. The inverse root of this
    number, as a fraction of 2^29, is computed in Q3 by five steps of Newton's method from 1.
    """
    clamped = np.maximum(x, 1).astype(np.int64)
    large = clamped >= 1 << 29
    clamped = np.where(large, clamped >> 2, clamped)
    pairs = (leading_zeros(clamped) - 1) // 2 - 1
    shifted = _narrow(clamped << (2 * pairs)) >> 1
    half, guess = divide_by_power(shifted, 1), np.full_like(shifted, 1 << 28)
    for _ in range(5):
        cube = saturating_shift(high_product(high_product(guess, guess), guess), 6)
        step = high_product(guess, 3 << 27) - high_product(half, cube)
        guess = saturating_shift(step, 3)
    right = np.where(large, 12, 11) - pairs
    mantissa = _narrow(
        high_product(guess, _q0(_SQRT_HALF)).astype(np.int64) << np.maximum(-right, 0)
    )
    is_one = x <= 1
    return (
        np.where(is_one, _ONE, mantissa).astype(np.int32),
        np.where(is_one, 0, np.minimum(-right, 0)).astype(np.int32),
    )


# --- quotient ------------------------------------------------------------------------------------


def quotient(x: Array, y: Array, mantissa: int, shift: int) -> Array:
    """x / y times a factor, for n-bit numbers and shifts up to 32 - n; a divisor of 0 counts as 1.

    x is shifted left as far as possible, multiplied by the reciprocal of y and by the factor, and
    shifted right once. If that shift is by 32 bits or more, the result is 0, which is the rounded
    quotient. (In TFLite, the C code of such a shift is undefined.)
    """
    x, y = np.where(y < 0, -x, x), np.maximum(np.abs(y), 1)
    inverse, inverse_bits = reciprocal(y, 31)
    room = leading_zeros(2 * (x ^ (x >> 31)).astype(np.int64) + 1)
    unscaled = high_product(_narrow(x.astype(np.int64) << room), inverse)
    bits = inverse_bits + room - shift
    scaled = divide_by_power(high_product(unscaled, mantissa), np.minimum(bits, 31))
    return np.where(bits > 31, 0, scaled).astype(np.int32)


# --- softmax -------------------------------------------------------------------------------------


def softmax_scaling(beta: float, scale: float) -> tuple[int, int, int]:
    """(multiplier, shift, least difference) for a softmax of 8-bit numbers.

    Multiplier and shift convert a difference of two stored numbers, times `beta * scale`, into Q5.
    The factor for this, beta * scale * 2^26, is clamped to 2^31 - 1. The least difference is
    negative. If a number minus the largest number is below the least difference, the number
    contributes 0 to the sum.
    """
    room = 31 - SOFTMAX_INPUT_BITS
    multiplier, shift = quantize_multiplier(min(beta * scale * 2.0**room, 2.0**31 - 1))
    highest = ((1 << SOFTMAX_INPUT_BITS) - 1) * 2.0**room
    return multiplier, shift, -math.floor(highest / 2.0**shift)


def softmax_exponentials(multiplier: int, shift: int, diff_min: int) -> Array:
    """e^-(beta scale d) as Q0 for each difference d = 0..255 from the largest number; int32 [256].

    0 if -d is below `diff_min`. `softmax_scaling` gives all three arguments.
    """
    differences = -np.arange(256, dtype=np.int32)
    raised = wrapped(differences.astype(np.int64) << shift)
    powers = exp_of_negative(high_product(raised, np.array(multiplier, np.int32)))
    return np.where(differences >= diff_min, powers, 0).astype(np.int32)


def log_softmax_differences(multiplier: int, shift: int, diff_min: int) -> Array:
    """-(beta scale d) as Q5 for each difference d = 0..255 from the largest number; int32 [256].

    Results are at least -20, so that nothing overflows; -20 also if -d is below `diff_min`.
    Clamping changes no stored number: log-softmax stores its results in steps of 1/16, and
    everything below -20 as the lowest number.
    """
    least = -20 << (31 - SOFTMAX_INPUT_BITS)
    differences = -np.arange(256, dtype=np.int32)
    raised = wrapped(differences.astype(np.int64) << shift)
    scaled = np.maximum(high_product(raised, np.array(multiplier, np.int32)), least)
    return np.where(differences >= diff_min, scaled, least).astype(np.int32)


def softmax_shares(x: Array, exponentials: Array) -> Array:
    """The softmax of 8-bit numbers along the last axis, in units of 1/256; int32, at most 256."""
    top = x.max(axis=-1, keepdims=True).astype(np.int32)
    powers = exponentials[top - x]
    total = divide_by_power(powers, SOFTMAX_SUM_BITS).sum(axis=-1, keepdims=True, dtype=np.int64)
    scale, bits = reciprocal(wrapped(total))
    return divide_by_power(high_product(scale, powers), bits + (31 - 8))
