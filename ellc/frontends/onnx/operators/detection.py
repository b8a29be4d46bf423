"""Boxes that overlap too much are left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.constants import to_dtype
from ellc.frontends.onnx.operators.shapes import reshaped
from ellc.frontends.onnx.registry import ONNX, Declined, operand, optional
from ir.op import Op
from ir.ops.pointwise import (
    Add,
    And,
    Equal,
    Greater,
    Maximum,
    Minimum,
    Mul,
    Or,
    Select,
    Sub,
)
from ir.ops.reduce import ArgMax, Reduce
from ir.ops.scan import CumSum
from ir.ops.shape import Concat, Gather, Slice
from ir.types import DType

_MOST_ROWS = 64
_NO_NUMBER = "without a number of boxes there is no result"
NOTE = (
    "NonMaxSuppression gives as many rows as there can be; those after the last box that is kept "
    "are -1"
)


@ONNX.imports(
    "NonMaxSuppression",
    limits=f"a number of boxes known at import, at most {_MOST_ROWS} over all batches and classes",
    declines=(Declined("input", "max_output_boxes_per_class", _NO_NUMBER),),
)
def non_max_suppression(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Rows of (batch, class, box), best box first; after the last one that is kept rows of -1."""
    boxes, scores = operand(inputs, 0), operand(inputs, 1)
    given = optional(inputs, 2)
    if given is None:
        raise Unsupported(_NO_NUMBER)
    most = known_ints(given, "the number of boxes")[0]
    batch, classes, count = scores.shape
    most = min(most, count)
    if not 0 < batch * classes * most <= _MOST_ROWS:
        raise Unsupported(
            f"{batch * classes * most} boxes at most; 1 to {_MOST_ROWS} are supported: take boxes "
            "and scores as outputs, and suppress in the application"
        )
    emitter.note(NOTE)
    step = _Step(emitter, _corners(emitter, boxes, node.flag("center_point_box")),
                 _number(emitter, optional(inputs, 3)), count)  # fmt: skip
    threshold = optional(inputs, 4)
    found: list[Value] = []
    for image in range(batch):
        for kind in range(classes):
            row = emitter.add(Slice((image, kind, 0), (1, 1, count), (1, 1, 1)), scores)
            row = reshaped(emitter, row, (count,))
            found += step.chosen(row, threshold, image, kind, most)
    return _compact(emitter, found)


def _number(emitter: Emitter, given: Value | None) -> Value:
    if given is None:
        return emitter.constant(np.zeros((1,), np.float32))
    return reshaped(emitter, given, (1,))


def _corners(emitter: Emitter, boxes: Value, centred: bool) -> list[Value]:
    """[batch, boxes] of y1, x1, y2, x2, in order whichever way they are given."""
    ends = [
        reshaped(emitter, emitter.add(Slice((0, 0, i), (*boxes.shape[:2], 1), (1, 1, 1)), boxes),
                 boxes.shape[:2])
        for i in range(4)
    ]  # fmt: skip
    if centred:
        x, y, width, height = ends
        half = emitter.constant(np.full((1,), 0.5, boxes.dtype.numpy))
        across, down = (emitter.add(Mul(), v, half) for v in (width, height))
        return [
            emitter.add(op, middle, size)
            for op in (Sub(), Add())
            for middle, size in ((y, down), (x, across))
        ]
    a, b, c, d = ends
    return [
        emitter.add(op, first, second)
        for op in (Minimum(), Maximum())
        for first, second in ((a, c), (b, d))
    ]


@dataclass(frozen=True, slots=True)
class _Step:
    """Chooses boxes one after the other."""

    emitter: Emitter
    corners: list[Value]
    overlap: Value
    count: int

    def add(self, op: Op, *operands: Value) -> Value:
        return pointwise(self.emitter, op, *operands)

    def chosen(
        self, scores: Value, threshold: Value | None, image: int, kind: int, most: int
    ) -> list[Value]:
        """[1, 3] of every choice for one image and class; -1 where nothing was left."""
        emitter = self.emitter
        ends = [
            reshaped(emitter, emitter.add(Slice((image, 0), (1, self.count), (1, 1)), v),
                     (self.count,))
            for v in self.corners
        ]  # fmt: skip
        lowest = emitter.constant(np.full((1,), -np.inf, scores.dtype.numpy))
        if threshold is not None:
            good = self.add(Greater(), scores, reshaped(emitter, threshold, (1,)))
            scores = self.add(Select(), scores, lowest, good)
        numbers = emitter.constant(np.arange(self.count, dtype=np.int32))
        label = np.array([[image, kind]], np.int32)
        rows = []
        for _ in range(most):
            best = to_dtype(emitter, emitter.add(ArgMax(0, True), scores), DType.I32)
            left = self.add(Greater(), emitter.add(Reduce("max", (0,), True), scores), lowest)
            row = emitter.add(Concat(1), emitter.constant(label), reshaped(emitter, best, (1, 1)))
            nothing = emitter.constant(np.full((1,), -1, np.int32))
            rows.append(self.add(Select(), row, nothing, reshaped(emitter, left, (1, 1))))
            gone = self.add(Or(), self._overlapping(ends, best), self.add(Equal(), numbers, best))
            scores = self.add(Select(), lowest, scores, gone)
        return rows

    def _overlapping(self, ends: list[Value], best: Value) -> Value:
        """Whether every box shares more with one of them than allowed."""
        own = [self.emitter.add(Gather(0), v, best) for v in ends]
        zero = self.emitter.constant(np.zeros((1,), ends[0].dtype.numpy))
        sides = [
            self.add(
                Maximum(),
                self.add(Sub(), self.add(Minimum(), ends[i + 2], own[i + 2]),
                         self.add(Maximum(), ends[i], own[i])),
                zero,
            )
            for i in (0, 1)
        ]  # fmt: skip
        shared = self.add(Mul(), *sides)
        areas = self.add(Add(), self._area(ends), self._area(own))
        union = self.add(Sub(), areas, shared)
        # No quotient, as boxes may have no area.
        return self.add(Greater(), shared, self.add(Mul(), union, self.overlap))

    def _area(self, ends: list[Value]) -> Value:
        top, left, bottom, right = ends
        return self.add(Mul(), self.add(Sub(), bottom, top), self.add(Sub(), right, left))


def _compact(emitter: Emitter, rows: list[Value]) -> Value:
    """[rows, 3], i64: those that are there first, in their order."""
    count = len(rows)
    every = rows[0] if count == 1 else emitter.add(Concat(0), *rows)
    nothing = emitter.constant(np.full((1, 3), -1, np.int32))
    padded = emitter.add(Concat(0), every, nothing)
    first = reshaped(emitter, emitter.add(Slice((0, 0), (count, 1), (1, 1)), every), (count,))
    there = emitter.add(Greater(), first, emitter.constant(np.full((1,), -1, np.int32)))
    number = emitter.add(CumSum(0, False, False), to_dtype(emitter, there, DType.I32))
    wanted = emitter.constant(np.arange(1, count + 1, dtype=np.int32)[:, None])
    same = pointwise(emitter, Equal(), reshaped(emitter, number, (1, count)), wanted)
    hit = pointwise(emitter, And(), same, reshaped(emitter, there, (1, count)))
    # A column more, which is chosen where nothing else is.
    ones = emitter.constant(np.ones((count, 1), np.int32))
    marks = emitter.add(Concat(1), to_dtype(emitter, hit, DType.I32), ones)
    place = emitter.add(ArgMax(1, False), marks)
    return to_dtype(emitter, emitter.add(Gather(0), padded, place), DType.I64)
