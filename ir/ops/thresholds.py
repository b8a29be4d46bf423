"""The number of thresholds that an element reaches: an activation with few different values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ellc.ir.arrangement import Permutation
from ellc.ir.op import Arranged, Arrays, Case, Op, Types, exact, register_op, require
from ellc.ir.ops.common import normal, want_floats, want_operands
from ellc.ir.ops.elementwise import SPECIAL, want_broadcast
from ellc.ir.reads import Reads, apart_from, broadcast
from ellc.ir.types import Array, TensorType


@register_op("count_reached")
@dataclass(frozen=True, slots=True)
class CountReached(Op):
    """(x, thresholds [n, ...]): the number of thresholds t with x >= t, in x's float type.

    The n thresholds of an element are along the first axis, in any order. The other axes, as many
    as x has, broadcast to x. Comparisons with NaN are false.
    """

    takes_stages: ClassVar[bool] = True

    own_error = exact

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("count_reached", inputs, 2)
        x, thresholds = inputs
        want_floats("count_reached", *inputs)
        fits = thresholds.rank == x.rank + 1
        require(fits, f"count_reached: thresholds {thresholds.shape} do not fit {x.shape}")
        require(thresholds.shape[0] > 0, "count_reached: no thresholds")
        want_broadcast("count_reached", x, thresholds.with_shape(*thresholds.shape[1:]))
        return (TensorType(x.dtype, x.shape),)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged:
        return Arranged(self, (p, (0, *(axis + 1 for axis in p))), (p,))

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        x, thresholds = operands
        return apart_from((), x.rank), (None, *broadcast(thresholds.shape[1:], x.shape))

    def reference(self, *inputs: Array) -> Arrays:
        x, thresholds = inputs
        total = np.zeros(x.shape, x.dtype)
        for threshold in thresholds:
            total += x >= threshold
        return (total,)

    def inner_steps(self, inputs: Types, outputs: Types) -> int:
        return inputs[1].shape[0] * outputs[0].elements

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(x: tuple[int, ...], *thresholds: int, label: str) -> Case:
            numbers = (np.round(2 * normal(rng, *shape)) for shape in (x, thresholds))
            return Case(cls(), tuple(numbers), (1,), label=label)

        yield case((1,), 1, 1, label="one element")
        yield case((1, 5, 7, 3), 4, 1, 1, 1, 3, label="per channel")
        yield case((1, 4, 4, 16), 15, 1, 1, 1, 16, label="image")
        yield case((1, 3, 5, 7), 7, 1, 3, 1, 1, label="per plane")
        yield case((2, 37), 255, 1, 1, label="the same for all")
        yield Case(cls(), (SPECIAL.copy(), SPECIAL.reshape(-1, 1)), (1,), label="special values")
        x, thresholds = normal(rng, 3, 6, 9), normal(rng, 5, 3, 1, 9)
        yield Case(cls(), (x, thresholds), label="computed thresholds")
