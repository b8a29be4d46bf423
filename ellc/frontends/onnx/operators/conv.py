"""Imports convolutions."""

from __future__ import annotations

from collections.abc import Callable

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.images import to_pixels, to_planes, with_rows
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.volumes import as_pixels, to_volumes
from ellc.frontends.onnx.ports import TO_PIXELS
from ellc.frontends.onnx.registry import ONNX, operand, optional
from ellc.frontends.onnx.windows import OnnxWindow, read_spans, window_of
from ellc.ir.op import Op
from ellc.ir.ops.conv import Conv2D

ConvOf = Callable[[OnnxWindow, int], Op]
"""A function that makes the operator on NHWC images, from a window and a number of groups."""


@ONNX.imports("Conv", limits="1 to 3 spatial axes")
def conv(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Convolution of [N,C,H,W] with weights [F, C/groups, kh, kw] and an optional bias [F]."""
    x, w = operand(inputs, 0), operand(inputs, 1)
    return convolution(emitter, node, x, w, optional(inputs, 2))


def convolution(emitter: Emitter, node: OnnxNode, x: Value, w: Value, bias: Value | None) -> Value:
    """Add the convolution of x with w, for a node that has the attributes of `Conv`."""
    return from_pixels(emitter, x, pixels_of(emitter, node, x, w, bias, _conv2d))


def _conv2d(window: OnnxWindow, groups: int) -> Conv2D:
    return Conv2D(window.stride, window.padding(), window.dilation, groups)


def pixels_of(
    emitter: Emitter,
    node: OnnxNode,
    x: Value,
    w: Value,
    bias: Value | None,
    op_of: ConvOf,
    outside: float = 0.0,
) -> Value:
    """Add a convolution, and return its result as images [N,OH,OW,F].

    With three spatial axes the result is [N * OD,OH,OW,F]. `outside` is the number that fills the
    padding along the depth axis: 0, or the stored integer that represents it.
    """
    if x.type.rank != w.type.rank:
        raise Unsupported(f"weights of shape {w.shape} over a tensor of shape {x.shape}")
    spans, groups = read_spans(node, x.shape[2:], w.shape[2:]), node.integer("group", 1)
    if len(spans) == 3:
        operands = as_pixels(emitter, x, w, spans[0], groups, outside)
    else:
        operands = to_pixels(emitter, x), filters(emitter, w)
    op = op_of(window_of(spans[-2:]), groups)
    return emitter.add(op, *operands, *([bias] if bias else []))


def from_pixels(emitter: Emitter, x: Value, pixels: Value) -> Value:
    """Convert the result of `pixels_of` to the file's layout, with as many axes as x has."""
    if x.type.rank == 5:
        return to_volumes(emitter, pixels, x.shape[0])
    return to_planes(emitter, pixels, x.type.rank)


def filters(emitter: Emitter, w: Value) -> Value:
    """Convert weights [F, C/groups, kh, kw] or [F, C/groups, kw] to [F, kh, kw, C/groups]."""
    return transposed(emitter, with_rows(emitter, w), TO_PIXELS)
