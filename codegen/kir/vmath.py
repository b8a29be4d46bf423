"""Elementary functions as kernel IR, without libm, for any number of lanes and every target.

Each function appends code to a builder, and returns a value of the type of its argument (f32 or
f64). Docstrings give bounds of the error in units in the last place (ulp) of the result; they hold
whether or not the target fuses `mul_add`. NaN gives NaN, except in x^0 and 1^y. Results for
infinities and zeros are those of numpy. Results that are denormal may be 0 where the vector unit
flushes them (32-bit NEON).
"""

from __future__ import annotations

import math

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.vmath_expression import Expression
from ellc.codegen.kir.vmath_parts import (
    exp_reduced,
    log_positive,
    log_special,
    power_of_two,
    scale,
    split_exponent,
)
from ellc.codegen.kir.vmath_range_reduction import of_reduced_angle

# --- public functions ------------------------------------------------------------------------


def exp(b: KernelBuilder, x: Operand) -> Operand:
    """e^x to 1 ulp, including denormal results. Beyond the range it is 0 or infinity."""
    v = Expression.of(b, x)
    low, high = v.format.exp_range
    part, power = exp_reduced(v.clamp(low, high))
    return scale(part + 1.0, power).operand


def expm1_negative(b: KernelBuilder, x: Operand) -> Operand:
    """e^x - 1 for x <= 0, to 3 ulp even near 0."""
    v = Expression.of(b, x)
    # Below this bound, e^x is less than half a unit in the last place of 1.
    part, power = exp_reduced(v.max(-float(v.format.fraction_bits + 3)))
    scale = power_of_two(v, power)
    return part.fma(scale, scale - 1.0).operand


def tanh(b: KernelBuilder, x: Operand) -> Operand:
    """The hyperbolic tangent to 3 ulp, even near 0. tanh(-x) is exactly -tanh(x)."""
    v = Expression.of(b, x)
    size = v.abs()
    part, power = exp_reduced((size + size).min(v.format.tanh_limit * 2))
    # `grown` is expm1(2 |x|) = 2^n (1 + part) - 1, computed so that nothing cancels near 0. n is
    # never negative.
    scale = power_of_two(v, power)
    grown = part.fma(scale, scale - 1.0)
    return (grown / (grown + 2.0)).with_sign_of(v).operand


def sigmoid(b: KernelBuilder, x: Operand) -> Operand:
    """1 / (1 + e^-x) to 3 ulp. Results below the smallest normal number are 0."""
    v = Expression.of(b, x)
    # One multiplication by a power of two is enough here: a power that is too large has the bits of
    # infinity, and the clamp prevents powers that are too small.
    low, high = (1 - v.format.bias) * math.log(2), v.format.exp_range[1]
    part, power = exp_reduced((-v).clamp(low, high))
    grown = (part + 1.0) * power_of_two(v, power)
    return (v.const(1.0) / (grown + 1.0)).operand


def log(b: KernelBuilder, x: Operand) -> Operand:
    """The natural logarithm to 2 ulp. It is -infinity at 0, and NaN below 0."""
    v = Expression.of(b, x)
    return log_special(v, log_positive(v)).operand


def log10(b: KernelBuilder, x: Operand) -> Operand:
    """The logarithm to base 10, to 3 ulp. It is -infinity at 0, and NaN below 0."""
    v = Expression.of(b, x)
    return (v.like(log(b, x)) * (1 / math.log(10))).operand


def softplus(b: KernelBuilder, x: Operand) -> Operand:
    """log(1 + e^x) to 4 ulp, also far below 0, and without overflow."""
    v = Expression.of(b, x)
    small = v.like(exp(b, (-v.abs()).operand))
    total = small + 1.0
    # The rounding error of `total`, divided by `total`. Instead of dividing, multiplying by
    # 1 - small/2 is exact enough.
    lost = (small - (total - 1.0)) * small.fma(v.const(-0.5), v.const(1.0))
    return (v.max(0.0) + (log_positive(total) + lost)).operand


def sin(b: KernelBuilder, x: Operand) -> Operand:
    """The sine, for any argument, to 2 ulp of 1. Infinities give NaN."""
    return _sin_or_cos(Expression.of(b, x), quadrant=0).operand


def cos(b: KernelBuilder, x: Operand) -> Operand:
    """The cosine, for any argument, to 2 ulp of 1. Infinities give NaN."""
    return _sin_or_cos(Expression.of(b, x), quadrant=1).operand


