"""Imports the last operator of SSD detectors, which decodes boxes and selects detections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import operand, tensor
from ellc.frontends.tflite.model import NodeOptions, TfliteNode
from ellc.frontends.tflite.registry import TFLITE
from ellc.frontends.tflite.scales import dequantized
from ellc.ir.op import Op
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.detection import NonMaxSuppression
from ellc.ir.ops.pointwise import Add, Exp, Less, Mul, Select, Sub
from ellc.ir.ops.reduce import Reduce
from ellc.ir.ops.shape import Concat, Gather, Reshape, Slice, Transpose
from ellc.ir.ops.sorting import TopK
from ellc.ir.types import DType

_PER_CLASS = 100
_MOST_DETECTIONS = 1 << 20


@TFLITE.imports("CUSTOM:TFLite_Detection_PostProcess", limits="one image")
def detection_post_process(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> list[Value]:
    """Return the boxes, classes, scores and number of detections; unused entries are zero."""
    boxes, scores, anchors = (
        _real(emitter, node, inputs, i, what)
        for i, what in enumerate(("boxes", "scores", "anchors"))
    )
    count = boxes.shape[1] if boxes.type.rank == 3 else 0
    fits = boxes.type.rank == scores.type.rank == 3 and boxes.shape[2] >= 4 and count
    fits = fits and scores.shape[:2] == (1, count) == boxes.shape[:2]
    if not fits or anchors.shape != (count, 4):
        shapes = f"{boxes.shape}, scores {scores.shape}, anchors {anchors.shape}"
        raise Unsupported(f"boxes {shapes}; only those of one image are supported")
    settings = _Settings.of(node.options, scores.shape[2])
    post = _Post(
        emitter,
        settings,
        _decoded(emitter, boxes, anchors, node.options),
        emitter.add(
            Slice((0, 0, settings.offset), (1, count, settings.classes), (1, 1, 1)), scores
        ),
        count,
    )
    return post.regular() if settings.is_regular else post.fast()


def _real(emitter: Emitter, node: TfliteNode, inputs: Inputs, index: int, what: str) -> Value:
    value = operand(inputs, index, what)
    return value if value.dtype is DType.F32 else dequantized(emitter, value, tensor(node, index))


@dataclass(frozen=True, slots=True)
class _Settings:
    """The operator's options. The first `offset` columns of the scores belong to the background."""

    detections: int
    kinds: int  # the most classes of one detection
    per_class: int
    classes: int
    offset: int
    least: float
    overlap: float
    is_regular: bool

    @staticmethod
    def of(options: NodeOptions, columns: int) -> _Settings:
        """Read the settings from an operator's options; the scores have `columns` columns.

        Raises `Unsupported` for options that LiteRT refuses, and for too many detections.
        """
        # This option is always read: a file may have the options of both algorithms, and an option
        # that is not read is reported.
        per_class = options.whole("detections_per_class")
        settings = _Settings(
            options.whole("max_detections"),
            options.whole("max_classes_per_detection"),
            per_class if "detections_per_class" in options.values else _PER_CLASS,
            options.whole("num_classes"),
            columns - options.whole("num_classes"),
            options.number("nms_score_threshold"),
            options.number("nms_iou_threshold"),
            options.flag("use_regular_nms"),
        )
        counts = (settings.detections, settings.kinds, settings.per_class, settings.classes)
        if min(counts) < 1 or settings.detections * settings.kinds > _MOST_DETECTIONS:
            raise Unsupported(
                f"max_detections is {settings.detections}, max_classes_per_detection is"
                f" {settings.kinds}"
            )
        if settings.offset not in (0, 1):
            raise Unsupported(f"scores of {columns} columns, but num_classes is {settings.classes}")
        if not 0 < settings.overlap <= 1:
            raise Unsupported(
                f"nms_iou_threshold is {settings.overlap}; it must be above 0 and at most 1"
            )
        return settings


def _decoded(emitter: Emitter, boxes: Value, anchors: Value, options: NodeOptions) -> Value:
    """Decode the boxes with their anchors to [4, boxes]: top, left, bottom, right.

    An encoded size, divided by its scale, is the logarithm of the box's size in units of the
    anchor's size.
    """
    count = boxes.shape[1]
    scales = [options.number(f"{name}_scale") for name in "yxhw"]
    if not all(s > 0 for s in scales):
        raise Unsupported(f"the scales of boxes are {scales}; they must be above 0")
    four = emitter.add(Slice((0, 0, 0), (1, count, 4), (1, 1, 1)), boxes)
    planes = emitter.add(Transpose((1, 0)), emitter.add(Reshape((count, 4)), four))
    inverse = emitter.constant(np.array([[1 / s] for s in scales], np.float32))
    planes = pointwise(emitter, Mul(), planes, inverse)
    corner, size = (_rows(emitter, planes, at) for at in (0, 2))
    anchor = emitter.add(Transpose((1, 0)), anchors)
    middle, extent = (_rows(emitter, anchor, at) for at in (0, 2))
    centre = emitter.add(Add(), emitter.add(Mul(), corner, extent), middle)
    half = emitter.constant(np.full((1, 1), 0.5, np.float32))
    half_size = emitter.add(
        Mul(), emitter.add(Exp(), size), pointwise(emitter, Mul(), extent, half)
    )
    ends = [emitter.add(op, centre, half_size) for op in (Sub(), Add())]
    return emitter.add(Concat(0), *ends)


def _rows(emitter: Emitter, planes: Value, start: int) -> Value:
    return emitter.add(Slice((start, 0), (2, planes.shape[1]), (1, 1)), planes)


