"""Imports pooling over windows and over whole images: maxima, means, norms."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.images import to_pixels, to_planes
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.pool_indices import indices_of_largest
from ellc.frontends.onnx.operators.volumes import Pool, pooled
from ellc.frontends.onnx.registry import ONNX, operand
from ellc.frontends.onnx.windows import OnnxWindow, Span, read_spans, window_of
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pointwise import Abs, Mul, Pow, Sqrt
from ellc.ir.ops.pool import LOWEST, AvgPool2D, MaxPool2D
from ellc.ir.ops.reduce import Reduce
from ellc.ir.types import Padding

_LIMITS = "1 to 3 spatial axes"


@ONNX.imports("MaxPool", limits=_LIMITS)
def max_pool(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> list[Value]:
    """The largest element under each window, and its index; padding never counts."""
    x = operand(inputs, 0)
    spans = read_spans(node, x.shape[2:])
    column_major = node.flag("storage_order")

    def pool(pixels: Value, window: OnnxWindow) -> Value:
        padding = Padding(*window.amounts, LOWEST.values)
        return emitter.add(MaxPool2D(window.size, window.stride, padding, window.dilation), pixels)

    largest = _pooled(emitter, x, spans, pool)
    if not any(node.outputs[1:]):
        return [largest]
    return [largest, indices_of_largest(emitter, x, spans, column_major)]


@ONNX.imports("AveragePool", limits=_LIMITS)
def average_pool(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The mean under each window; with `count_include_pad`, padding counts as zeros."""
    return averaged(emitter, node, operand(inputs, 0))


def averaged(emitter: Emitter, node: OnnxNode, x: Value) -> Value:
    """The means of a float tensor x under windows; the node has the attributes of `AveragePool`."""
    counted = node.flag("count_include_pad")

    def pool(pixels: Value, window: OnnxWindow) -> Value:
        padding, counts = window.padding(), counted
        if counts and any(window.overhang):
            # Means count the padding, but not the overhang of ceil_mode. So the padding is added to
            # the image, and only the overhang remains as padding of the operator.
            pixels = _padded(emitter, pixels, (*window.before, *window.after))
            padding, counts = Padding(0, 0, *window.overhang), False
        op = AvgPool2D(window.size, window.stride, padding, counts, window.dilation)
        return emitter.add(op, pixels)

    return _pooled(emitter, x, read_spans(node, x.shape[2:]), pool)


def _pooled(emitter: Emitter, x: Value, spans: Sequence[Span], pool: Pool) -> Value:
    """Pool [N,C,W], [N,C,H,W] or [N,C,D,H,W] by the function `pool`, which takes NHWC images."""
    if len(spans) == 3:
        return pooled(emitter, x, spans, pool)
    return to_planes(emitter, pool(to_pixels(emitter, x), window_of(spans)), x.type.rank)


def _padded(emitter: Emitter, pixels: Value, amounts: tuple[int, int, int, int]) -> Value:
    if not any(amounts):
        return pixels
    top, left, bottom, right = amounts
    return emitter.add(Pad((0, top, left, 0), (0, bottom, right, 0), 0.0), pixels)


@ONNX.imports("GlobalAveragePool", "GlobalMaxPool")
def global_pool(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The mean or the largest element of every channel of an image."""
    x = operand(inputs, 0)
    if x.type.rank < 3:
        raise Unsupported(f"a tensor of rank {x.type.rank} has no planes")
    planes = x if x.type.rank == 4 else reshaped(emitter, x, (*x.shape[:2], 1, prod(x.shape[2:])))
    window = (planes.shape[2], planes.shape[3])
    op = (MaxPool2D if node.operator == "GlobalMaxPool" else AvgPool2D)(window, (1, 1))
    pooled = to_planes(emitter, emitter.add(op, to_pixels(emitter, planes)), 4)
    return reshaped(emitter, pooled, (*x.shape[:2], *(1,) * (x.type.rank - 2)))


@ONNX.imports("LpPool", limits=_LIMITS)
def lp_pool(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The p-th root of the sum of |x|^p under each window; padding counts as zeros."""
    x, p = operand(inputs, 0), node.integer("p", 2)
    spans = read_spans(node, x.shape[2:])

    def pool(pixels: Value, window: OnnxWindow) -> Value:
        op = AvgPool2D(window.size, window.stride, window.padding(), True, window.dilation)
        return emitter.add(op, pixels)

    means = _pooled(emitter, _raised(emitter, x, p), spans, pool)
    count = emitter.constant(np.array(prod(s.size for s in spans), x.dtype.numpy))
    return _root(emitter, pointwise(emitter, Mul(), means, count), p)


@ONNX.imports("GlobalLpPool")
def global_lp_pool(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The p-th root of the sum of |x|^p over each channel of an image."""
    x, p = operand(inputs, 0), node.integer("p", 2)
    axes = tuple(range(2, x.type.rank))
    if not axes:
        raise Unsupported(f"a tensor of rank {x.type.rank} has no planes")
    return _root(emitter, emitter.add(Reduce("sum", axes, True), _raised(emitter, x, p)), p)


def _raised(emitter: Emitter, x: Value, p: int) -> Value:
    if p < 1:
        raise Unsupported(f"the norm p = {p} is not supported")
    if p == 2:
        return emitter.add(Mul(), x, x)
    size = emitter.add(Abs(), x)
    return size if p == 1 else pointwise(emitter, Pow(), size, _number(emitter, x, p))


def _root(emitter: Emitter, x: Value, p: int) -> Value:
    match p:
        case 1:
            return x
        case 2:
            return emitter.add(Sqrt(), x)
    return pointwise(emitter, Pow(), x, _number(emitter, x, 1 / p))


def _number(emitter: Emitter, like: Value, value: float) -> Value:
    return emitter.constant(np.array(value, like.dtype.numpy))