def tan(b: KernelBuilder, x: Operand) -> Operand:
    """The tangent, for any argument, to 4 ulp. Infinities give NaN."""

    def of_turns(r: Expression, turns: Operand) -> Expression:
        sine, cosine = _sine_and_cosine(r)
        odd = _is_odd(r, turns)
        return r.select(odd, -cosine, sine) / r.select(odd, sine, cosine)

    return of_reduced_angle(Expression.of(b, x), of_turns).operand


def round_even(b: KernelBuilder, x: Operand) -> Operand:
    """The nearest integer (halves go to the even integer), exact. Zeros keep their sign."""
    v = Expression.of(b, x)
    integral = 2.0**v.format.fraction_bits  # all numbers at or above this are integers
    size = v.abs()
    rounded = ((size + integral) - integral).with_sign_of(v)
    return v.choose("lt", size, integral, rounded, v).operand


def floor(b: KernelBuilder, x: Operand) -> Operand:
    """The largest integer not above x, exact. Zeros keep their sign."""
    v = Expression.of(b, x)
    near = v.like(round_even(b, x))
    return v.choose("gt", near, v, near - 1.0, near).operand


def ceil(b: KernelBuilder, x: Operand) -> Operand:
    """The smallest integer not below x, exact. It is -0 for -1 < x <= -0."""
    v = Expression.of(b, x)
    near = v.like(round_even(b, x))
    up = v.choose("lt", near, v, near + 1.0, near)
    return up.bits_op("or", v.sign_bits()).operand


def erf(b: KernelBuilder, x: Operand) -> Operand:
    """The error function to 3 ulp. erf(-x) is exactly -erf(x)."""
    v = Expression.of(b, x)
    size = v.abs().min(v.format.erfc_limit)
    high = size.upper_half()
    tail = _erfc_tail(size, -(high * high), -((size - high) * (size + high)))
    outer = (v.const(1.0) - tail).with_sign_of(v)
    return v.choose("lt", size, 1.0, _erf_inner(v), outer).operand


def gelu(b: KernelBuilder, x: Operand) -> Operand:
    """x (1 + erf(x / sqrt 2)) / 2 to 8 ulp, even far below 0. NaN at -infinity, as in numpy."""
    v = Expression.of(b, x)
    root = v * math.sqrt(0.5)
    size = root.abs().min(v.format.erfc_limit)
    # The exponent -x^2/2 is computed from x, not from `root`, whose rounding error would dominate
    # the result far below 0.
    clamped = v.abs().min(v.format.erfc_limit * math.sqrt(2))
    high = clamped.upper_half()
    square = -(high * high * 0.5)
    rest = -((clamped - high) * (clamped + high) * 0.5)
    tail = _erfc_tail(size, square, rest) * 0.5
    outer = v.choose("lt", v, 0.0, tail, v.const(1.0) - tail)
    inner = _erf_inner(root).fma(v.const(0.5), v.const(0.5))
    return (v * v.choose("lt", size, 0.5, inner, outer)).operand


