"""Arithmetic on two or three operands; all broadcast to the first operand's shape.

A scale or bias per channel is `Mul`/`Add` with a vector.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ellc.ir.op import Arrays, Case, Pointwise, Types, register_op
from ellc.ir.ops.common import dyadic, normal, want_operands, want_same
from ellc.ir.ops.elementwise import (
    SPECIAL,
    Binary,
    spread,
    want_broadcast,
    want_kind,
)
from ellc.ir.types import Array, TensorType


@register_op("add")
@dataclass(frozen=True, slots=True)
class Add(Binary):
    """x + y."""

    commutative: ClassVar[bool] = True

    def value(self, x: Array, y: Array) -> Array:
        return x + y


@register_op("sub")
@dataclass(frozen=True, slots=True)
class Sub(Binary):
    """x - y."""

    def value(self, x: Array, y: Array) -> Array:
        return x - y


@register_op("mul")
@dataclass(frozen=True, slots=True)
class Mul(Binary):
    """x * y."""

    commutative: ClassVar[bool] = True

    def value(self, x: Array, y: Array) -> Array:
        return x * y


@register_op("div")
@dataclass(frozen=True, slots=True)
class Div(Binary):
    """x / y. Integers: truncated toward zero, x / 0 = 0, and (lowest integer) / -1 wraps around."""

    loops_on_integers: ClassVar[bool] = True

    @classmethod
    def draw(cls, rng: np.random.Generator, x: tuple[int, ...], y: tuple[int, ...]) -> Arrays:
        return normal(rng, *x), _away_from_zero(rng, y)

    def value(self, x: Array, y: Array) -> Array:
        if x.dtype.kind == "f":
            return x / y
        divisor = np.where(y == 0, 1, y)
        floor = x // divisor
        inexact = x - floor * divisor != 0
        truncated = floor + (inexact & ((x < 0) != (divisor < 0)))
        return np.where(y == 0, 0, truncated)


def _away_from_zero(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Numbers with absolute values in 0.5..2 and random signs."""
    sign = rng.choice(np.array([-1, 1], np.float32), shape)
    return sign * spread(rng, 0.5, 2.0, *shape)


@register_op("mod")
@dataclass(frozen=True, slots=True)
class Mod(Binary):
    """The remainder with the sign of x, like C's fmod and %. Integers: 0 if y is 0."""

    loops_on_integers: ClassVar[bool] = True

    @property
    def jumps(self) -> bool:
        return True

    @classmethod
    def draw(cls, rng: np.random.Generator, x: tuple[int, ...], y: tuple[int, ...]) -> Arrays:
        # A quotient of these numbers is either exactly an integer or far from one in float32, so no
        # remainder jumps from almost 0 to almost y.
        divisor = rng.choice(np.array([0.5, 0.75, 1.0, 1.5, -2.0, -3.0], np.float32), y)
        return dyadic(rng, *x, span=40), divisor

    def value(self, x: Array, y: Array) -> Array:
        return np.fmod(x, y)


