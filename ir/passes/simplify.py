"""Say the same with less: operators that do nothing, or that a cheaper one can replace.

Every rule gives equal numbers (0 and -0 count as equal), so this pass may run anywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ir.graph import Graph, Node
from ir.op import Op
from ir.ops.dense import Dense, MatMul
from ir.ops.pointwise import (
    Add,
    Cast,
    Clip,
    Div,
    LeakyRelu,
    Mul,
    MulAdd,
    Neg,
    Not,
    Pow,
    PRelu,
    Relu,
    Square,
    Sub,
)
from ir.ops.pool import AvgPool2D, MaxPool2D
from ir.ops.shape import Concat, Embed, Expand, Pad, Reshape, Slice, Split, Transpose
from ir.passes.base import Pass, register_pass
from ir.rewrite import Editor
from ir.types import Array

# What a node becomes: another value, or another operator on other operands.
Change = str | tuple[Op, tuple[str, ...]]


@register_pass("simplify")
@dataclass(frozen=True)
class Simplify(Pass):
    """Remove identities, merge views of views, replace subtraction and exact division.

    A public output never becomes another name of an input or of another output.
    """

    def run(self, graph: Graph) -> Graph:
        """See the class."""
        editor = Editor(graph)
        for node in editor.nodes():
            current: Node | None = node
            while current is not None:
                current = _simplified(editor, current)
        return editor.graph()


def _simplified(editor: Editor, node: Node) -> Node | None:
    """The node after one change, None if there is no more to change (or no more node)."""
    for rule in (_view, _window, _product, _arithmetic, _activation):
        match rule(editor, node):
            case str(value) if editor.can_forward(node, value):
                editor.forward(node, value)
                return None
            case str(value) if not isinstance(node.op, Reshape):
                return editor.replace(node, Reshape(editor.type(value).shape), value)
            case (op, operands):
                return editor.replace(node, op, *operands)
    return None


def _view(editor: Editor, node: Node) -> Change | None:
    """Operators that move elements."""
    if not node.inputs or len(node.outputs) != 1:
        return None
    x = node.inputs[0]
    before, after = editor.type(x), editor.type(node.output)
    same = before.shape == after.shape
    maker = editor.producer(x)
    match node.op:
        case Reshape() | Expand() | Pad() | Embed() if same:
            return x
        case Slice(steps=steps) if same and all(s == 1 for s in steps):
            return x
        case Concat() | Split() if len(node.inputs) == 1:
            return x
        case Cast() if before.dtype is after.dtype:
            return x
        case Reshape() if maker is not None and isinstance(maker.op, Reshape):
            return node.op, maker.inputs
        case Transpose() as op:
            return _transpose(node, op, maker, before.shape, after.shape)
    return None


def _transpose(
    node: Node, op: Transpose, maker: Node | None, before: tuple[int, ...], after: tuple[int, ...]
) -> Change | None:
    if op.permutation == tuple(range(len(before))):
        return node.inputs[0]
    if maker is not None and isinstance(maker.op, Transpose):
        inner = maker.op.permutation
        return Transpose(tuple(inner[a] for a in op.permutation)), maker.inputs
    moving = [a for a in op.permutation if before[a] != 1]
    if all(a < b for a, b in pairwise(moving)):
        return Reshape(after), node.inputs
    return None


def _window(editor: Editor, node: Node) -> Change | None:
    match node.op:
        case MaxPool2D(window=(1, 1), stride=(1, 1)) | AvgPool2D(window=(1, 1), stride=(1, 1)):
            if node.op.padding.is_empty:
                return node.inputs[0]
    return None


def _product(editor: Editor, node: Node) -> Change | None:
    """A product with a constant matrix is a dense layer, whose weights can be packed."""
    if not isinstance(node.op, MatMul) or node.op.transpose_a:
        return None
    x, y = node.inputs
    exact = editor.exact(y)
    if exact is None or exact.ndim != 2 or editor.array(x) is not None:
        return None
    return Dense(), (x, _float(editor, y, exact if node.op.transpose_b else exact.T))


def _arithmetic(editor: Editor, node: Node) -> Change | None:
    """Arithmetic with constants."""
    is_float = editor.type(node.outputs[0]).dtype.is_float
    constants = [editor.array(v) for v in node.inputs[1:]]
    match node.op, node.inputs, constants:
        case ((Add() | Sub()), (x, _), [np.ndarray() as c]) if np.all(c == 0):
            return x
        case ((Mul() | Div() | Pow()), (x, _), [np.ndarray() as c]) if np.all(c == 1):
            return x
        case Sub(), (x, y), [np.ndarray()] if is_float:
            return Add(), (x, _float(editor, y, -_exact(editor, y)))
        case Div(), (x, y), [np.ndarray()] if is_float and _is_power_of_two(_exact(editor, y)):
            return Mul(), (x, _float(editor, y, 1 / _exact(editor, y)))
        case Pow(), (x, _), [np.ndarray() as c] if np.all(c == 2):
            return Square(), (x,)
        case Mul(), (x, y), _ if x == y:
            return Square(), (x,)
        case MulAdd(), (x, scale, _), [_, np.ndarray() as t] if np.all(t == 0):
            return Mul(), (x, scale)
        case MulAdd(), (x, _, shift), [np.ndarray() as s, _] if np.all(s == 1):
            return Add(), (x, shift)
    return None


def _activation(editor: Editor, node: Node) -> Change | None:
    maker = editor.producer(node.inputs[0]) if node.inputs else None
    match node.op, None if maker is None else maker.op:
        case (Neg(), Neg()) | (Not(), Not()):
            assert maker is not None
            return maker.inputs[0]
        case Relu(), Relu():
            return node.inputs[0]
        case Clip(low=low, high=high), _ if low == -math.inf and high == math.inf:
            return node.inputs[0]
        case Clip() as outer, Clip() as inner if editor.type(node.output).dtype.is_float:
            assert maker is not None
            low, high = (min(max(v, outer.low), outer.high) for v in (inner.low, inner.high))
            return Clip(low, high), maker.inputs
        case PRelu(), _:
            alpha = editor.exact(node.inputs[1])
            if alpha is not None and alpha.size and np.all(alpha == alpha.flat[0]):
                return LeakyRelu(float(alpha.flat[0])), node.inputs[:1]
    return None


def _exact(editor: Editor, value: str) -> Array:
    exact = editor.exact(value)
    assert exact is not None
    return exact


def _float(editor: Editor, like: str, exact: Array) -> str:
    return editor.rounded(exact, editor.type(like).dtype)


def _is_power_of_two(values: Array) -> bool:
    """Whether dividing by these equals multiplying by 1 / them, in float32 as well."""
    mantissa, exponent = np.frexp(values)
    return bool(np.all((np.abs(mantissa) == 0.5) & (np.abs(exponent) < 120)))
