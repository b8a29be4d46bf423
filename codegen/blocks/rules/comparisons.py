"""Comparisons, logic, shifts, selection and conversion as kernel IR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ellc.codegen.blocks.pointwise import emits
from ellc.codegen.kir import wide
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand
from ellc.codegen.kir.types import Elem
from ellc.ir.op import Op, Pointwise
from ellc.ir.ops import binary, pointwise
from ellc.ir.types import DType


@emits(pointwise.Cast, costly=True)
def _cast(op: pointwise.Cast, b: KernelBuilder, x: Operand) -> Operand:
    if op.dtype is DType.BOOL:
        is_mask = x.type.elem is Elem.MASK
        return x if is_mask else b.compare("ne", x, b.const(0, x))
    return wide.convert(b, x, Elem.of(op.dtype))


@emits(pointwise.BitCast)
def _bit_cast(op: pointwise.BitCast, b: KernelBuilder, x: Operand) -> Operand:
    return b.bitcast(x, Elem.of(op.dtype))


@emits(binary.Binarize)
def _binarize(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return b.compare("gt", x, b.const(0, x))


@emits(pointwise.Not)
def _not(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    if x.type.elem is Elem.MASK:
        return b.op("xor", x, Imm(1, x.type))
    signed = x.type.elem.is_signed
    return b.op("xor", x, b.const(-1 if signed else 2 ** (8 * x.type.elem.bytes) - 1, x))


@emits(pointwise.And)
def _and(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.op("and", x, y)


@emits(pointwise.Or)
def _or(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.op("or", x, y)


@emits(pointwise.Xor)
def _xor(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.op("xor", x, y)


_COMPARISONS: dict[type[Op], str] = {
    pointwise.Equal: "eq",
    pointwise.NotEqual: "ne",
    pointwise.Less: "lt",
    pointwise.LessEqual: "le",
    pointwise.Greater: "gt",
    pointwise.GreaterEqual: "ge",
}


@emits(
    pointwise.Equal,
    pointwise.NotEqual,
    pointwise.Less,
    pointwise.LessEqual,
    pointwise.Greater,
    pointwise.GreaterEqual,
)
def _compare(op: Pointwise, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return b.compare(_COMPARISONS[type(op)], x, y)


@emits(pointwise.Select)
def _select(op: Any, b: KernelBuilder, x: Operand, other: Operand, mask: Operand) -> Operand:
    return b.select(mask, x, other)


@emits(pointwise.ShiftLeft)
def _shift_left(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    return _shifted(b, x, y, b.shift_left, b.const(0, x))


@emits(pointwise.ShiftRight)
def _shift_right(op: Any, b: KernelBuilder, x: Operand, y: Operand) -> Operand:
    signed = x.type.elem.is_signed
    overflow = b.shift_right(x, x.type.elem.bytes * 8 - 1) if signed else b.const(0, x)
    return _shifted(b, x, y, b.shift_right, overflow)


def _shifted(
    b: KernelBuilder,
    x: Operand,
    y: Operand,
    shift: Callable[[Operand, int], Operand],
    overflow: Operand,
) -> Operand:
    """`x` shifted by `y`.

    Unless `y` is a literal, bit i of `y` selects whether to shift by 2^i, for every 2^i below the
    number of bits of x. In lanes where `y` is not in [0, bits of x) the result is `overflow`.
    """
    bits = x.type.elem.bytes * 8
    if isinstance(y, Imm):
        number = int(y.value)
        return overflow if not 0 <= number < bits else shift(x, number) if number else x
    zero = b.const(0, y)
    result = x
    for position in range(bits.bit_length() - 1):
        bit = b.op("and", y, b.const(1 << position, y))
        result = b.select(b.compare("ne", bit, zero), shift(result, 1 << position), result)
    others = b.op("and", y, b.const(~(bits - 1) if y.type.elem.is_signed else 2**bits - bits, y))
    return b.select(b.compare("ne", others, zero), overflow, result)