@dataclass(frozen=True, slots=True)
class _Post:
    """Computes the four results from corners [4,B] and scores [1,B,C]."""

    emitter: Emitter
    settings: _Settings
    corners: Value
    scores: Value
    count: int

    def fast(self) -> list[Value]:
        """Select boxes by the score of their best class, and take the best classes of each."""
        add, s = self.emitter.add, self.settings
        best = add(Reshape((1, 1, self.count)), add(Reduce("max", (2,), True), self.scores))
        rows = self._suppressed(best, s.detections)
        count = rows.shape[0]
        chosen = self._column(rows, 2)
        valid = self._valid(chosen)
        kinds = min(s.kinds, s.classes)
        table = add(Reshape((self.count, s.classes)), self.scores)
        values, classes = self.emitter.add_multi(TopK(1, kinds), add(Gather(0), table, chosen))
        mask = add(Reshape((count, 1)), valid)
        values, classes = (
            self._filled(self._masked(v, mask), s.kinds) for v in (values, self._floats(classes))
        )
        boxes = self._masked(self._boxes(chosen), mask)
        every = [boxes if i < kinds else self._zeros(boxes) for i in range(s.kinds)]
        return self._results(
            boxes if s.kinds == 1 else add(Concat(1), *every), classes, values, valid
        )

    def regular(self) -> list[Value]:
        """Select boxes for each class separately, and take the best detections of all classes."""
        add, s = self.emitter.add, self.settings
        by_class = add(Transpose((0, 2, 1)), self.scores)
        rows = self._suppressed(by_class, s.per_class)
        kind, box = self._column(rows, 1), self._column(rows, 2)
        # An unused row has the index -1, which kernels clamp to 0. The score read for it is masked
        # below.
        stride = self.emitter.constant(np.full((1,), self.count, np.int32))
        where = add(Add(), pointwise(self.emitter, Mul(), kind, stride), box)
        flat = add(Reshape((s.classes * self.count,)), by_class)
        lowest = self.emitter.constant(np.full((1,), -np.inf, np.float32))
        values = add(Gather(0), flat, where)
        values = pointwise(self.emitter, Select(), values, lowest, self._valid(box))
        most_boxes = min(s.detections, rows.shape[0])
        values, positions = self.emitter.add_multi(TopK(0, most_boxes), values)
        chosen = add(Gather(0), box, positions)
        valid = self._valid(chosen)
        mask = add(Reshape((most_boxes, 1)), valid)
        classes = self._floats(add(Gather(0), kind, positions))
        return self._results(
            self._masked(self._boxes(chosen), mask),
            self._masked(classes, valid),
            self._masked(values, valid),
            valid,
        )

    def _suppressed(self, scores: Value, most_boxes: int) -> Value:
        """The rows (image, class, box) of the selected boxes, for scores [1,classes,B]."""
        op, emitter = NonMaxSuppression(min(most_boxes, self.count), at_least=True), self.emitter
        corners = emitter.add(Reshape((1, 4, self.count)), self.corners)
        limits = (self.settings.overlap, self.settings.least)
        numbers = (emitter.constant(np.full((1,), x, np.float32)) for x in limits)
        return emitter.add(op, corners, scores, *numbers)

    def _column(self, rows: Value, column: int) -> Value:
        count = rows.shape[0]
        part = self.emitter.add(Slice((0, column), (count, 1), (1, 1)), rows)
        return self.emitter.add(Reshape((count,)), part)

    def _valid(self, chosen: Value) -> Value:
        """A boolean for each row: whether it selects a box. Unused rows have the index -1."""
        return self._pointwise(Less(), self.emitter.constant(np.full((1,), -1, np.int32)), chosen)

    def _boxes(self, chosen: Value) -> Value:
        table = self.emitter.add(Transpose((1, 0)), self.corners)
        return self.emitter.add(Gather(0), table, chosen)

    def _floats(self, value: Value) -> Value:
        return self.emitter.add(Cast(DType.F32), value)

    def _masked(self, value: Value, mask: Value) -> Value:
        zero = self.emitter.constant(np.zeros((1,) * value.type.rank, np.float32))
        return self._pointwise(Select(), value, zero, mask)

    def _zeros(self, like: Value) -> Value:
        return self.emitter.constant(self.emitter.full(like.shape, 0, np.float32))

    def _pointwise(self, op: Op, *operands: Value) -> Value:
        return pointwise(self.emitter, op, *operands)

    def _filled(self, value: Value, length: int) -> Value:
        """Append zeros along the last axis, up to the extent `length`."""
        missing = length - value.shape[-1]
        if not missing:
            return value
        shape = (*value.shape[:-1], missing)
        zeros = self.emitter.constant(self.emitter.full(shape, 0, np.float32))
        return self.emitter.add(Concat(value.type.rank - 1), value, zeros)

    def _results(self, boxes: Value, classes: Value, scores: Value, valid: Value) -> list[Value]:
        """The four results; the first three are padded with zeros to `total` entries."""
        total = self.settings.detections * self.settings.kinds
        results = []
        for value, last in ((boxes, (4,)), (classes, ()), (scores, ())):
            length = value.type.elements // (4 if last else 1)
            shaped = self.emitter.add(Reshape((1, length * (4 if last else 1))), value)
            filled = self._filled(shaped, total * (4 if last else 1))
            results.append(self.emitter.add(Reshape((1, total, *last)), filled))
        number = self.emitter.add(Reduce("sum", (0,), True), self._floats(valid))
        return [*results, number]
