"""Heads of detection networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ir.op import Arrays, Case, Op, Types, register_op, require
from ir.ops.common import normal, want_floats, want_operands
from ir.ops.pointwise import Sigmoid
from ir.ops.reduce import Softmax
from ir.types import Array, TensorType


@register_op("region_detection")
@dataclass(frozen=True, slots=True)
class RegionDetection(Op):
    """YOLO v2's region layer: x [N,H,W, boxes * (coordinates + 1 + classes)], float, same shape.

    In every box the coordinates are copied, the confidence behind them goes through the sigmoid,
    the class scores are copied or, with `apply_softmax`, go through the softmax of the box.
    """

    boxes: int
    classes: int
    coordinates: int = 4
    apply_softmax: bool = False
    composite: ClassVar[bool] = True

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("region_detection", inputs, 1)
        (x,) = inputs
        dtype = want_floats("region_detection", x)
        counts = f"{self.boxes} boxes, {self.coordinates} coordinates, {self.classes} classes"
        require(
            self.boxes >= 1 and self.coordinates >= 0 and self.classes >= int(self.apply_softmax),
            f"region_detection: {counts}",
        )
        channels = self.boxes * (self.coordinates + 1 + self.classes)
        good = x.rank == 4 and x.shape[3] == channels
        require(good, f"region_detection: {counts} in {x.shape}, expected {channels} channels")
        return (TensorType(dtype, x.shape),)

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        boxes = x.reshape(*x.shape[:3], self.boxes, self.coordinates + 1 + self.classes)
        ends = (self.coordinates, self.coordinates + 1)
        place, confidence, scores = np.split(boxes, ends, -1)
        (confidence,) = Sigmoid().reference(confidence)
        if self.apply_softmax:
            (scores,) = Softmax((4,)).reference(scores)
        return (np.concatenate((place, confidence, scores), -1).reshape(x.shape),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield Case(cls(1, 1), (normal(rng, 1, 1, 1, 6),), label="one box")
        yield Case(cls(5, 20), (normal(rng, 1, 5, 7, 125),), label="grid")
        yield Case(cls(3, 7, 4, True), (normal(rng, 1, 4, 4, 36),), label="softmax")
