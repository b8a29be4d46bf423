"""Replace operators without a kernel by operators with kernels."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from ellc.ir.errors import InternalError
from ellc.ir.graph import Graph, Node
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.conv_transpose import ConvTranspose2D, IntConvTranspose2D
from ellc.ir.ops.detection import RegionDetection
from ellc.ir.ops.norm import BatchNorm, Dropout, Normalize
from ellc.ir.ops.pointwise import Add, Div, Mul, MulAdd, Rsqrt, Sigmoid, Sqrt, Sub
from ellc.ir.ops.quantised_conv import IntConv2D
from ellc.ir.ops.recurrent import FastGRNNCell, GRUCell, LSTMCell, RNNCell
from ellc.ir.ops.reduce import Reduce, Softmax
from ellc.ir.ops.resize import Resize
from ellc.ir.ops.shape import Concat, Reshape, Split
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.passes.canonicalise.computed_weights import lower_computed_conv
from ellc.ir.passes.canonicalise.fold_constants import fold_ancestors
from ellc.ir.passes.canonicalise.recurrent_cells import lower_cell
from ellc.ir.passes.canonicalise.resizing import lower_resize
from ellc.ir.passes.canonicalise.transposed_convolutions import lower_conv_transpose
from ellc.ir.passes.properties import LOWERED, NO_BORDERS, UNFUSED, Property
from ellc.ir.rewrite import Editor


@register_pass("lower_composites")
@dataclass(frozen=True)
class LowerComposites(Pass):
    """Lower every composite operator, and convolutions with computed weights or biases.

    * Batch norm becomes a multiply-add, region detection its parts; dropout disappears.
    * Recurrent cells become dense layers and pointwise operators.
    * Resizing becomes gathers or weighted gathers.
    * Transposed convolutions become ordinary ones.
    * Convolutions with computed weights become matrix products; a computed bias becomes a sum.
    * Normalisation becomes reductions and pointwise operators.

    Raises `EllcError` (E302) for convolutions that the rules do not support, and `InternalError`
    for a composite operator without a rule here.
    """

    requires: ClassVar[tuple[Property, ...]] = (
        UNFUSED,
        NO_BORDERS,
    )
    ensures: ClassVar[tuple[Property, ...]] = (LOWERED,)

    def run(self, graph: Graph) -> Graph:
        editor = Editor(graph)
        for node in editor.nodes():
            match node.op:
                case BatchNorm() as op:
                    _lower_batch_norm(editor, node, op)
                case RegionDetection() as op:
                    _lower_region(editor, node, op)
                case Dropout():
                    _drop(editor, node)
                case RNNCell() | GRUCell() | LSTMCell() | FastGRNNCell() as op:
                    lower_cell(editor, node, op)
                case Resize() as op:
                    lower_resize(editor, node, op)
                case ConvTranspose2D() | IntConvTranspose2D() as op:
                    for weights in node.inputs[1:]:
                        fold_ancestors(editor, weights)
                    lower_conv_transpose(editor, _without_computed_bias(editor, node), op)
                case Conv2D() | IntConv2D() as op if not _has_weights(editor, node):
                    lower_computed_conv(editor, node, op)
                case Conv2D() | IntConv2D():
                    _without_computed_bias(editor, node)
                case Normalize() as op:
                    _lower_normalize(editor, node, op)
                case op if op.composite:
                    raise InternalError(f"no rule for the composite operator '{op.name}'")
        return editor.graph()


def _has_weights(editor: Editor, node: Node) -> bool:
    """Whether the second operand is a constant, possibly after folding it."""
    fold_ancestors(editor, node.inputs[1])
    return editor.array(node.inputs[1]) is not None


def _without_computed_bias(editor: Editor, node: Node) -> Node:
    """Replace a node that has a computed bias by a node without bias and a sum.

    Returns the node without bias, or the unchanged node if it has no computed bias. Kernels need
    constant biases.
    """
    x, w, *bias = node.inputs
    for value in bias:
        fold_ancestors(editor, value)
    if not bias or editor.array(bias[0]) is not None:
        return node
    total = editor.insert(node, node.op, x, w, source=node.source)
    editor.replace(node, Add(), total, *bias)
    bare = editor.producer(total)
    assert bare is not None
    return bare


def _drop(editor: Editor, node: Node) -> None:
    if editor.can_forward(node, node.inputs[0]):
        editor.forward(node, node.inputs[0])
    else:  # The result is an output that must not become another name of its operand: copy it.
        editor.replace(node, Reshape(editor.type(node.output).shape), node.inputs[0])


def _lower_batch_norm(editor: Editor, node: Node, op: BatchNorm) -> None:
    x, gamma, beta, mean, variance = node.inputs
    dtype = editor.type(x).dtype
    constants = [editor.exact(v) for v in (gamma, beta, mean, variance)]
    if all(c is not None for c in constants):
        g, b, m, v = (c for c in constants if c is not None)
        with np.errstate(all="ignore"):
            s = g / np.sqrt(v + op.epsilon)
            scale, shift = editor.rounded(s, dtype), editor.rounded(b - m * s, dtype)
    else:
        epsilon = editor.rounded(np.array([op.epsilon]), dtype)
        spread = editor.insert(node, Add(), variance, epsilon, source=node.source)
        spread = editor.insert(node, Sqrt(), spread, source=node.source)
        scale = editor.insert(node, Div(), gamma, spread, source=node.source)
        shift = editor.insert(node, Mul(), mean, scale, source=node.source)
        shift = editor.insert(node, Sub(), beta, shift, source=node.source)
    editor.replace(node, MulAdd(), x, scale, shift)


def _lower_normalize(editor: Editor, node: Node, op: Normalize) -> None:
    (x,) = node.inputs
    mean = Reduce("mean", op.axes, True)
    if op.centered:
        centre = editor.insert(node, mean, x, source=node.source)
        x = editor.insert(node, Sub(), x, centre, source=node.source)
    squares = editor.insert(node, Reduce("l2sum", op.axes, True), x, source=node.source)
    type_ = editor.type(x)
    share = editor.rounded(np.array([1 / prod(type_.shape[a] for a in op.axes)]), type_.dtype)
    epsilon = editor.rounded(np.array([op.epsilon]), type_.dtype)
    spread = editor.insert(node, MulAdd(), squares, share, epsilon, source=node.source)
    factor = editor.insert(node, Rsqrt(), spread, source=node.source)
    editor.replace(node, Mul(), x, factor)


def _lower_region(editor: Editor, node: Node, op: RegionDetection) -> None:
    shape = editor.type(node.output).shape
    sizes = (op.coordinates, 1, op.classes)
    boxes = Reshape((*shape[:3], op.boxes, sum(sizes)))
    value = editor.insert(node, boxes, node.inputs[0], source=node.source)
    split = Split(4, tuple(s for s in sizes if s))
    parts = list(editor.insert_multi(node, split, value, source=node.source))
    confidence = 1 if op.coordinates else 0
    parts[confidence] = editor.insert(node, Sigmoid(), parts[confidence], source=node.source)
    if op.apply_softmax:
        parts[-1] = editor.insert(node, Softmax((4,)), parts[-1], source=node.source)
    joined = editor.insert(node, Concat(4), *parts, source=node.source)
    editor.replace(node, Reshape(shape), joined)
