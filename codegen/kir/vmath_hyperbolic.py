"""Hyperbolic functions and their inverses, expm1 and log1p, as kernel IR; see `vmath`."""

from __future__ import annotations

import math

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.vmath_expression import Expression
from ellc.codegen.kir.vmath_parts import exp_reduced, log_positive, log_special, power_of_two, scale

# For x at or above this, e^x - 1, 2 sinh(x) and 2 cosh(x) round to the same number as e^x.
_NO_ONE = 40.0
# For x at or above this, sqrt(x^2 + 1) rounds to x.
_NO_ROOT = 2.0**28


def expm1(b: KernelBuilder, x: Operand) -> Operand:
    """e^x - 1 to 3 ulp, even near 0."""
    v = Expression.of(b, x)
    part, power = exp_reduced(v.clamp(-float(v.format.fraction_bits + 3), v.format.exp_range[1]))
    near = _minus_one(part, power)
    return v.choose("lt", v, _NO_ONE, near, scale(part + 1.0, power)).operand


def sinh(b: KernelBuilder, x: Operand) -> Operand:
    """The hyperbolic sine to 4 ulp, even near 0. sinh(-x) is exactly -sinh(x)."""
    v = Expression.of(b, x)
    size, part, power, far = _half_exponential(v)
    grown = _minus_one(part, power)
    near = (grown + grown / (grown + 1.0)) * 0.5
    return v.choose("lt", size, _NO_ONE, near, far).with_sign_of(v).operand


def cosh(b: KernelBuilder, x: Operand) -> Operand:
    """The hyperbolic cosine to 3 ulp."""
    v = Expression.of(b, x)
    size, part, power, far = _half_exponential(v)
    grown = _minus_one(part, power) + 1.0
    near = grown * 0.5 + v.const(0.5) / grown
    return v.choose("lt", size, _NO_ONE, near, far).operand


def log1p(b: KernelBuilder, x: Operand) -> Operand:
    """log(1 + x) to 3 ulp, even near 0. It is -infinity at -1, and NaN below -1."""
    v = Expression.of(b, x)
    total = v + 1.0
    return log_special(total, _log_of_sum(v, total)).operand


def asinh(b: KernelBuilder, x: Operand) -> Operand:
    """The inverse hyperbolic sine to 5 ulp. asinh(-x) is exactly -asinh(x)."""
    v = Expression.of(b, x)
    size = v.abs()
    square = size.min(_NO_ROOT) * size.min(_NO_ROOT)
    rest = size + square / (_root(square + 1.0) + 1.0)
    return _log_of_grown(size, rest).with_sign_of(v).operand


def acosh(b: KernelBuilder, x: Operand) -> Operand:
    """The inverse hyperbolic cosine to 5 ulp. It is NaN below 1."""
    v = Expression.of(b, x)
    above = v - 1.0
    short = above.min(_NO_ROOT)
    result = _log_of_grown(v, above + _root(short * (short + 2.0)))
    return v.choose("lt", v, 1.0, math.nan, result).operand


def atanh(b: KernelBuilder, x: Operand) -> Operand:
    """The inverse hyperbolic tangent to 5 ulp. atanh(-x) is exactly -atanh(x).

    It is infinite at -1 and 1, and NaN outside [-1, 1].
    """
    v = Expression.of(b, x)
    size = v.abs()
    ratio = (size + size) / (v.const(1.0) - size)
    result = v.like(log1p(b, ratio.operand)) * 0.5
    return result.with_sign_of(v).operand


# --- helpers -------------------------------------------------------------------------------------


def _minus_one(part: Expression, power: Operand) -> Expression:
    """2^power (1 + part) - 1 if `power` is at most 64.

    It is larger only for arguments beyond `_NO_ONE`, for which the callers do not use the result.
    """
    limit = part.bits_const(64)
    factor = power_of_two(part, part.b.min(power, limit))
    return part.fma(factor, factor - 1.0)


def _half_exponential(v: Expression) -> tuple[Expression, Expression, Operand, Expression]:
    """(|v|, part, power, e^|v| / 2), where `exp_reduced` gives part and power.

    The last value is correct even if e^|v| would overflow.
    """
    size = v.abs()
    part, power = exp_reduced(size.min(v.format.exp_range[1] + 1.0))
    half = scale(part + 1.0, v.b.sub(power, v.bits_const(1)))
    return size, part, power, half


def _log_of_sum(rest: Expression, total: Expression) -> Expression:
    """log(1 + rest), where `total` is 1 + rest after rounding, finite and above 0.

    The rounding error of the total, divided by the total, is added to the logarithm of the total.
    """
    return log_positive(total) + (rest - (total - 1.0)) / total


def _log_of_grown(size: Expression, rest: Expression) -> Expression:
    """log(1 + rest), or log(2 size) if `size` is large. Infinity and NaN are unchanged."""
    far = log_positive(size) + math.log(2)
    result = size.choose("lt", size, _NO_ROOT, _log_of_sum(rest, rest + 1.0), far)
    return size.choose("lt", size, math.inf, result, size)


def _root(v: Expression) -> Expression:
    return v.like(v.b.op("sqrt", v.operand))
