"""Convolution."""

from __future__ import annotations

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.images import to_pixels, to_planes, with_rows
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.shapes import transposed
from ellc.frontends.onnx.operators.volumes import convolved
from ellc.frontends.onnx.ports import TO_PIXELS
from ellc.frontends.onnx.registry import ONNX, operand, optional
from ellc.frontends.onnx.windows import read_spans, window_of
from ir.ops.conv import Conv2D


@ONNX.imports("Conv", limits="1 to 3 spatial axes")
def conv(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Weights [F, C/groups, kh, kw] over planes, with a bias or none."""
    x, w = operand(inputs, 0), operand(inputs, 1)
    return convolution(emitter, node, x, w, optional(inputs, 2))


def convolution(emitter: Emitter, node: OnnxNode, x: Value, w: Value, bias: Value | None) -> Value:
    """What a node with the attributes of `Conv` makes."""
    if x.type.rank != w.type.rank:
        raise Unsupported(f"weights of shape {w.shape} over a tensor of shape {x.shape}")
    spans, groups = read_spans(node, x.shape[2:], w.shape[2:]), node.integer("group", 1)
    if len(spans) == 3:
        return convolved(emitter, x, w, bias, spans, groups)
    window = window_of(spans)
    op = Conv2D(window.stride, window.padding(), window.dilation, groups)
    operands = [to_pixels(emitter, x), filters(emitter, w), *([bias] if bias else [])]
    return to_planes(emitter, emitter.add(op, *operands), x.type.rank)


def filters(emitter: Emitter, w: Value) -> Value:
    """Weights [F, C/groups, kh, kw] or [F, C/groups, kw] as [F, kh, kw, C/groups]."""
    return transposed(emitter, with_rows(emitter, w), TO_PIXELS)
