"""Imports operators that resize images."""

from __future__ import annotations

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.tflite.common import operand
from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.registry import TFLITE
from ellc.ir.ops.resize import Resize

_KNOWN = "a constant size"


def _sizes(inputs: Inputs) -> tuple[Value, tuple[int, ...]]:
    x, size = operand(inputs, 0), known_ints(operand(inputs, 1), "the size")
    if x.type.rank != 4 or len(size) != 2:
        raise Unsupported(f"{x.shape} resized to {size}")
    return x, (x.shape[0], *size, x.shape[3])


@TFLITE.imports("RESIZE_BILINEAR", limits=_KNOWN)
def resize_bilinear(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Import bilinear interpolation."""
    x, sizes = _sizes(inputs)
    coordinates = "asymmetric"
    if node.options.flag("HalfPixelCenters"):
        coordinates = "half_pixel"
    elif node.options.flag("AlignCorners"):
        coordinates = "align_corners"
    return emitter.add(Resize(sizes, "linear", coordinates), x)


@TFLITE.imports("RESIZE_NEAREST_NEIGHBOR", limits=_KNOWN)
def resize_nearest_neighbor(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Import nearest-neighbour interpolation."""
    x, sizes = _sizes(inputs)
    coordinates, rounding = "asymmetric", "floor"
    if node.options.flag("AlignCorners"):
        coordinates, rounding = "align_corners", "round_prefer_ceil"
    elif node.options.flag("HalfPixelCenters"):
        coordinates = "tf_half_pixel_for_nn"
    return emitter.add(Resize(sizes, "nearest", coordinates, rounding=rounding), x)
