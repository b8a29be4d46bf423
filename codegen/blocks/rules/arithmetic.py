"""Arithmetic of two and three operands, and the rounding shift, as kernel IR."""

from __future__ import annotations

import math
from typing import Any

from ellc.codegen.blocks.pointwise import emits
from ellc.codegen.kir import vmath, vmath_inverse, wide
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand
from ellc.codegen.kir.types import Elem
from ellc.codegen.kir.vmath_expression import Expression
from ellc.ir.ops import pointwise
from ellc.ir.ops.arithmetic import Atan2
from ellc.ir.ops.resize import RoundingShift


@emits(pointwise.Add)
def _add(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.add(x, y)


@emits(pointwise.Sub)
def _sub(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.sub(x, y)


@emits(pointwise.Mul)
def _mul(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.mul(x, y)


@emits(pointwise.Div)
def _div(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.div(x, y) if x.type.elem.is_float else wide.divide(b, x, y)[0]


@emits(pointwise.Mod, costly=True)
def _mod(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return wide.fmod(b, x, y) if x.type.elem.is_float else wide.divide(b, x, y)[1]


@emits(pointwise.Minimum)
def _minimum(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.min(x, y)


@emits(pointwise.Maximum)
def _maximum(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.max(x, y)


@emits(pointwise.Pow, costly=True)
def _pow(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    if not x.type.elem.is_float:
        return wide.power(b, x, y)
    if isinstance(y, Imm):
        power = _constant_power(b, x, float(y.value))
        if power is not None:
            return power
    return vmath.pow(b, x, y)


def _constant_power(b: KernelBuilder, x: Operand, exponent: float) -> Operand | None:
    """x^exponent for exponents that take only products, a division or a square root; else None."""
    one = b.const(1.0, x)
    match exponent:
        case 0.0:
            return one
        case 1.0:
            return x
        case 2.0:
            return b.mul(x, x)
        case 3.0:
            return b.mul(b.mul(x, x), x)
        case -1.0:
            return b.div(one, x)
        case 0.5:  # unlike `sqrt`, pow(-0, 1/2) is +0 and pow(-infinity, 1/2) is +infinity
            root = b.add(b.op("sqrt", x), b.const(0.0, x))
            below = b.compare("eq", x, b.const(-math.inf, x))
            return b.select(below, b.const(math.inf, x), root)
    return None


@emits(Atan2, costly=True)
def _atan2(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    """The angle of the point (right, up), computed in the first quadrant and then mirrored."""
    up, right = Expression.of(b, x), Expression.of(b, y)
    height, width = up.abs(), right.abs()
    # The slope is the quotient, but 0 / 0 counts as 0, and infinity / infinity as 1.
    slope = height.choose("eq", height, width, 1.0, height / width)
    slope = slope.choose("eq", height + width, 0.0, 0.0, slope)
    angle = up.like(vmath_inverse.atan(b, slope.operand))
    is_left = up.const(1.0).with_sign_of(right).test("lt", 0.0)
    return up.select(is_left, up.const(math.pi) - angle, angle).with_sign_of(up).operand


@emits(pointwise.MulAdd)
def _mul_add(op: Any, b: KernelBuilder, x: Operand, scale: Operand, offset: Operand) -> Operand:
    return b.mul_add(x, scale, offset)


@emits(pointwise.FloorDiv, costly=True)
def _floor_div(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    if x.type.elem.is_float:
        return vmath.floor(b, b.div(x, y))
    quotient, rest = wide.divide(b, x, y)
    if not x.type.elem.is_signed:
        return quotient
    return b.select(_unlike(b, rest, y), b.sub(quotient, b.const(1, x)), quotient)


@emits(pointwise.FloorMod, costly=True)
def _floor_mod(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    elem = x.type.elem
    rest = wide.fmod(b, x, y) if elem.is_float else wide.divide(b, x, y)[1]
    if not (elem.is_float or elem.is_signed):
        return rest
    return b.select(_unlike(b, rest, y), b.add(rest, y), rest)


def _unlike(b: KernelBuilder, rest: Operand, y: Operand) -> Operand:
    """A mask: whether the remainder is not 0 and its sign differs from that of the divisor."""
    zero = b.const(0, rest)
    differ = b.op("xor", b.compare("lt", rest, zero), b.compare("lt", y, zero))
    return b.op("and", b.compare("ne", rest, zero), differ)


@emits(RoundingShift)
def _rounding_shift(op: RoundingShift, b: KernelBuilder, x: Operand) -> Operand:
    below = b.shift_right(x, x.type.elem.bytes * 8 - 1)  # -1 for negative numbers
    moved = b.add(b.add(x, b.const(1 << op.bits >> 1, x)), below)
    return b.convert(b.shift_right(moved, op.bits), Elem.of(op.dtype))
