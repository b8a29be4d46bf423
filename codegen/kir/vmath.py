"""Elementary functions as kernel IR: no libm, any number of lanes, every target.

Each function appends straight-line code to a builder and returns a value of the type of its
argument (f32 or f64). Errors are given in units in the last place (ulp) of the result; they hold
whether or not the target fuses `mul_add`. NaN gives NaN, infinities and zeros give what numpy
gives. Results that would be denormal may be 0 where the unit flushes them (32-bit NEON).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from codegen.kir.build import KernelBuilder
from codegen.kir.ir import Imm, Operand
from codegen.kir.vmath_formats import Format, format_of

# --- public functions ------------------------------------------------------------------------


def exp(b: KernelBuilder, x: Operand) -> Operand:
    """e^x to 1 ulp; 0 and infinity beyond the range, denormal results included."""
    v = _Value.of(b, x)
    low, high = v.format.exp_range
    part, power = _exp_reduced(v.clamp(low, high))
    return _scale(part + 1.0, power).operand


def expm1_negative(b: KernelBuilder, x: Operand) -> Operand:
    """e^x - 1 for x <= 0, to 3 ulp, for small arguments too."""
    v = _Value.of(b, x)
    # Far below, e^x is less than half a unit in the last place of 1.
    part, power = _exp_reduced(v.max(-float(v.format.fraction_bits + 3)))
    scale = _power_of_two(v, power)
    return part.fma(scale, scale - 1.0).operand


def tanh(b: KernelBuilder, x: Operand) -> Operand:
    """The hyperbolic tangent to 3 ulp (f64: 3 ulp), for small arguments too; odd to the bit."""
    v = _Value.of(b, x)
    size = v.abs()
    part, power = _exp_reduced((size + size).min(v.format.tanh_limit * 2))
    # expm1(2 |x|) = 2^n (1 + part) - 1, without the cancellation near 0; n is never negative.
    scale = _power_of_two(v, power)
    grown = part.fma(scale, scale - 1.0)
    return (grown / (grown + 2.0)).with_sign_of(v).operand


def sigmoid(b: KernelBuilder, x: Operand) -> Operand:
    """1 / (1 + e^-x) to 3 ulp; results below the smallest normal number are 0."""
    v = _Value.of(b, x)
    # One step scales: a power too large has the bits of infinity, and no smaller one is needed.
    low, high = (1 - v.format.bias) * math.log(2), v.format.exp_range[1]
    part, power = _exp_reduced((-v).clamp(low, high))
    grown = (part + 1.0) * _power_of_two(v, power)
    return (v.const(1.0) / (grown + 1.0)).operand


def log(b: KernelBuilder, x: Operand) -> Operand:
    """Natural logarithm to 2 ulp; -infinity at 0, NaN below."""
    v = _Value.of(b, x)
    return _log_special(v, _log_positive(v)).operand


def log10(b: KernelBuilder, x: Operand) -> Operand:
    """Logarithm to base 10, to 3 ulp; -infinity at 0, NaN below."""
    v = _Value.of(b, x)
    return (v.like(log(b, x)) * (1 / math.log(10))).operand


def softplus(b: KernelBuilder, x: Operand) -> Operand:
    """log(1 + e^x) to 4 ulp, without overflow, and e^x far below 0."""
    v = _Value.of(b, x)
    small = v.like(exp(b, (-v.abs()).operand))
    total = small + 1.0
    # What rounding took from `total`, divided by it; 1 - small/2 is that divisor closely enough.
    lost = (small - (total - 1.0)) * small.fma(v.const(-0.5), v.const(1.0))
    return (v.max(0.0) + (_log_positive(total) + lost)).operand


def sin(b: KernelBuilder, x: Operand) -> Operand:
    """Sine to 2 ulp of 1; argument up to 51,471 (f32) or 1.6 million (f64) in size.

    Larger ones give a number in [-1, 1] that is not their sine; infinity gives NaN.
    """
    return _sin_or_cos(_Value.of(b, x), quadrant=0).operand


def cos(b: KernelBuilder, x: Operand) -> Operand:
    """Cosine; range and error as `sin`."""
    return _sin_or_cos(_Value.of(b, x), quadrant=1).operand


def round_even(b: KernelBuilder, x: Operand) -> Operand:
    """The nearest integer, halves to the even one; exact, keeps the sign of zeros."""
    v = _Value.of(b, x)
    integral = 2.0**v.format.fraction_bits  # from here on there are no fractions
    size = v.abs()
    rounded = ((size + integral) - integral).with_sign_of(v)
    return v.choose("lt", size, integral, rounded, v).operand


def floor(b: KernelBuilder, x: Operand) -> Operand:
    """The largest integer not above x; exact, keeps the sign of zeros."""
    v = _Value.of(b, x)
    near = v.like(round_even(b, x))
    return v.choose("gt", near, v, near - 1.0, near).operand


def ceil(b: KernelBuilder, x: Operand) -> Operand:
    """The smallest integer not below x; exact, -0 for -1 < x <= -0."""
    v = _Value.of(b, x)
    near = v.like(round_even(b, x))
    up = v.choose("lt", near, v, near + 1.0, near)
    return up.bits_op("or", v.sign_bits()).operand


def erf(b: KernelBuilder, x: Operand) -> Operand:
    """The error function to 3 ulp; odd to the bit."""
    v = _Value.of(b, x)
    size = v.abs().min(v.format.erfc_limit)
    high = size.upper_half()
    tail = _erfc_tail(size, -(high * high), -((size - high) * (size + high)))
    outer = (v.const(1.0) - tail).with_sign_of(v)
    return v.choose("lt", size, 1.0, _erf_inner(v), outer).operand


def gelu(b: KernelBuilder, x: Operand) -> Operand:
    """x (1 + erf(x / sqrt 2)) / 2 to 8 ulp, far below 0 too; NaN at -infinity, as numpy."""
    v = _Value.of(b, x)
    root = v * math.sqrt(0.5)
    size = root.abs().min(v.format.erfc_limit)
    # The exponent is taken from x, not from the rounded root: far out that is all the accuracy.
    whole = v.abs().min(v.format.erfc_limit * math.sqrt(2))
    high = whole.upper_half()
    square = -(high * high * 0.5)
    rest = -((whole - high) * (whole + high) * 0.5)
    tail = _erfc_tail(size, square, rest) * 0.5
    outer = v.choose("lt", v, 0.0, tail, v.const(1.0) - tail)
    inner = _erf_inner(root).fma(v.const(0.5), v.const(0.5))
    return (v * v.choose("lt", size, 0.5, inner, outer)).operand


def pow(b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    """x^y to 3 ulp, all special cases as in C99 and numpy; both arguments of one type."""
    base, exponent = _Value.of(b, x), _Value.of(b, y)
    size = base.abs()
    low, high = base.format.exp_range
    limit = base.format.power_limit
    product = _exact_product(_log_pair(size), exponent.clamp(-limit, limit))
    total = product[0] + product[1]
    clamped = total.clamp(low, high)
    inside = b.compare("eq", total.operand, clamped.operand)
    part, power = _exp_reduced(
        total.select(inside, product[0], clamped), total.select(inside, product[1], 0.0)
    )
    return _power_special(base, exponent, _scale(part + 1.0, power)).operand


# --- arithmetic with operators -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Value:
    """An operand that the arithmetic operators of Python work on; numbers stand for literals."""

    b: KernelBuilder
    operand: Operand
    format: Format

    @staticmethod
    def of(b: KernelBuilder, x: Operand) -> _Value:
        return _Value(b, x, format_of(x.type.elem))

    def like(self, operand: Operand) -> _Value:
        return _Value(self.b, operand, self.format)

    def const(self, value: float) -> _Value:
        return self.like(Imm(float(value), self.operand.type.with_elem(self.format.elem)))

    def __add__(self, other: _Value | float) -> _Value:
        return self._two("add", other)

    def __sub__(self, other: _Value | float) -> _Value:
        return self._two("sub", other)

    def __mul__(self, other: _Value | float) -> _Value:
        return self._two("mul", other)

    def __truediv__(self, other: _Value | float) -> _Value:
        return self._two("div", other)

    def __neg__(self) -> _Value:
        return self.like(self.b.op("neg", self.operand))

    def abs(self) -> _Value:
        return self.like(self.b.op("abs", self.operand))

    def min(self, other: _Value | float) -> _Value:
        return self._two("min", other)

    def max(self, other: _Value | float) -> _Value:
        return self._two("max", other)

    def clamp(self, low: float, high: float) -> _Value:
        return self.max(low).min(high)

    def fma(self, factor: _Value, term: _Value) -> _Value:
        """self * factor + term, rounded once or twice."""
        return self.like(self.b.mul_add(self.operand, factor.operand, term.operand))

    def select(self, mask: Operand, yes: _Value | float, no: _Value | float) -> _Value:
        return self.like(self.b.select(mask, self._lift(yes).operand, self._lift(no).operand))

    def choose(
        self, how: str, a: _Value, b: _Value | float, yes: _Value | float, no: _Value | float
    ) -> _Value:
        """`yes` in the lanes where the comparison holds, else `no`."""
        return self.select(a.test(how, b), yes, no)

    def test(self, how: str, other: _Value | float) -> Operand:
        """The mask of a comparison."""
        return self.b.compare(how, self.operand, self._lift(other).operand)

    def polynomial(self, coefficients: tuple[float, ...]) -> _Value:
        """Horner's rule, lowest power first."""
        result = self.const(coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            result = result.fma(self, self.const(coefficient))
        return result

    # Bits: operands of the integer element, and back.

    def bits(self) -> Operand:
        return self.b.bitcast(self.operand, self.format.bits)

    def from_bits(self, bits: Operand) -> _Value:
        return self.like(self.b.bitcast(bits, self.format.elem))

    def bits_const(self, value: int) -> Imm:
        """An integer literal; the upper half of the unsigned range stands for negatives."""
        width = self.format.bits.bytes * 8
        signed = value - (1 << width) if value >> (width - 1) else value
        return Imm(signed, self.operand.type.with_elem(self.format.bits))

    def bits_op(self, name: str, other: Operand | int) -> _Value:
        """A bitwise operation on the value's bits."""
        literal = self.bits_const(other) if isinstance(other, int) else other
        return self.from_bits(self.b.op(name, self.bits(), literal))

    def sign_bits(self) -> Operand:
        return self.b.op("and", self.bits(), self.bits_const(self.format.sign_mask))

    def with_sign_of(self, other: _Value) -> _Value:
        """The other's sign put on a value that has none."""
        return self.bits_op("or", other.sign_bits())

    def upper_half(self) -> _Value:
        """The value without the lower half of its significand."""
        return self.bits_op("and", self.format.split_mask)

    def _lift(self, other: _Value | float) -> _Value:
        return other if isinstance(other, _Value) else self.const(other)

    def _two(self, name: str, other: _Value | float) -> _Value:
        return self.like(self.b.op(name, self.operand, self._lift(other).operand))


# --- exponential ---------------------------------------------------------------------------------


def _nearest(v: _Value, factor: float) -> tuple[_Value, Operand]:
    """The integer nearest to v * factor, as a number and as bits; no conversion needed."""
    magic = v.format.round_magic
    shifted = v.fma(v.const(factor), v.const(magic))
    # The magic number's low bits are 0, so the difference of the bits is the integer itself.
    pattern = (v.format.bias + v.format.fraction_bits) << v.format.fraction_bits
    pattern |= 1 << (v.format.fraction_bits - 1)
    integer = v.b.sub(shifted.bits(), v.bits_const(pattern))
    return shifted - magic, integer


def _exp_reduced(x: _Value, rest: _Value | None = None) -> tuple[_Value, Operand]:
    """(p, n) with e^(x + rest) = 2^n (1 + p) and p of the size of expm1(ln 2 / 2) at most."""
    total = x if rest is None else x + rest
    number, power = _nearest(total, 1 / math.log(2))
    high, low = x.format.ln2
    r = number.fma(x.const(-low), number.fma(x.const(-high), x))
    if rest is not None:
        r = r + rest
    return (r * r).fma(r.polynomial(x.format.exp), r), power


def _power_of_two(like: _Value, power: Operand) -> _Value:
    """2^power, for the exponents of normal numbers."""
    biased = like.b.add(power, like.bits_const(like.format.bias))
    return like.from_bits(like.b.shift_left(biased, like.format.fraction_bits))


def _scale(v: _Value, power: Operand) -> _Value:
    """v * 2^power in two steps: either factor is a normal number, only the last product rounds."""
    half = v.b.shift_right(power, 1)
    other = v.b.sub(power, half)
    return v * _power_of_two(v, half) * _power_of_two(v, other)


# --- logarithm -----------------------------------------------------------------------------------


def _split_exponent(v: _Value) -> tuple[_Value, _Value]:
    """(m, e) with v = m 2^e and m in [sqrt(1/2), sqrt(2)), for positive finite numbers."""
    f, b = v.format, v.b
    tiny = v.test("lt", 2.0 ** (1 - f.bias))
    up = f.fraction_bits + 2
    bits = v.select(tiny, v * 2.0**up, v).bits()
    # Counted from the bits of sqrt(1/2), exponents change at sqrt(2) instead of at powers of two.
    root = _bits_of_root_half(f)
    power = b.shift_right(b.sub(bits, v.bits_const(root)), f.fraction_bits)
    m = v.from_bits(b.sub(bits, b.shift_left(power, f.fraction_bits)))
    # The integer becomes a number by way of the magic number's low bits.
    magic = v.const(f.round_magic)
    pattern = ((f.bias + f.fraction_bits) << f.fraction_bits) | 1 << (f.fraction_bits - 1)
    shifted = v.from_bits(b.add(power, v.bits_const(pattern)))
    return m, shifted - v.select(tiny, f.round_magic + up, magic)


def _bits_of_root_half(f: Format) -> int:
    """The bits of sqrt(1/2), rounded down."""
    fraction = int(math.sqrt(2) * 2.0**f.fraction_bits) - (1 << f.fraction_bits)
    return (f.bias - 1) << f.fraction_bits | fraction


def _log_positive(v: _Value) -> _Value:
    """log of positive finite numbers."""
    m, power = _split_exponent(v)
    high, low = v.format.ln2
    f = m - 1.0
    half_square = f * f * 0.5
    if v.format.log:
        tail = f * f * f * f.polynomial(v.format.log)
        tail = power.fma(v.const(low), tail) - half_square
        return power.fma(v.const(high), f + tail)
    # One division in place of eight further terms: log(1 + f) = log((1 + s) / (1 - s)).
    s = f / (f + 2.0)
    z = s * s
    tail = power.fma(v.const(low), s * (half_square + z * z.polynomial(v.format.log_ratio)))
    return power.fma(v.const(high), f - (half_square - tail))


def _log_special(v: _Value, result: _Value) -> _Value:
    """Zero, negative numbers, infinity and NaN put right."""
    finite = v.choose("lt", v, math.inf, result, v)
    below = v.choose("eq", v, 0.0, -math.inf, math.nan)
    return v.choose("gt", v, 0.0, finite, below)


# --- power ---------------------------------------------------------------------------------------


def _log_pair(v: _Value) -> tuple[_Value, _Value]:
    """log of positive finite numbers as a sum whose first part has half a significand."""
    m, power = _split_exponent(v)
    high, low = v.format.ln2
    f, divisor = m - 1.0, m + 1.0
    s = f / divisor
    # s = s_high + s_low: the remainder of the division is exact in halves.
    s_high, divisor_high = s.upper_half(), divisor.upper_half()
    divisor_low = m - (divisor_high - 1.0)
    s_low = ((f - s_high * divisor_high) - s_high * divisor_low) / divisor
    z = s * s
    rest = s_low + s_low + s * z * z.polynomial(v.format.log_ratio) + power * low
    first, second = power * high, s_high + s_high
    total = first + second  # |first| >= |second| or first = 0: what rounding took is exact
    rest = rest + (second - (total - first))
    upper = (total + rest).upper_half()
    return upper, (total - upper) + rest


def _exact_product(pair: tuple[_Value, _Value], factor: _Value) -> tuple[_Value, _Value]:
    """The product of a sum and a number as a sum whose first part is exact."""
    upper, lower = pair
    factor_upper = factor.upper_half()
    return factor_upper * upper, (factor - factor_upper) * upper + factor * lower


def _power_special(x: _Value, y: _Value, result: _Value) -> _Value:
    """`result` = |x|^y, with signs and everything that is not an ordinary number put right."""
    b, size = x.b, x.abs()
    whole = _is_integer(y)
    is_zero, is_infinite = size.test("eq", 0.0), size.test("eq", math.inf)
    vanishes = b.op("xor", is_zero, y.test("lt", 0.0))
    extreme = result.select(vanishes, 0.0, math.inf)
    result = result.select(b.op("or", is_zero, is_infinite), extreme, result)
    # A negative base: odd exponents keep the sign, fractional ones have no real result.
    odd = b.op("and", whole, b.op("xor", _is_integer(y * 0.5), _all_lanes(x)))
    sign = b.select(odd, x.sign_bits(), x.bits_const(0))
    result = result.bits_op("or", sign)
    below = b.op("and", x.test("lt", 0.0), x.test("gt", -math.inf))
    result = result.select(b.op("and", below, b.op("xor", whole, _all_lanes(x))), math.nan, result)
    # x^0 and 1^y are 1 even for NaN, anything else with a NaN is one.
    result = result.select(b.op("or", x.test("ne", x), y.test("ne", y)), x + y, result)
    return result.select(b.op("or", y.test("eq", 0.0), x.test("eq", 1.0)), 1.0, result)


def _is_integer(v: _Value) -> Operand:
    return v.like(round_even(v.b, v.operand)).test("eq", v)


def _all_lanes(v: _Value) -> Operand:
    zero = v.bits_const(0)
    return v.b.compare("eq", zero, zero)


# --- sine and cosine -----------------------------------------------------------------------------


def _sin_or_cos(v: _Value, quadrant: int) -> _Value:
    """sin(v + quadrant pi/2): reduced to +-pi/4, then one of two polynomials and a sign."""
    b, f = v.b, v.format
    number, turns = _nearest(v, 2 / math.pi)
    r = v
    for part in f.half_pi:
        r = number.fma(v.const(-part), r)
    # Only beyond the stated range does this change anything; NaN stays NaN.
    r = r.clamp(-0.8, 0.8)
    z = r * r
    sine = (r * z).fma(z.polynomial(f.sin), r)
    cosine = (z * z).fma(z.polynomial(f.cos), z.fma(v.const(-0.5), v.const(1.0)))
    turns = b.add(turns, v.bits_const(quadrant)) if quadrant else turns
    odd = b.compare("ne", b.op("and", turns, v.bits_const(1)), v.bits_const(0))
    result = v.select(odd, cosine, sine)
    second = b.op("and", turns, v.bits_const(2))
    return result.bits_op("xor", b.shift_left(second, f.bits.bytes * 8 - 2))


# --- error function ------------------------------------------------------------------------------


def _erf_inner(v: _Value) -> _Value:
    """erf for |v| <= 1."""
    return v * (v * v).polynomial(v.format.erf)


def _erfc_tail(t: _Value, minus_square: _Value, rest: _Value) -> _Value:
    """erfc(t) for t >= 1/2, given -t^2 as a sum of two parts."""
    inverse = t.const(1.0) / (t + 3.0)
    shape = ((t - 3.0) * inverse).polynomial(t.format.erfc) * inverse
    part, power = _exp_reduced(minus_square, rest)
    return _scale(part.fma(shape, shape), power)
