"""Pooling over windows, and over whole images."""

from __future__ import annotations

from math import prod

import numpy as np

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.images import to_pixels, to_planes
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.shapes import reshaped
from ellc.frontends.onnx.registry import ONNX, one_result, operand
from ellc.frontends.onnx.windows import Window, read_window
from ir.op import Op
from ir.ops.pointwise import Add, Div, Maximum
from ir.ops.pool import LOWEST, AvgPool2D, MaxPool2D
from ir.ops.shape import Expand, Pad, Slice
from ir.types import Padding

_MOST_SHIFTED = 256


@ONNX.imports("MaxPool", limits="1 and 2 spatial axes, no indices")
def max_pool(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The largest element under a window; what lies outside never wins."""
    one_result(node, "the indices of the largest elements are not supported")
    node.ignore("storage_order")  # is about the indices
    x = operand(inputs, 0)
    window = read_window(node, x.shape[2:])
    pixels = to_pixels(emitter, x)
    if window.dilation == (1, 1):
        op = MaxPool2D(window.size, window.stride, Padding(*window.amounts, LOWEST.values))
        pooled = emitter.add(op, pixels)
    else:
        pooled = _dilated_max(emitter, pixels, window)
    return to_planes(emitter, pooled, x.type.rank)


def _dilated_max(emitter: Emitter, pixels: Value, window: Window) -> Value:
    """The largest under a window whose cells lie apart."""
    padded = _padded(emitter, pixels, window.amounts, LOWEST.values[0])
    return _combined(emitter, padded, window, Maximum())


def _dilated_mean(emitter: Emitter, pixels: Value, window: Window, counts: bool) -> Value:
    """The mean under such a window, of the cells inside or with those that are padded."""
    total = _combined(emitter, _padded(emitter, pixels, window.amounts, 0.0), window, Add())
    one = emitter.constant(np.ones((), pixels.dtype.numpy))
    inside = emitter.add(Expand((1, *pixels.shape[1:3], 1)), one)
    # Of what is added around, the padding counts or not, the overhang never does.
    around = _padded(emitter, inside, (*window.before, *window.after), float(counts))
    around = _padded(emitter, around, (0, 0, *window.overhang), 0.0)
    return emitter.add(Div(), total, _combined(emitter, around, window, Add()))


def _combined(emitter: Emitter, padded: Value, window: Window, op: Op) -> Value:
    """The shifted images, one for every cell of the window, one into the other."""
    batch, height, width, channels = padded.shape
    (kh, kw), (sh, sw), (dh, dw) = window.size, window.stride, window.dilation
    if kh * kw > _MOST_SHIFTED:
        raise Unsupported(f"a window of {kh}x{kw} with dilation")
    rows, columns = (height - dh * (kh - 1) - 1) // sh + 1, (width - dw * (kw - 1) - 1) // sw + 1
    sizes, steps = (batch, rows, columns, channels), (1, sh, sw, 1)
    result: Value | None = None
    for row in range(kh):
        for column in range(kw):
            shifted = emitter.add(Slice((0, row * dh, column * dw, 0), sizes, steps), padded)
            result = shifted if result is None else emitter.add(op, result, shifted)
    assert result is not None
    return result


@ONNX.imports("AveragePool", limits="1 and 2 spatial axes")
def average_pool(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The mean under a window, of the cells inside or with the padding counted as zeros."""
    return averaged(emitter, node, operand(inputs, 0))


def averaged(emitter: Emitter, node: OnnxNode, x: Value) -> Value:
    """The means of a float tensor under the node's window."""
    window = read_window(node, x.shape[2:])
    counts = node.flag("count_include_pad")
    pixels = to_pixels(emitter, x)
    if window.dilation != (1, 1):
        return to_planes(emitter, _dilated_mean(emitter, pixels, window, counts), x.type.rank)
    if counts and any(window.overhang):
        # Padding counts, what ceil_mode reaches beyond it does not.
        before, after = window.before, window.after
        pixels = _padded(emitter, pixels, (*before, *after), 0.0)
        op = AvgPool2D(window.size, window.stride, Padding(0, 0, *window.overhang), False)
    else:
        op = AvgPool2D(window.size, window.stride, window.padding(), counts)
    return to_planes(emitter, emitter.add(op, pixels), x.type.rank)


def _padded(
    emitter: Emitter, pixels: Value, amounts: tuple[int, int, int, int], value: float
) -> Value:
    if not any(amounts):
        return pixels
    top, left, bottom, right = amounts
    return emitter.add(Pad((0, top, left, 0), (0, bottom, right, 0), value), pixels)


@ONNX.imports("GlobalAveragePool", "GlobalMaxPool")
def global_pool(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The mean or the largest element of every plane."""
    x = operand(inputs, 0)
    if x.type.rank < 3:
        raise Unsupported(f"a tensor of rank {x.type.rank} has no planes")
    planes = x if x.type.rank == 4 else reshaped(emitter, x, (*x.shape[:2], 1, prod(x.shape[2:])))
    window = (planes.shape[2], planes.shape[3])
    op = (MaxPool2D if node.operator == "GlobalMaxPool" else AvgPool2D)(window, (1, 1))
    pooled = to_planes(emitter, emitter.add(op, to_pixels(emitter, planes)), 4)
    return reshaped(emitter, pooled, (*x.shape[:2], *(1,) * (x.type.rank - 2)))
