"""Base classes of unary and binary pointwise operators, with their checks and test cases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Self

import numpy as np

from ellc.ir.op import Arrays, Case, Pointwise, Types, exact, require
from ellc.ir.ops.common import normal, want_operands, want_same
from ellc.ir.types import Array, DType, TensorType

# Kernels must be correct for these numbers. Squares of the large ones are finite in float32.
SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, 2.5, -3.0, 1e15, -1e15, 1e-15, np.inf, -np.inf, np.nan], np.float32
)
INTEGERS = np.array([0, 1, -1, 2, -7, 13, 100_000, -(2**31), 2**31 - 1], np.int32)


def want_kind(name: str, dtype: DType, kinds: str) -> None:
    """Raise `ShapeError` unless the element type is of one of the `kinds`.

    `kinds` is a string of letters: f for floats, i for integers, b for booleans.
    """
    letter = "f" if dtype.is_float else "i" if dtype.is_integer else dtype.value
    allowed = [*kinds.replace("b", ""), *(["bool"] if "b" in kinds else [])]
    require(letter in allowed, f"{name}: does not work on {dtype.value}")


def want_broadcast(name: str, x: TensorType, *others: TensorType) -> None:
    """Raise `ShapeError` unless all other operands broadcast to the shape of x."""
    for other in others:
        extents = zip(other.shape[::-1], x.shape[::-1], strict=False)
        fits = other.rank <= x.rank and all(a in (1, b) for a, b in extents)
        require(fits, f"{name}: {other.shape} does not broadcast to {x.shape}")


def nan_ranked(x: Array, largest: bool) -> Array:
    """x with NaN replaced by the infinity that a search for an extremum never chooses.

    It is minus infinity if the search is for the largest element, else infinity.
    """
    if x.dtype.kind != "f":
        return x
    return np.where(np.isnan(x), x.dtype.type(-np.inf if largest else np.inf), x)


def spread(rng: np.random.Generator, low: float, high: float, *shape: int) -> Array:
    """Uniform float32 samples; they contain both ends, and 0 if it is between the ends.

    A single sample is `low`; two samples are the ends.
    """
    values: Array = rng.uniform(low, high, shape).astype(np.float32)
    flat = values.reshape(-1)
    flat[-1] = high
    flat[0] = low
    if low <= 0 <= high and flat.size > 2:
        flat[1] = 0
    return values


class Unary(Pointwise):
    """An operator on one operand; a subclass defines the function as `value`.

    The result has the operand's type. Integers wrap around as in two's complement.
    """

    kinds: ClassVar[str] = "f"
    domain: ClassVar[tuple[float, float]] = (-6.0, 6.0)
    # numpy's vector functions have errors of up to 4 units in the last place. Measured with AVX-512
    # in float32: tan 3.2, log and arcsin 3.1, exp 2.4. Our functions are within the bound, too.
    roundings: ClassVar[float] = 8.0
    keeps_quant: ClassVar[bool] = False  # whether the result has the operand's quantisation

    def value(self, x: Array) -> Array:
        """The function that the operator computes, elementwise."""
        raise NotImplementedError(self.name)

    @classmethod
    def variants(cls) -> tuple[Self, ...]:
        """The operator with the attributes of test cases; the most common ones come first."""
        return (cls(),)

    def infer(self, *inputs: TensorType) -> Types:
        want_operands(self.name, inputs, 1)
        (x,) = inputs
        want_kind(self.name, x.dtype, self.kinds)
        return (TensorType(x.dtype, x.shape, quant=x.quant if self.keeps_quant else None),)

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        return (np.asarray(self.value(x), x.dtype),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        first, *others = cls.variants()
        low, high = cls.domain
        if "f" in cls.kinds:
            yield Case(first, (spread(rng, low, high, 1, 1, 1, 1),), label="one element")
            yield Case(first, (spread(rng, low, high, 1, 5, 7, 3),), label="odd sizes")
            yield Case(first, (spread(rng, low, high, 1, 4, 4, 16),), label="image")
            yield Case(first, (spread(rng, low, high, 19),), label="vector")
            yield Case(first, (SPECIAL.copy(),), label="special values")
        if "i" in cls.kinds:
            yield Case(first, (INTEGERS.copy(),), label="integers")
        if "b" in cls.kinds:
            yield Case(first, (rng.random((1, 3, 5, 7)) < 0.5,), label="booleans")
        for index, op in enumerate(others):
            x = spread(rng, low, high, 1, 3, 3, 9)
            yield Case(op, (x,), label=f"attributes {index + 1}")


class Predicate(Unary):
    """A predicate on one operand; the result is `BOOL`."""

    def infer(self, *inputs: TensorType) -> Types:
        (type_,) = Unary.infer(self, *inputs)
        return (type_.with_dtype(DType.BOOL),)

    def reference(self, *inputs: Array) -> Arrays:
        return (np.asarray(self.value(*inputs), np.bool_),)


class Binary(Pointwise):
    """An operator on two operands; the second broadcasts to the first as in numpy.

    The result has the first operand's type. Integers wrap around as in two's complement.
    """

    kinds: ClassVar[str] = "fi"
    # Whether the result has the first operand's quantisation, provided that the second operand has
    # the same or none.
    keeps_quant: ClassVar[bool] = False
    commutative: ClassVar[bool] = False

    def value(self, x: Array, y: Array) -> Array:
        """The function, elementwise."""
        raise NotImplementedError(self.name)

    def swapped(self) -> Pointwise | None:
        return self if self.commutative else None

    @classmethod
    def draw(cls, rng: np.random.Generator, x: tuple[int, ...], y: tuple[int, ...]) -> Arrays:
        """Float operands of these shapes for which the function is well conditioned."""
        return normal(rng, *x), normal(rng, *y)

    def infer(self, *inputs: TensorType) -> Types:
        want_operands(self.name, inputs, 2)
        want_kind(self.name, want_same(self.name, *inputs), self.kinds)
        want_broadcast(self.name, *inputs)
        x, y = inputs
        kept = self.keeps_quant and y.quant in (x.quant, None)
        return (TensorType(x.dtype, x.shape, quant=x.quant if kept else None),)

    def reference(self, *inputs: Array) -> Arrays:
        x, y = inputs
        return (np.asarray(self.value(x, y), x.dtype),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        op = cls()
        if "f" in cls.kinds:
            yield Case(op, cls.draw(rng, (1, 1, 1, 1), (1,)), (1,), label="one element")
            yield Case(op, cls.draw(rng, (1, 5, 7, 3), (3,)), (1,), label="per channel")
            yield Case(op, cls.draw(rng, (1, 4, 4, 16), (1, 4, 4, 16)), label="two images")
            yield Case(op, cls.draw(rng, (1, 6, 5, 4), (6, 1, 4)), label="broadcast columns")
            yield Case(op, cls.draw(rng, (19,), (19,)), (1,), label="vector")
            yield Case(op, _pairs(SPECIAL), label="special values")
        if "i" in cls.kinds:
            yield Case(op, _pairs(INTEGERS), label="integers")
        if "b" in cls.kinds:
            x, y = rng.random((1, 3, 5, 7)) < 0.5, rng.random((5, 7)) < 0.5
            yield Case(op, (x, y), label="booleans")


class Comparison(Binary):
    """A comparison; the result is `BOOL`. With NaN, all comparisons except `NotEqual` are false."""

    own_error = exact

    @property
    def jumps(self) -> bool:
        return True

    @classmethod
    def draw(cls, rng: np.random.Generator, x: tuple[int, ...], y: tuple[int, ...]) -> Arrays:
        # Only a few different numbers, so that some pairs are equal.
        low, high = -3, 4
        return (
            rng.integers(low, high, x).astype(np.float32),
            rng.integers(low, high, y).astype(np.float32),
        )

    def infer(self, *inputs: TensorType) -> Types:
        want_operands(self.name, inputs, 2)
        want_kind(self.name, want_same(self.name, *inputs), self.kinds)
        want_broadcast(self.name, *inputs)
        return (TensorType(DType.BOOL, inputs[0].shape),)

    def reference(self, *inputs: Array) -> Arrays:
        return (np.asarray(self.value(*inputs), np.bool_),)


def _pairs(values: Array) -> Arrays:
    """All pairs of the values, as two vectors."""
    return np.repeat(values, values.size), np.tile(values, values.size)
