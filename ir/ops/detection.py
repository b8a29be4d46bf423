"""The last layer of YOLO v2, and the suppression of overlapping boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ellc.ir.op import Arrays, Case, Op, Types, everything, exact, of_largest, register_op, require
from ellc.ir.ops.common import normal, want_floats, want_operands
from ellc.ir.ops.pointwise import Sigmoid
from ellc.ir.ops.reduce import Softmax
from ellc.ir.types import Array, DType, TensorType


@register_op("region_detection")
@dataclass(frozen=True, slots=True)
class RegionDetection(Op):
    """YOLO v2's region layer, float: x [N,H,W, boxes * (coordinates + 1 + classes)] -> same shape.

    Each box has coordinates, a confidence and class scores. The coordinates are copied. Sigmoid is
    applied to the confidence. The scores are copied, or, with `apply_softmax`, softmax is applied
    to the scores of each box.
    """

    boxes: int
    classes: int
    coordinates: int = 4
    apply_softmax: bool = False
    composite: ClassVar[bool] = True

    reads = everything
    own_error = of_largest

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("region_detection", inputs, 1)
        (x,) = inputs
        dtype = want_floats("region_detection", x)
        counts = f"{self.boxes} boxes, {self.coordinates} coordinates, {self.classes} classes"
        require(
            self.boxes >= 1 and self.coordinates >= 0 and self.classes >= int(self.apply_softmax),
            f"region_detection: cannot have {counts}",
        )
        channels = self.boxes * (self.coordinates + 1 + self.classes)
        good = x.rank == 4 and x.shape[3] == channels
        require(good, f"region_detection: {counts} need {channels} channels, but x is {x.shape}")
        return (TensorType(dtype, x.shape),)

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        boxes = x.reshape(*x.shape[:3], self.boxes, self.coordinates + 1 + self.classes)
        ends = (self.coordinates, self.coordinates + 1)
        coordinates, confidence, scores = np.split(boxes, ends, -1)
        (confidence,) = Sigmoid().reference(confidence)
        if self.apply_softmax:
            (scores,) = Softmax((4,)).reference(scores)
        return (np.concatenate((coordinates, confidence, scores), -1).reshape(x.shape),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield Case(cls(1, 1), (normal(rng, 1, 1, 1, 6),), label="one box")
        yield Case(cls(5, 20), (normal(rng, 1, 5, 7, 125),), label="grid")
        yield Case(cls(3, 7, 4, True), (normal(rng, 1, 4, 4, 36),), label="softmax")


@register_op("non_max_suppression")
@dataclass(frozen=True, slots=True)
class NonMaxSuppression(Op):
    """(corners, scores, overlap, threshold) -> rows, which name the chosen boxes of every class.

    All operands are float32: corners [N,4,B] (top, left, bottom, right of the boxes of an image),
    scores [N,C,B], overlap [1] and threshold [1]. For every image and class, the box with the
    highest score is chosen (of boxes with equal scores, the first), and all boxes that overlap it
    by more than `overlap` are dropped. This is repeated up to `most` times. The overlap of two
    boxes is intersection over union; it is 0 if a box has no area. Only boxes whose score is above
    the threshold (with `at_least`, not below it) are considered, and none with a score of -inf.

    rows [N*C*most,3] int32: (image, class, box), ordered by image and class. Unused rows come last
    and hold -1.
    """

    most: int
    at_least: bool = False

    reads = everything
    own_error = exact

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("non_max_suppression", inputs, 4)
        corners, scores, *limits = inputs
        shown = ", ".join(f"{t.dtype.value} {t.shape}" for t in inputs)
        require(
            all(x.dtype is DType.F32 for x in inputs)
            and corners.rank == scores.rank == 3
            and corners.shape == (scores.shape[0], 4, scores.shape[2])
            and all(x.shape == (1,) for x in limits),
            f"non_max_suppression: operands {shown} do not fit",
        )
        images, classes, boxes = scores.shape
        good = 1 <= self.most <= boxes
        require(good, f"non_max_suppression: limit of {self.most} boxes, expected 1 to {boxes}")
        return (TensorType(DType.I32, (images * classes * self.most, 3)),)

    def reference(self, *inputs: Array) -> Arrays:
        corners, scores, overlap, threshold = inputs
        images, classes, _ = scores.shape
        rows = np.full((images * classes * self.most, 3), -1, np.int32)
        good = scores >= threshold if self.at_least else scores > threshold
        chosen = [
            (image, kind, box)
            for image in range(images)
            for kind in range(classes)
            for box in self._chosen(
                corners[image], np.where(good, scores, -np.inf)[image, kind], overlap
            )
        ]
        rows[: len(chosen)] = np.array(chosen, np.int32).reshape(-1, 3)
        return (rows,)

    def _chosen(self, corners: Array, scores: Array, overlap: Array) -> Iterator[int]:
        left = scores.copy()
        for _ in range(self.most):
            best = int(left.argmax())
            if left[best] == -np.inf:
                return
            yield best
            left[_overlaps(corners, corners[:, best : best + 1]) > overlap] = -np.inf
            left[best] = -np.inf

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        limits = np.array([0.5], np.float32), np.array([0.1], np.float32)
        for label, op, images, classes, boxes in (
            ("one box", cls(1), 1, 1, 1),
            ("fewer boxes than lanes", cls(2), 1, 2, 3),
            ("images and classes", cls(7), 2, 3, 37),
            ("all of them", cls(16, True), 1, 1, 16),
        ):
            shape = (images, classes, boxes)
            scores = rng.permutation(np.arange(images * classes * boxes)).reshape(shape) / 64
            corners = _boxes(rng, images, boxes)
            yield Case(op, (corners, scores.astype(np.float32), *limits), label=label)
        few = rng.integers(0, 3, (1, 2, 29)).astype(np.float32)
        few[0, 1, ::5] = -np.inf
        corners = _boxes(rng, 1, 29)
        corners[:, 2, 3:7] = corners[:, 0, 3:7]  # boxes without area
        ones = np.ones(1, np.float32)
        for at_least in (False, True):
            inputs = (corners, few, limits[0], ones)
            yield Case(cls(9, at_least), inputs, label=f"equal scores {at_least}")
        yield Case(cls(9), (corners, few, ones, ones * 5), label="nothing is good enough")
        same = np.repeat(corners[:, :, :1], 29, 2)
        yield Case(cls(9), (same, few, limits[0], limits[1]), (0,), label="equal boxes")


def _boxes(rng: np.random.Generator, images: int, boxes: int) -> Array:
    """Corners [images,4,boxes] on a grid of integers: areas are exact, and many boxes overlap."""
    start, size = rng.integers(0, 6, (2, images, 2, boxes))
    return np.concatenate((start, start + size + 1), 1).astype(np.float32)


def _overlaps(corners: Array, own: Array) -> Array:
    """[boxes]: intersection over union of each box [4,boxes] with the box `own` [4,1]."""
    zero = corners.dtype.type(0)
    height, width = (
        np.maximum(np.minimum(corners[i + 2], own[i + 2]) - np.maximum(corners[i], own[i]), zero)
        for i in (0, 1)
    )
    shared = height * width
    area, other = ((c[2] - c[0]) * (c[3] - c[1]) for c in (corners, own))
    with np.errstate(all="ignore"):
        ratio = shared / (area + other - shared)
    return np.asarray(np.where((area > 0) & (other > 0), ratio, zero))
