"""Cumulative sums and products along an axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ellc.ir.arrangement import Permutation
from ellc.ir.op import Arranged, Arrays, Case, Op, Types, register_op, sizes
from ellc.ir.ops.common import normal, want_axes, want_operands
from ellc.ir.ops.elementwise import want_kind
from ellc.ir.reads import Reads, apart_from
from ellc.ir.types import Array, TensorType


class Running(Op):
    """Base of `CumSum` and `CumProd`: result i along `axis` combines elements 0 to i.

    With `reverse`, the elements are i to the last instead. With `exclusive`, element i is left out.
    Elements are floats, or integers, which wrap around.
    """

    axis: int
    exclusive: bool
    reverse: bool
    start: ClassVar[int]  # the identity element of the combination

    def combined(self, x: Array) -> Array:
        """For every index i along the axis, the combination of elements 0 to i."""
        raise NotImplementedError(self.name)

    def infer(self, *inputs: TensorType) -> Types:
        want_operands(self.name, inputs, 1)
        (x,) = inputs
        want_kind(self.name, x.dtype, "fi")
        want_axes(self.name, (self.axis,), x.rank)
        return (TensorType(x.dtype, x.shape),)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return (apart_from((self.axis,), operands[0].rank),)

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        total = self.combined(np.flip(x, self.axis) if self.reverse else x)
        if self.exclusive:
            total = np.roll(total, 1, self.axis)
            total[(slice(None),) * self.axis + (slice(0, 1),)] = self.start
        return (np.array(np.flip(total, self.axis) if self.reverse else total),)

    @staticmethod
    def cases(make: Callable[..., Running], rng: np.random.Generator) -> Iterator[Case]:
        """Test cases of a subclass; most floats are near 1, so that products stay small."""
        yield Case(make(0), (normal(rng, 1),), label="one element")
        yield Case(make(0), (_near_one(rng, 19),), label="vector")
        for exclusive in (False, True):
            for reverse in (False, True):
                op = make(1, exclusive, reverse)
                label = f"{'exclusive ' * exclusive}{'reverse ' * reverse}rows"
                yield Case(op, (_near_one(rng, 2, 5, 7),), label=label)
        yield Case(make(2, True), (_near_one(rng, 3, 4, 9),), label="last axis")
        numbers = rng.integers(-(2**31), 2**31, (4, 33), np.int32)
        yield Case(make(0), (numbers,), label="integers")
        yield Case(make(1, reverse=True), (numbers.astype(np.int64),), label="wide integers")


def _near_one(rng: np.random.Generator, *shape: int) -> Array:
    return np.asarray(1 + 0.1 * normal(rng, *shape), np.float32)


@register_op("cum_sum")
@dataclass(frozen=True, slots=True)
class CumSum(Running):
    """Result i along `axis` is the sum of elements 0 to i.

    With `reverse`, the elements are i to the last instead. With `exclusive`, element i is left out.
    Elements are floats, or integers, which wrap around.
    """

    axis: int
    exclusive: bool = False
    reverse: bool = False
    start: ClassVar[int] = 0

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged:
        return Arranged(replace(self, axis=p.index(self.axis)), (p,), (p,) * len(results))

    def own_error(self, operands: Arrays, result: Array) -> Array:
        (terms,) = self.reference(*sizes(operands))
        return np.asarray(result.shape[self.axis] * terms)

    def carried_error(self, operands: Arrays, errors: Arrays) -> Array:
        return self.reference(*errors)[0]

    def combined(self, x: Array) -> Array:
        return np.asarray(np.cumsum(x, self.axis, dtype=x.dtype))

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield from cls.cases(cls, rng)


@register_op("cum_prod")
@dataclass(frozen=True, slots=True)
class CumProd(Running):
    """Result i along `axis` is the product of elements 0 to i; otherwise like `CumSum`."""

    axis: int
    exclusive: bool = False
    reverse: bool = False
    start: ClassVar[int] = 1

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged:
        return Arranged(replace(self, axis=p.index(self.axis)), (p,), (p,) * len(results))

    def own_error(self, operands: Arrays, result: Array) -> Array:
        return np.asarray(result.shape[self.axis] * np.abs(result))

    def combined(self, x: Array) -> Array:
        return np.asarray(np.cumprod(x, self.axis, dtype=x.dtype))

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield from cls.cases(cls, rng)
