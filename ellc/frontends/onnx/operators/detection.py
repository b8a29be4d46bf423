"""Imports NonMaxSuppression."""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_int
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.constants import to_dtype
from ellc.frontends.onnx.registry import ONNX, Declined, operand, optional
from ellc.ir.ops.detection import NonMaxSuppression
from ellc.ir.ops.pointwise import Add, Maximum, Minimum, Mul, Sub
from ellc.ir.ops.shape import Concat, Gather, Slice, Transpose
from ellc.ir.types import DType

_NO_NUMBER = "without a number of boxes its result is empty"
NOTE = (
    "NonMaxSuppression gives as many rows as there can be; those after the last box that is kept "
    "are -1"
)


@ONNX.imports(
    "NonMaxSuppression",
    limits="a number of boxes known at import",
    declines=(Declined("input", "max_output_boxes_per_class", _NO_NUMBER),),
)
def non_max_suppression(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Rows (batch, class, box) of the selected boxes, i64; per class, the best score comes first.

    The result has as many rows as can be selected; the unused rows at the end are -1.
    """
    boxes, scores = operand(inputs, 0), operand(inputs, 1)
    given = optional(inputs, 2)
    if given is None:
        raise Unsupported(_NO_NUMBER)
    if boxes.type.rank != 3 or scores.type.rank != 3:
        raise Unsupported(f"boxes {boxes.shape} and scores {scores.shape}")
    most_boxes = min(known_int(given, "the number of boxes"), scores.shape[2])
    if most_boxes < 1 or not scores.type.elements:
        raise Unsupported(f"{most_boxes} boxes of scores {scores.shape}: its result is empty")
    emitter.note(NOTE)
    rows = emitter.add(
        NonMaxSuppression(most_boxes),
        _corners(emitter, boxes, node.flag("center_point_box")),
        scores,
        _number(emitter, optional(inputs, 3), 0.0),
        _number(emitter, optional(inputs, 4), -np.inf),
    )
    return to_dtype(emitter, rows, DType.I64)


def _number(emitter: Emitter, given: Value | None, default: float) -> Value:
    if given is None:
        return emitter.constant(np.full((1,), default, np.float32))
    return reshaped(emitter, given, (1,))


def _corners(emitter: Emitter, boxes: Value, centred: bool) -> Value:
    """Convert boxes to [batch, 4, boxes]: top, left, bottom, right.

    In the result top <= bottom and left <= right. In the file the two corners may be in any order;
    with `centred`, a box has its centre and its size instead.
    """
    batch, count, _ = boxes.shape
    planes = emitter.add(Transpose((0, 2, 1)), boxes)
    if centred:  # x, y, width, height
        order = emitter.constant(np.array([1, 0, 3, 2], np.int32))
        planes = emitter.add(Gather(1), planes, order)
    first, second = (
        emitter.add(Slice((0, at, 0), (batch, 2, count), (1, 1, 1)), planes) for at in (0, 2)
    )
    if centred:
        half = emitter.constant(np.full((1,), 0.5, boxes.dtype.numpy))
        second = pointwise(emitter, Mul(), second, half)
    low, high = (Sub(), Add()) if centred else (Minimum(), Maximum())
    ends = [emitter.add(op, first, second) for op in (low, high)]
    return emitter.add(Concat(1), *ends)