@register_op("floor_div")
@dataclass(frozen=True, slots=True)
class FloorDiv(Binary):
    """floor(x / y). Integers: 0 if y is 0, and (lowest integer) / -1 wraps around."""

    loops_on_integers: ClassVar[bool] = True

    @property
    def jumps(self) -> bool:
        return True

    @classmethod
    def draw(cls, rng: np.random.Generator, x: tuple[int, ...], y: tuple[int, ...]) -> Arrays:
        return Mod.draw(rng, x, y)

    def value(self, x: Array, y: Array) -> Array:
        if x.dtype.kind == "f":
            return np.floor(x / y)
        return np.where(y == 0, 0, x // np.where(y == 0, 1, y))


@register_op("floor_mod")
@dataclass(frozen=True, slots=True)
class FloorMod(Binary):
    """The remainder with the sign of y, like Python's %. Integers: 0 if y is 0."""

    loops_on_integers: ClassVar[bool] = True

    @property
    def jumps(self) -> bool:
        return True

    @classmethod
    def draw(cls, rng: np.random.Generator, x: tuple[int, ...], y: tuple[int, ...]) -> Arrays:
        return Mod.draw(rng, x, y)

    def value(self, x: Array, y: Array) -> Array:
        rest = np.fmod(x, y) if x.dtype.kind == "f" else np.fmod(x, np.where(y == 0, 1, y))
        rest = np.where((rest != 0) & ((rest < 0) != (y < 0)), rest + y, rest)
        return rest if x.dtype.kind == "f" else np.where(y == 0, 0, rest)


@register_op("minimum")
@dataclass(frozen=True, slots=True)
class Minimum(Binary):
    """The smaller of x and y; NaN if either is NaN."""

    keeps_quant: ClassVar[bool] = True
    commutative: ClassVar[bool] = True

    def value(self, x: Array, y: Array) -> Array:
        return np.minimum(x, y)


@register_op("maximum")
@dataclass(frozen=True, slots=True)
class Maximum(Binary):
    """The larger of x and y; NaN if either is NaN."""

    keeps_quant: ClassVar[bool] = True
    commutative: ClassVar[bool] = True

    def value(self, x: Array, y: Array) -> Array:
        return np.maximum(x, y)


@register_op("pow")
@dataclass(frozen=True, slots=True)
class Pow(Binary):
    """x to the power y, like C's powf; a negative x with a fractional y gives NaN.

    Integers wrap around. A negative integer exponent gives 1 / x^-y truncated, or 0 if x is 0.
    """

    roundings: ClassVar[float] = 8.0  # like `Unary`
    loops_on_integers: ClassVar[bool] = True

    @classmethod
    def draw(cls, rng: np.random.Generator, x: tuple[int, ...], y: tuple[int, ...]) -> Arrays:
        return spread(rng, 0.1, 4.0, *x), spread(rng, -3.0, 3.0, *y)

    def value(self, x: Array, y: Array) -> Array:
        if x.dtype.kind != "f":
            return _integer_power(x, y)
        # For a single exponent of 0.5, numpy uses sqrt, which differs at -infinity and -0.
        return np.asarray(np.power(x, np.broadcast_to(y, x.shape).copy()))

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield from super(Pow, cls).samples(rng)
        x = np.array([-2.0, -1.5, -1.0, 1.0, 2.0, 3.0], np.float32)
        for exponent in (-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0):
            y = np.array([exponent], np.float32)
            base = np.abs(x) if exponent == 0.5 else x
            yield Case(cls(), (base, y), (1,), label=f"exponent {exponent}")
        zero = np.zeros(4, np.float32)
        yield Case(cls(), (zero, np.array([0, 1, 2, 0.5], np.float32)), (1,), label="base 0")


@register_op("atan2")
@dataclass(frozen=True, slots=True)
class Atan2(Binary):
    """(y, x): the angle of the point (x, y) in radians, -pi..pi, like C's atan2f.

    The signs of zeros matter: (0, -0) gives pi, (-0, -0) gives -pi.
    """

    kinds: ClassVar[str] = "f"

    @property
    def jumps(self) -> bool:
        return True  # from pi to -pi where y crosses 0 and x is negative

    def value(self, x: Array, y: Array) -> Array:
        return np.arctan2(x, y)


def _integer_power(x: Array, y: Array) -> Array:
    """x to the power y by repeated squaring, so that results wrap around like products."""
    base, exponent = np.broadcast_arrays(x, y)
    result, factor = np.ones_like(base), base.copy()
    for bit in range(8 * base.dtype.itemsize - (base.dtype.kind == "i")):
        result = np.where((exponent >> bit) & 1 != 0, result * factor, result)
        factor = factor * factor
    unit = np.where(base == -1, 1 - 2 * (exponent & 1), base == 1)
    return np.where(exponent < 0, unit, result).astype(x.dtype)


@register_op("mul_add")
@dataclass(frozen=True, slots=True)
class MulAdd(Pointwise):
    """(x, scale, offset): x * scale + offset, float; kernels may or may not round the product."""

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("mul_add", inputs, 3)
        want_kind("mul_add", want_same("mul_add", *inputs), "f")
        want_broadcast("mul_add", *inputs)
        return (TensorType(inputs[0].dtype, inputs[0].shape),)

    def reference(self, *inputs: Array) -> Arrays:
        x, scale, offset = inputs
        return (np.asarray(x * scale + offset, x.dtype),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(label: str, *shapes: tuple[int, ...], fixed: tuple[int, ...] = (1, 2)) -> Case:
            return Case(cls(), tuple(normal(rng, *s) for s in shapes), fixed, label=label)

        yield case("one element", (1, 1, 1, 1), (1,), (1,))
        yield case("per channel", (1, 5, 7, 3), (3,), (3,))
        yield case("wide", (1, 4, 4, 16), (16,), (1, 1, 1, 16))
        yield case("scalar and image", (1, 3, 5, 9), (1,), (1, 3, 5, 9))
        yield case("computed", (1, 6, 5, 4), (1, 1, 1, 4), (6, 5, 4), fixed=())
        special = np.resize(SPECIAL, (5, SPECIAL.size))
        factors = np.array([[0.0], [1.0], [-2.0], [np.inf], [np.nan]], np.float32)
        yield Case(cls(), (special, factors, factors), (1, 2), label="special values")
