"""The largest or the smallest elements along an axis, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ellc.ir.arrangement import Permutation
from ellc.ir.op import Arranged, Arrays, Case, Op, Types, exact, register_op, require
from ellc.ir.ops.common import normal, want_axes, want_operands
from ellc.ir.ops.elementwise import nan_ranked, want_kind
from ellc.ir.reads import Reads, apart_from
from ellc.ir.types import Array, DType, TensorType


@register_op("top_k")
@dataclass(frozen=True, slots=True)
class TopK(Op):
    """x -> (values, indices i32): the `count` largest elements along an axis, in descending order.

    Without `largest`: the smallest elements, in ascending order. Equal elements keep their order.
    NaN counts as minus infinity, or as infinity without `largest`.
    """

    axis: int
    count: int
    largest: bool = True

    own_error = exact

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("top_k", inputs, 1)
        (x,) = inputs
        want_kind("top_k", x.dtype, "fi")
        want_axes("top_k", (self.axis,), x.rank)
        good = 1 <= self.count <= x.shape[self.axis]
        extent = x.shape[self.axis]
        require(good, f"top_k: count {self.count}, expected 1 to {extent}")
        shape = (*x.shape[: self.axis], self.count, *x.shape[self.axis + 1 :])
        return (TensorType(x.dtype, shape, quant=x.quant), TensorType(DType.I32, shape))

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged:
        return Arranged(replace(self, axis=p.index(self.axis)), (p,), (p,) * len(results))

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return (apart_from((self.axis,), operands[0].rank),)

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        ranked = nan_ranked(x, self.largest)
        # To get a stable descending order: reverse, sort stably in ascending order, reverse again.
        ahead = np.flip(ranked, self.axis) if self.largest else ranked
        order = np.argsort(ahead, self.axis, kind="stable")
        if self.largest:
            order = x.shape[self.axis] - 1 - np.flip(order, self.axis)
        chosen = np.take(order, np.arange(self.count), self.axis)
        return np.take_along_axis(x, chosen, self.axis), chosen.astype(np.int32)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield Case(cls(0, 1), (normal(rng, 1),), label="one element")
        yield Case(cls(1, 5), (normal(rng, 1, 100),), label="classes")
        yield Case(cls(1, 7), (normal(rng, 3, 7),), label="all of them")
        yield Case(cls(1, 2), (normal(rng, 2, 5, 9),), label="rows")
        few = rng.integers(-2, 3, (7, 19))
        yield Case(cls(1, 9), (few.astype(np.float32),), label="equal ones")
        yield Case(cls(0, 4, False), (few.astype(np.int8),), label="smallest")
        limits = np.array([[0, 2**63 - 1, -(2**63), 2**63 - 1, 5]], np.int64)
        yield Case(cls(1, 4), (limits,), label="limits of the type")
        yield Case(cls(1, 4, False), (limits,), label="smallest limits")