def pow(b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    """x^y to 3 ulp, with all special cases of C99 and numpy. Both arguments have the same type."""
    base, exponent = Expression.of(b, x), Expression.of(b, y)
    size = base.abs()
    low, high = base.format.exp_range
    limit = base.format.power_limit
    product = _exact_product(_log_pair(size), exponent.clamp(-limit, limit))
    total = product[0] + product[1]
    clamped = total.clamp(low, high)
    inside = b.compare("eq", total.operand, clamped.operand)
    part, power = exp_reduced(
        total.select(inside, product[0], clamped), total.select(inside, product[1], 0.0)
    )
    return _power_special(base, exponent, scale(part + 1.0, power)).operand


# --- power ---------------------------------------------------------------------------------------


def _log_pair(v: Expression) -> tuple[Expression, Expression]:
    """log(v) for positive finite v, as a sum. Its first part uses only half the significand."""
    m, power = split_exponent(v)
    high, low = v.format.ln2
    f, divisor = m - 1.0, m + 1.0
    s = f / divisor
    # The quotient is s_high + s_low. The products of halves in its remainder are exact.
    s_high, divisor_high = s.upper_half(), divisor.upper_half()
    divisor_low = m - (divisor_high - 1.0)
    s_low = ((f - s_high * divisor_high) - s_high * divisor_low) / divisor
    z = s * s
    rest = s_low + s_low + s * z * z.polynomial(v.format.log_ratio) + power * low
    first, second = power * high, s_high + s_high
    # Since |first| >= |second| or first = 0, second - (total - first) is the exact rounding error.
    total = first + second
    rest = rest + (second - (total - first))
    upper = (total + rest).upper_half()
    return upper, (total - upper) + rest


def _exact_product(
    pair: tuple[Expression, Expression], factor: Expression
) -> tuple[Expression, Expression]:
    """`pair[0] + pair[1]`, multiplied by `factor`: a sum of two, of which the first is exact."""
    upper, lower = pair
    factor_upper = factor.upper_half()
    return factor_upper * upper, (factor - factor_upper) * upper + factor * lower


def _power_special(x: Expression, y: Expression, result: Expression) -> Expression:
    """x^y, given `result`, which is |x|^y for ordinary arguments.

    Sets the sign, and handles zeros, infinities and NaN.
    """
    b, size = x.b, x.abs()
    integral = _is_integer(y)
    is_zero, is_infinite = size.test("eq", 0.0), size.test("eq", math.inf)
    vanishes = b.op("xor", is_zero, y.test("lt", 0.0))
    extreme = result.select(vanishes, 0.0, math.inf)
    result = result.select(b.op("or", is_zero, is_infinite), extreme, result)
    # With a negative base, odd exponents keep the sign, and fractional exponents give NaN, unless
    # the base is -infinity.
    odd = b.op("and", integral, b.op("xor", _is_integer(y * 0.5), _all_lanes(x)))
    sign = b.select(odd, x.sign_bits(), x.bits_const(0))
    result = result.bits_op("or", sign)
    below = b.op("and", x.test("lt", 0.0), x.test("gt", -math.inf))
    result = result.select(
        b.op("and", below, b.op("xor", integral, _all_lanes(x))), math.nan, result
    )
    # x^0 and 1^y are 1 even for NaN. All other powers of or by NaN are NaN.
    result = result.select(b.op("or", x.test("ne", x), y.test("ne", y)), x + y, result)
    return result.select(b.op("or", y.test("eq", 0.0), x.test("eq", 1.0)), 1.0, result)


def _is_integer(v: Expression) -> Operand:
    return v.like(round_even(v.b, v.operand)).test("eq", v)


def _all_lanes(v: Expression) -> Operand:
    """A mask that is true in every lane."""
    zero = v.bits_const(0)
    return v.b.compare("eq", zero, zero)


# --- sine and cosine -----------------------------------------------------------------------------


def _sin_or_cos(v: Expression, quadrant: int) -> Expression:
    """sin(v + quadrant pi/2), from one of two polynomials and a sign."""

    def of_turns(r: Expression, turns: Operand) -> Expression:
        b = v.b
        turns = b.add(turns, v.bits_const(quadrant)) if quadrant else turns
        sine, cosine = _sine_and_cosine(r)
        result = v.select(_is_odd(v, turns), cosine, sine)
        second = b.op("and", turns, v.bits_const(2))
        return result.bits_op("xor", b.shift_left(second, v.format.bits.bytes * 8 - 2))

    return of_reduced_angle(v, of_turns)


def _is_odd(v: Expression, turns: Operand) -> Operand:
    return v.b.compare("ne", v.b.op("and", turns, v.bits_const(1)), v.bits_const(0))


def _sine_and_cosine(r: Expression) -> tuple[Expression, Expression]:
    """(sine, cosine) for |r| <= pi/4."""
    f, z = r.format, r * r
    sine = (r * z).fma(z.polynomial(f.sin), r)
    cosine = (z * z).fma(z.polynomial(f.cos), z.fma(r.const(-0.5), r.const(1.0)))
    return sine, cosine


# --- error function ------------------------------------------------------------------------------


def _erf_inner(v: Expression) -> Expression:
    """erf for |v| <= 1."""
    return v * (v * v).polynomial(v.format.erf)


def _erfc_tail(t: Expression, minus_square: Expression, rest: Expression) -> Expression:
    """erfc(t) for t >= 1/2, given -t^2 as the sum of `minus_square` and `rest`."""
    inverse = t.const(1.0) / (t + 3.0)
    shape = ((t - 3.0) * inverse).polynomial(t.format.erfc) * inverse
    part, power = exp_reduced(minus_square, rest)
    return scale(part.fma(shape, shape), power)
