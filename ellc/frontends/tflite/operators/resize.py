"""Resizing of images."""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.tflite.common import operand
from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.registry import TFLITE
from ir.ops.arithmetic import Add
from ir.ops.cast import Cast
from ir.ops.resize import Resize
from ir.types import DType

_KNOWN = "a constant size"


def _sizes(inputs: Inputs) -> tuple[Value, tuple[int, ...]]:
    x, size = operand(inputs, 0), known_ints(operand(inputs, 1), "the size")
    if x.type.rank != 4 or len(size) != 2:
        raise Unsupported(f"{x.shape} resized to {size}")
    return x, (x.shape[0], *size, x.shape[3])


@TFLITE.imports("RESIZE_BILINEAR", limits=_KNOWN)
def resize_bilinear(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Between four neighbours."""
    x, sizes = _sizes(inputs)
    coordinates = "asymmetric"
    if node.options.flag("HalfPixelCenters"):
        coordinates = "half_pixel"
    elif node.options.flag("AlignCorners"):
        coordinates = "align_corners"
    op = Resize(sizes, "linear", coordinates)
    return _in_floats(emitter, op, x) if x.dtype is DType.U8 else emitter.add(op, x)


def _in_floats(emitter: Emitter, op: Resize, x: Value) -> Value:
    """Bytes without sign are interpolated in float32 and rounded, halves up.

    The order of the products is not that of the reference kernel: where the exact result is a half
    but a product is not exact, the last bit may differ.
    """
    real = emitter.add(op, emitter.add(Cast(DType.F32), x))
    raised = emitter.add(Add(), real, emitter.constant(np.full(1, 0.5, np.float32)))
    return emitter.add(Cast(DType.U8), raised)


@TFLITE.imports("RESIZE_NEAREST_NEIGHBOR", limits=_KNOWN)
def resize_nearest_neighbor(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """The nearest pixel."""
    x, sizes = _sizes(inputs)
    coordinates, rounding = "asymmetric", "floor"
    if node.options.flag("AlignCorners"):
        coordinates, rounding = "align_corners", "round_prefer_ceil"
    elif node.options.flag("HalfPixelCenters"):
        coordinates = "tf_half_pixel_for_nn"
    return emitter.add(Resize(sizes, "nearest", coordinates, rounding=rounding), x)
