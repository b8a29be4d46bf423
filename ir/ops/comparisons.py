"""Comparisons, logic and bitwise operators on two operands, and `Select`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ellc.ir.op import Arrays, Case, Pointwise, Types, register_op, require
from ellc.ir.ops.common import normal, want_operands, want_same
from ellc.ir.ops.elementwise import (
    SPECIAL,
    Binary,
    Comparison,
    want_broadcast,
    want_kind,
)
from ellc.ir.types import Array, DType, TensorType


@register_op("and")
@dataclass(frozen=True, slots=True)
class And(Binary):
    """x and y: logical on booleans, bitwise on integers."""

    kinds: ClassVar[str] = "ib"
    commutative: ClassVar[bool] = True

    def value(self, x: Array, y: Array) -> Array:
        return x & y


@register_op("or")
@dataclass(frozen=True, slots=True)
class Or(Binary):
    """x or y: logical on booleans, bitwise on integers."""

    kinds: ClassVar[str] = "ib"
    commutative: ClassVar[bool] = True

    def value(self, x: Array, y: Array) -> Array:
        return x | y


@register_op("xor")
@dataclass(frozen=True, slots=True)
class Xor(Binary):
    """Exclusive or: logical on booleans, bitwise on integers."""

    kinds: ClassVar[str] = "ib"
    commutative: ClassVar[bool] = True

    def value(self, x: Array, y: Array) -> Array:
        return x ^ y


@register_op("shift_left")
@dataclass(frozen=True, slots=True)
class ShiftLeft(Binary):
    """The low bits of x * 2^y; 0 if y is negative or at least the number of bits of the type."""

    kinds: ClassVar[str] = "i"

    def value(self, x: Array, y: Array) -> Array:
        return np.left_shift(x, y)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield from super(ShiftLeft, cls).samples(rng)
        yield from _shifts(cls(), rng)


@register_op("shift_right")
@dataclass(frozen=True, slots=True)
class ShiftRight(Binary):
    """floor(x / 2^y).

    If y is negative or at least the number of bits of the type: 0, or -1 for a negative x.
    """

    kinds: ClassVar[str] = "i"

    def value(self, x: Array, y: Array) -> Array:
        return np.right_shift(x, y)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield from super(ShiftRight, cls).samples(rng)
        yield from _shifts(cls(), rng)


def _shifts(op: Binary, rng: np.random.Generator) -> Iterator[Case]:
    for dtype in (np.uint8, np.int8, np.int16, np.uint32, np.int64):
        info = np.iinfo(dtype)
        x = rng.integers(info.min, info.max, (5, 9), dtype, endpoint=True)
        y = rng.integers(0, info.bits, (5, 9)).astype(dtype)
        yield Case(op, (x, y), label=f"{info.dtype}")
    yield Case(op, (x, np.array([3], np.int64)), (1,), label="by a constant")


@register_op("equal")
@dataclass(frozen=True, slots=True)
class Equal(Comparison):
    """x == y."""

    kinds: ClassVar[str] = "fib"
    commutative: ClassVar[bool] = True

    def value(self, x: Array, y: Array) -> Array:
        return np.equal(x, y)


@register_op("not_equal")
@dataclass(frozen=True, slots=True)
class NotEqual(Comparison):
    """x != y; true if either is NaN."""

    kinds: ClassVar[str] = "fib"
    commutative: ClassVar[bool] = True

    def value(self, x: Array, y: Array) -> Array:
        return np.not_equal(x, y)


@register_op("less")
@dataclass(frozen=True, slots=True)
class Less(Comparison):
    """x < y."""

    def swapped(self) -> Pointwise:
        return Greater()

    def value(self, x: Array, y: Array) -> Array:
        return x < y


@register_op("less_equal")
@dataclass(frozen=True, slots=True)
class LessEqual(Comparison):
    """x <= y."""

    def swapped(self) -> Pointwise:
        return GreaterEqual()

    def value(self, x: Array, y: Array) -> Array:
        return x <= y


@register_op("greater")
@dataclass(frozen=True, slots=True)
class Greater(Comparison):
    """x > y."""

    def swapped(self) -> Pointwise:
        return Less()

    def value(self, x: Array, y: Array) -> Array:
        return x > y


@register_op("greater_equal")
@dataclass(frozen=True, slots=True)
class GreaterEqual(Comparison):
    """x >= y."""

    def swapped(self) -> Pointwise:
        return LessEqual()

    def value(self, x: Array, y: Array) -> Array:
        return x >= y


@register_op("select")
@dataclass(frozen=True, slots=True)
class Select(Pointwise):
    """(x, other, condition): condition ? x : other; the condition is `BOOL`.

    `other` and the condition broadcast to x.
    """

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("select", inputs, 3)
        x, other, condition = inputs
        want_kind("select", want_same("select", x, other), "fib")
        require(condition.dtype is DType.BOOL, "select: the condition must be bool")
        want_broadcast("select", *inputs)
        return (TensorType(x.dtype, x.shape, quant=x.quant if x.quant == other.quant else None),)

    def reference(self, *inputs: Array) -> Arrays:
        x, other, condition = inputs
        return (np.asarray(np.where(condition, x, other), x.dtype),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def choice(*shape: int) -> Array:
            picked: Array = rng.random(shape) < 0.5
            return picked

        x = normal(rng, 1, 5, 7, 3)
        yield Case(cls(), (x[:, :1, :1, :1], normal(rng, 1), choice(1)), (1,), label="one element")
        yield Case(cls(), (x, normal(rng, *x.shape), choice(*x.shape)), label="images")
        yield Case(cls(), (x, normal(rng, 3), choice(5, 1, 1)), (1, 2), label="broadcast")
        numbers = rng.integers(-9, 10, (19,), np.int32)
        yield Case(cls(), (numbers, -numbers, choice(19)), label="integers")
        special = np.resize(SPECIAL, (2, SPECIAL.size))
        yield Case(cls(), (special, -special, choice(2, 1)), label="special values")
