"""What elementary functions share: exponentials and logarithms of reduced arguments."""

from __future__ import annotations

import math

from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.vmath_expression import Expression
from ellc.codegen.kir.vmath_formats import FloatFormat

# --- exponential ---------------------------------------------------------------------------------


def nearest(v: Expression, factor: float) -> tuple[Expression, Operand]:
    """(float, integer): the integer nearest to `v * factor`, computed without a conversion."""
    magic = v.format.round_magic
    shifted = v.fma(v.const(factor), v.const(magic))
    # The low bits of the magic number are 0. Subtracting its bits leaves the integer.
    pattern = (v.format.bias + v.format.fraction_bits) << v.format.fraction_bits
    pattern |= 1 << (v.format.fraction_bits - 1)
    integer = v.b.sub(shifted.bits(), v.bits_const(pattern))
    return shifted - magic, integer


def exp_reduced(x: Expression, rest: Expression | None = None) -> tuple[Expression, Operand]:
    """(p, n) with e^(x + rest) = 2^n (1 + p). |p| is at most about expm1(ln 2 / 2)."""
    total = x if rest is None else x + rest
    number, power = nearest(total, 1 / math.log(2))
    high, low = x.format.ln2
    r = number.fma(x.const(-low), number.fma(x.const(-high), x))
    if rest is not None:
        r = r + rest
    return (r * r).fma(r.polynomial(x.format.exp), r), power


def power_of_two(like: Expression, power: Operand) -> Expression:
    """2^power, which must be a normal number."""
    biased = like.b.add(power, like.bits_const(like.format.bias))
    return like.from_bits(like.b.shift_left(biased, like.format.fraction_bits))


def scale(v: Expression, power: Operand) -> Expression:
    """`v * 2^power`. Two products are needed, because 2^power itself may not be a normal number.

    Only the second product rounds.
    """
    half = v.b.shift_right(power, 1)
    other = v.b.sub(power, half)
    return v * power_of_two(v, half) * power_of_two(v, other)


# --- logarithm -----------------------------------------------------------------------------------


def split_exponent(v: Expression) -> tuple[Expression, Expression]:
    """(m, e) with v = m 2^e and m in [sqrt(1/2), sqrt(2)), for positive finite v."""
    f, b = v.format, v.b
    tiny = v.test("lt", 2.0 ** (1 - f.bias))
    up = f.fraction_bits + 2
    bits = v.select(tiny, v * 2.0**up, v).bits()
    # After the bits of sqrt(1/2) are subtracted, the exponent field changes at sqrt(2) 2^n, not at
    # 2^n.
    root = _bits_of_root_half(f)
    power = b.shift_right(b.sub(bits, v.bits_const(root)), f.fraction_bits)
    m = v.from_bits(b.sub(bits, b.shift_left(power, f.fraction_bits)))
    # The integer `power` becomes a float: it is added to the low bits of the magic number, and the
    # magic number is subtracted.
    magic = v.const(f.round_magic)
    pattern = ((f.bias + f.fraction_bits) << f.fraction_bits) | 1 << (f.fraction_bits - 1)
    shifted = v.from_bits(b.add(power, v.bits_const(pattern)))
    return m, shifted - v.select(tiny, f.round_magic + up, magic)


def _bits_of_root_half(f: FloatFormat) -> int:
    """The bits of sqrt(1/2), rounded down."""
    fraction = int(math.sqrt(2) * 2.0**f.fraction_bits) - (1 << f.fraction_bits)
    return (f.bias - 1) << f.fraction_bits | fraction


def log_positive(v: Expression) -> Expression:
    """log(v) for positive finite v."""
    m, power = split_exponent(v)
    high, low = v.format.ln2
    f = m - 1.0
    half_square = f * f * 0.5
    if v.format.log:
        tail = f * f * f * f.polynomial(v.format.log)
        tail = power.fma(v.const(low), tail) - half_square
        return power.fma(v.const(high), f + tail)
    # log(1 + f) = log((1 + s) / (1 - s)). The division for s saves eight terms of the polynomial.
    s = f / (f + 2.0)
    z = s * s
    tail = power.fma(v.const(low), s * (half_square + z * z.polynomial(v.format.log_ratio)))
    return power.fma(v.const(high), f - (half_square - tail))


def log_special(v: Expression, result: Expression) -> Expression:
    """`result`, replaced by the right value of log(v) where v is 0, negative, infinite or NaN."""
    finite = v.choose("lt", v, math.inf, result, v)
    below = v.choose("eq", v, 0.0, -math.inf, math.nan)
    return v.choose("gt", v, 0.0, finite, below)
