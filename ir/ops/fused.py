"""An operator and the pointwise stages after it, which one kernel computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from ellc.ir.arrangement import Permutation, requantised
from ellc.ir.op import (
    Arranged,
    Arrays,
    Case,
    Op,
    Pointwise,
    Range,
    Types,
    register_attribute,
    register_op,
    require,
)
from ellc.ir.reads import Reads, Window, broadcast
from ellc.ir.types import TensorType

ItemT = TypeVar("ItemT")


Samples = Callable[[np.random.Generator], Iterator[Case]]
SamplesT = TypeVar("SamplesT", bound=Samples)
_SAMPLES: list[Samples] = []


def fused_samples(make: SamplesT) -> SamplesT:
    """Decorator: registers a function that returns test cases of `Fused`."""
    _SAMPLES.append(make)
    return make


@register_attribute("stage")
@dataclass(frozen=True, slots=True)
class Stage:
    """A pointwise operator of an epilogue.

    Its first operand is the result of the previous stage. `extras` is the number of its further
    operands.
    """

    op: Pointwise
    extras: int = 0


@register_op("fused")
@dataclass(frozen=True, slots=True)
class Fused(Op):
    """`anchor`, applied to the first `operands` operands, and then the stages, one after another.

    Each stage is applied to the result of the previous one. The further operands of the stages
    follow the operands of the anchor. Example: a convolution with a bias, a residual and ReLU is
    `Fused(Conv2D(..), 2, (Stage(Add(), 1), Stage(Add(), 1), Stage(Relu())))` on (x, w, bias,
    residual).
    """

    anchor: Op
    operands: int
    stages: tuple[Stage, ...]

    def split(self, items: tuple[ItemT, ...]) -> list[tuple[ItemT, ...]]:
        """A tuple with an item per operand, split into the anchor's part and one per stage."""
        parts = [items[: self.operands]]
        start = self.operands
        for stage in self.stages:
            parts.append(items[start : start + stage.extras])
            start += stage.extras
        return parts

    def infer(self, *inputs: TensorType) -> Types:
        wanted = self.operands + sum(s.extras for s in self.stages)
        require(len(inputs) == wanted, f"fused: {len(inputs)} operands, expected {wanted}")
        head, *rest = self.split(inputs)
        (result,) = self.anchor.infer(*head)
        for stage, extras in zip(self.stages, rest, strict=True):
            shape = result.shape
            (result,) = stage.op.infer(result, *extras)
            require(result.shape == shape, "fused: a stage changes the shape")
        return (result,)

    def ranges(self, *inputs: TensorType) -> Mapping[int, Range]:
        head, *rest = self.split(inputs)
        ranges = dict(self.anchor.ranges(*head))
        (running,) = self.anchor.infer(*head)
        first = self.operands - 1  # operand i > 0 of a stage is operand first + i of the node
        for stage, extras in zip(self.stages, rest, strict=True):
            of_stage = stage.op.ranges(running, *extras)
            ranges.update({first + position: r for position, r in of_stage.items() if position})
            (running,) = stage.op.infer(running, *extras)
            first += stage.extras
        return ranges

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged | None:
        anchor = self.anchor.arranged(operands[: self.operands], results, p)
        if anchor is None or len(anchor.results) != 1:
            return None
        (permutation,) = anchor.results
        stages = tuple(Stage(requantised(s.op, permutation), s.extras) for s in self.stages)
        extras = (permutation,) * (len(operands) - self.operands)
        moved = replace(self, anchor=anchor.op, stages=stages)
        return Arranged(moved, (*anchor.operands, *extras), (permutation,))

    def slides(self, operands: Types) -> Window | None:
        return self.anchor.slides(operands[: self.operands])

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        head, *rest = self.split(operands)
        anchor = self.anchor.reads(head, self.anchor.infer(*head))
        extras = (broadcast(t.shape, results[0].shape) for each in rest for t in each)
        return (*anchor, *extras)

    def reference(self, *inputs: np.ndarray) -> Arrays:
        head, *rest = self.split(inputs)
        (result,) = self.anchor.reference(*head)
        for stage, extras in zip(self.stages, rest, strict=True):
            (result,) = stage.op.reference(result, *extras)
        return (result,)

    def macs(self, inputs: Types, outputs: Types) -> int:
        return self.anchor.macs(inputs[: self.operands], outputs)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        """The cases of all functions that are registered with `fused_samples`."""
        for make in _SAMPLES:
            yield from make(rng)


def anchor_of(op: Op) -> Op:
    """The anchor of a fused operator; any other operator itself."""
    return op.anchor if isinstance(op, Fused) else op
