"""Functions of one operand as kernel IR."""

from __future__ import annotations

import math
from typing import Any

from ellc.codegen.blocks.pointwise import emits
from ellc.codegen.kir import vmath, vmath_hyperbolic, vmath_inverse
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.ir.ops import pointwise


@emits(pointwise.Exp, costly=True)
def _exp(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.exp(b, x)


@emits(pointwise.Log, costly=True)
def _log(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.log(b, x)


@emits(pointwise.Log10, costly=True)
def _log10(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.log10(b, x)


@emits(pointwise.Sqrt)
def _sqrt(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return b.op("sqrt", x)


@emits(pointwise.Square)
def _square(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return b.mul(x, x)


@emits(pointwise.Abs)
def _abs(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    signed = x.type.elem.is_signed or x.type.elem.is_float
    return b.op("abs", x) if signed else x


@emits(pointwise.Neg)
def _neg(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return b.op("neg", x)


@emits(pointwise.Sign)
def _sign(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    zero = b.const(0, x)
    result = b.select(b.compare("gt", x, zero), b.const(1, x), x)
    if not (x.type.elem.is_signed or x.type.elem.is_float):
        return result
    return b.select(b.compare("lt", x, zero), b.const(-1, x), result)


@emits(pointwise.Sin, costly=True)
def _sin(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.sin(b, x)


@emits(pointwise.Cos, costly=True)
def _cos(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.cos(b, x)


@emits(pointwise.Floor)
def _floor(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.floor(b, x)


@emits(pointwise.Ceil)
def _ceil(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.ceil(b, x)


@emits(pointwise.Round)
def _round(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.round_even(b, x)


@emits(pointwise.Reciprocal)
def _reciprocal(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return b.div(b.const(1.0, x), x)


@emits(pointwise.Rsqrt)
def _rsqrt(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return b.div(b.const(1.0, x), b.op("sqrt", x))


@emits(pointwise.Erf, costly=True)
def _erf(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.erf(b, x)


@emits(pointwise.Expm1, costly=True)
def _expm1(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath_hyperbolic.expm1(b, x)


@emits(pointwise.Log1p, costly=True)
def _log1p(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath_hyperbolic.log1p(b, x)


@emits(pointwise.Sinh, costly=True)
def _sinh(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath_hyperbolic.sinh(b, x)


@emits(pointwise.Cosh, costly=True)
def _cosh(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath_hyperbolic.cosh(b, x)


@emits(pointwise.Asinh, costly=True)
def _asinh(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath_hyperbolic.asinh(b, x)


@emits(pointwise.Acosh, costly=True)
def _acosh(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath_hyperbolic.acosh(b, x)


@emits(pointwise.Atanh, costly=True)
def _atanh(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath_hyperbolic.atanh(b, x)


@emits(pointwise.Tan, costly=True)
def _tan(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.tan(b, x)


@emits(pointwise.Asin, costly=True)
def _asin(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath_inverse.asin(b, x)


@emits(pointwise.Acos, costly=True)
def _acos(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath_inverse.acos(b, x)


@emits(pointwise.Atan, costly=True)
def _atan(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath_inverse.atan(b, x)


@emits(pointwise.IsNan)
def _is_nan(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return b.compare("ne", x, x)


@emits(pointwise.IsInf)
def _is_inf(op: pointwise.IsInf, b: KernelBuilder, x: Operand) -> Operand:
    infinity = b.const(math.inf, x)
    if op.positive and op.negative:
        return b.compare("eq", b.op("abs", x), infinity)
    if op.positive:
        return b.compare("eq", x, infinity)
    # If no sign is requested, the comparison with NaN makes every result false.
    return b.compare("eq", x, b.const(-math.inf, x) if op.negative else b.const(math.nan, x))
