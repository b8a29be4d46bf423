"""Inverse trigonometric functions as kernel IR; see `vmath`."""

from __future__ import annotations

import math

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.codegen.kir.vmath_expression import Expression

# pi/2 as a sum. The second part is the rounding error of the first.
_HALF_PI = {
    Elem.F32: (1.5707963705062866, -4.371139000186241e-08),
    Elem.F64: (math.pi / 2, 6.123233995736766e-17),
}


def atan(b: KernelBuilder, x: Operand) -> Operand:
    """The arc tangent to 3 ulp. atan(-x) is exactly -atan(x)."""
    v = Expression.of(b, x)
    size = v.abs()
    high, low = _HALF_PI[v.format.elem]
    steep = size.test("gt", math.tan(3 * math.pi / 8))
    middle = size.test("gt", math.tan(math.pi / 8))
    # atan(t) = pi/4 + atan((t - 1) / (t + 1)) = pi/2 + atan(-1 / t)
    above = v.select(steep, -1.0, v.select(middle, size - 1.0, size))
    below = v.select(steep, size, v.select(middle, size + 1.0, 1.0))
    r = above / below
    start = v.select(steep, high, v.select(middle, high / 2, 0.0))
    rest = v.select(steep, low, v.select(middle, low / 2, 0.0))
    angle = start + (_series(r, v.format.atan) + rest)
    return v.choose("eq", v, v, angle, v).with_sign_of(v).operand


def asin(b: KernelBuilder, x: Operand) -> Operand:
    """The arc sine to 4 ulp. It is NaN outside [-1, 1]. asin(-x) is exactly -asin(x)."""
    v = Expression.of(b, x)
    high, low = _HALF_PI[v.format.elem]
    size = v.abs()
    near, inner = _near_one(v, size)
    far = v.const(high) - ((inner + inner) - low)
    return v.select(near, far, inner).with_sign_of(v).operand


def acos(b: KernelBuilder, x: Operand) -> Operand:
    """The arc cosine to 4 ulp. It is NaN outside [-1, 1]."""
    v = Expression.of(b, x)
    high, low = _HALF_PI[v.format.elem]
    near, inner = _near_one(v, v.abs())
    signed = inner.with_sign_of(v)
    middle = v.const(high) - (signed - low)
    double = inner + inner
    outer = v.choose("lt", v, 0.0, v.const(2 * high) - (double - 2 * low), double)
    return v.select(near, outer, middle).operand


def _near_one(v: Expression, size: Expression) -> tuple[Operand, Expression]:
    """(near, angle), where `near` is the mask of size > 1/2.

    The angle is the arc sine of sqrt((1 - size) / 2) in lanes that are near 1, else of size.
    """
    near = size.test("gt", 0.5)
    half = (v.const(1.0) - size) * 0.5
    root = v.like(v.b.op("sqrt", half.operand))
    return near, _series(v.select(near, root, size), v.format.asin)


def _series(r: Expression, coefficients: tuple[float, ...]) -> Expression:
    """`r + r^3 p(r^2)`, where the polynomial p has these coefficients."""
    z = r * r
    return (r * z).fma(z.polynomial(coefficients), r)
