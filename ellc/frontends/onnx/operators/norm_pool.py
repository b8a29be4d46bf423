"""Norms of what lies under a window, and of whole planes."""

from __future__ import annotations

from math import prod

import numpy as np

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.broadcast import pointwise
from ellc.frontends.onnx.images import to_pixels, to_planes
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.registry import ONNX, operand
from ellc.frontends.onnx.windows import read_window
from ir.ops.pointwise import Abs, Mul, Pow, Sqrt
from ir.ops.pool import AvgPool2D
from ir.ops.reduce import Reduce


@ONNX.imports("LpPool", limits="1 and 2 spatial axes")
def lp_pool(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The p-th root of the sum of |x|^p under a window; padding counts as zeros."""
    x, p = operand(inputs, 0), node.integer("p", 2)
    window = read_window(node, x.shape[2:])
    op = AvgPool2D(window.size, window.stride, window.padding(), True, window.dilation)
    means = emitter.add(op, to_pixels(emitter, _raised(emitter, x, p)))
    count = emitter.constant(np.array(prod(window.size), x.dtype.numpy))
    sums = pointwise(emitter, Mul(), means, count)
    return to_planes(emitter, _root(emitter, sums, p), x.type.rank)


@ONNX.imports("GlobalLpPool")
def global_lp_pool(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The p-th root of the sum of |x|^p over every plane."""
    x, p = operand(inputs, 0), node.integer("p", 2)
    axes = tuple(range(2, x.type.rank))
    if not axes:
        raise Unsupported(f"a tensor of rank {x.type.rank} has no planes")
    return _root(emitter, emitter.add(Reduce("sum", axes, True), _raised(emitter, x, p)), p)


def _raised(emitter: Emitter, x: Value, p: int) -> Value:
    if p < 1:
        raise Unsupported(f"the norm p = {p}")
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
