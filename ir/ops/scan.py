"""Running combinations along an axis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ir.op import Arrays, Case, Op, Types, register_op
from ir.ops.common import normal, want_axes, want_operands
from ir.ops.elementwise import want_kind
from ir.types import Array, TensorType


@register_op("cum_sum")
@dataclass(frozen=True, slots=True)
class CumSum(Op):
    """Element i along `axis` is the sum of the elements up to i, floats or wrapping integers.

    With `exclusive` without element i itself; with `reverse` from the axis's end.
    """

    axis: int
    exclusive: bool = False
    reverse: bool = False

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("cum_sum", inputs, 1)
        (x,) = inputs
        want_kind("cum_sum", x.dtype, "fi")
        want_axes("cum_sum", (self.axis,), x.rank)
        return (TensorType(x.dtype, x.shape),)

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        ahead = np.flip(x, self.axis) if self.reverse else x
        total = np.cumsum(ahead, self.axis, dtype=x.dtype)
        if self.exclusive:
            total = np.roll(total, 1, self.axis)
            total[(slice(None),) * self.axis + (slice(0, 1),)] = 0
        return (np.array(np.flip(total, self.axis) if self.reverse else total),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield Case(cls(0), (normal(rng, 1),), label="one element")
        yield Case(cls(0), (np.abs(normal(rng, 19)),), label="vector")
        for exclusive in (False, True):
            for reverse in (False, True):
                op = cls(1, exclusive, reverse)
                label = f"{'exclusive ' * exclusive}{'reverse ' * reverse}rows"
                yield Case(op, (np.abs(normal(rng, 2, 5, 7)),), label=label)
        yield Case(cls(2, True), (np.abs(normal(rng, 3, 4, 9)),), label="last axis")
        numbers = rng.integers(-(2**31), 2**31, (4, 33), np.int32)
        yield Case(cls(0), (numbers,), label="integers")
        yield Case(cls(1, reverse=True), (numbers.astype(np.int64),), label="wide integers")
