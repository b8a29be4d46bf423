"""Compute layers with bits if their operand and each filter's weights take only two values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ellc.ir.graph import Graph, Node
from ellc.ir.ops.binary import Binarize, BinaryConv2D
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.pointwise import Add, GreaterEqual, Less, LessEqual, Mul, Neg
from ellc.ir.ops.shape import Reshape
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.passes.common import fits_float
from ellc.ir.passes.layout.two_values import TwoValues, two_values
from ellc.ir.passes.properties import ALL_USED, LOWERED, NO_BORDERS, UNFUSED, Property
from ellc.ir.rewrite import Editor
from ellc.ir.types import Array, DType, Padding


@register_pass("binary_products")
@dataclass(frozen=True)
class BinaryProducts(Pass):
    """Replace a `Conv2D` or `Dense` of an operand with two different values by a `BinaryConv2D`.

    The operand is middle + half * sign, where a comparison gives the sign. The weights of a filter
    are +w and -w for some number w. So the filter's result is half * w times a sum of products of
    signs, plus middle times the sum of the filter's weights, plus the bias: after the
    `BinaryConv2D` come at most one multiplication and one addition per filter.

    `Binarize` sets a bit where a number is above 0, which is a strict comparison. A comparison that
    includes equality, such as x >= 0, is the negation of a strict one, x < 0. For it, the bits of
    the strict comparison are used, and the weights are inverted. (Comparisons of NaN that include
    equality are then true.)
    """

    requires: ClassVar[tuple[Property, ...]] = (
        UNFUSED,
        NO_BORDERS,
        ALL_USED,
        LOWERED,
    )

    def run(self, graph: Graph) -> Graph:
        editor = Editor(graph)
        for node in editor.nodes():
            if isinstance(node.op, Dense | Conv2D):
                plan = _plan(editor, node)
                if plan is not None:
                    _apply(editor, node, plan)
        return editor.graph() if editor.changed else graph


@dataclass(frozen=True)
class _Plan:
    """A layer computed with bits: scale * (sum of products of signs) + shift, for each filter."""

    operand: TwoValues
    inverted: bool
    weights: Array
    stride: tuple[int, int]
    padding: Padding
    scale: Array
    shift: Array


def _plan(editor: Editor, node: Node) -> _Plan | None:
    operand = two_values(editor, node.inputs[0])
    if operand is None or editor.type(node.output).dtype is not DType.F32:
        return None
    weights = editor.exact(node.inputs[1])
    bias = editor.exact(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(1)
    if weights is None or bias is None:
        return None
    flat = weights.reshape(len(weights), -1)
    sizes = np.abs(flat[:, :1])
    if not flat.size or not np.all((np.abs(flat) == sizes) & (sizes > 0) & np.isfinite(sizes)):
        return None
    inverted = isinstance(operand.comparison.op, GreaterEqual | LessEqual)
    window = _window(node, operand, inverted)
    if window is None:
        return None
    scale = abs(operand.half) * sizes.reshape(-1)
    shift = operand.middle * flat.sum(1) + bias
    if not (fits_float(scale, DType.F32) and fits_float(shift, DType.F32)):
        return None
    bits = (weights > 0) != (inverted != (operand.half < 0))
    image = bits.reshape(len(bits), 1, 1, -1) if isinstance(node.op, Dense) else bits
    return _Plan(operand, inverted, image, *window, scale, shift)


def _window(
    node: Node, operand: TwoValues, inverted: bool
) -> tuple[tuple[int, int], Padding] | None:
    """The stride and padding of the `BinaryConv2D`; None if it cannot replace the layer."""
    op = node.op
    if not isinstance(op, Conv2D):
        return (1, 1), Padding()
    if op.groups != 1 or op.dilation != (1, 1):
        return None
    if op.padding.is_empty:
        return op.stride, Padding()
    kinds = {(v - operand.middle) / operand.half for v in op.padding.values}
    kind = kinds.pop()
    if kinds or kind not in (-1, 0, 1):
        return None
    return op.stride, Padding(*op.padding.amounts, (-kind + 0.0 if inverted else kind,))


def _apply(editor: Editor, node: Node, plan: _Plan) -> None:
    shape = editor.type(node.output).shape
    signed = _signed(editor, node, plan.operand)
    if isinstance(node.op, Dense):
        pixels = (1, editor.type(signed).elements // plan.weights.shape[3], 1)
        signed = editor.insert(
            node, Reshape((*pixels, plan.weights.shape[3])), signed, source=node.source
        )
    bits = editor.insert(node, Binarize(), signed, source=node.source)
    weights = editor.constant(plan.weights, DType.BIT)
    op = BinaryConv2D(plan.stride, plan.padding)
    result = editor.insert(node, op, bits, weights, source=node.source)
    if np.any(plan.scale != 1):
        factor = editor.rounded(plan.scale, DType.F32)
        result = editor.insert(node, Mul(), result, factor, source=node.source)
    if np.any(plan.shift != 0):
        offset = editor.rounded(plan.shift, DType.F32)
        result = editor.insert(node, Add(), result, offset, source=node.source)
    if isinstance(node.op, Dense):
        result = editor.insert(node, Reshape(shape), result, source=node.source)
    editor.forward(node, result)


def _signed(editor: Editor, node: Node, operand: TwoValues) -> str:
    """A value that is above 0 where the bit has to be set, and nowhere else."""
    comparison = operand.comparison
    number, bound = comparison.inputs
    limit = editor.exact(bound)
    assert limit is not None
    source = comparison.source
    if np.any(limit != 0):
        number = editor.insert(node, Add(), number, _negative(editor, bound), source=source)
    falls = isinstance(comparison.op, Less | GreaterEqual)
    views = operand.views[::-1]
    for view in views:
        number = editor.insert(node, view.op, number, source=view.source)
    return editor.insert(node, Neg(), number, source=source) if falls else number


def _negative(editor: Editor, bound: str) -> str:
    return editor.moved(bound, np.negative)
