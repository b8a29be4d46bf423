"""Remove a reordering of channels by reordering the weights of the layers that read them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ellc.ir.graph import Graph, Node
from ellc.ir.op import Op, Pointwise
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.fixed_point_functions import Interpolate
from ellc.ir.ops.quantised import Lookup
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense
from ellc.ir.ops.shape import Gather, Transpose
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.passes.properties import ALL_USED, LOWERED, NO_BORDERS, UNFUSED, Property
from ellc.ir.rewrite import Editor
from ellc.ir.types import Array


@dataclass(frozen=True, slots=True)
class _Change:
    """A reader's new operator and operands, and whether its result is reordered as well."""

    user: Node
    op: Op
    operands: tuple[str, ...]
    is_reordered: bool

    def apply(self, editor: Editor) -> None:
        """Replace the reader; a reordered result is another value, so it gets a new id."""
        if not self.is_reordered:
            editor.replace(self.user, self.op, *self.operands)
            return
        new = editor.insert(self.user, self.op, *self.operands, source=self.user.source)
        editor.forward(self.user, new)


@register_pass("absorb_order")
@dataclass(frozen=True)
class AbsorbOrder(Pass):
    """Remove a `Gather` that only reorders an axis, if layers that sum over the axis undo it.

    Every path from the `Gather` must end in a convolution or dense layer that sums over the axis.
    The weights of these layers are reordered instead. Elementwise operators and transposes may be
    on the path; their constants are reordered, too.
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
            order = _order(editor, node)
            if order is None or not editor.can_forward(node, node.inputs[0]):
                continue
            changes = _changes(editor, node, np.argsort(order))
            if changes is None:
                continue
            for change in changes:
                change.apply(editor)
            editor.forward(node, node.inputs[0])
        return editor.graph()


def _order(editor: Editor, node: Node) -> Array | None:
    """The permutation by which a gather reorders its axis; None if it does anything else."""
    if not isinstance(node.op, Gather):
        return None
    order = editor.array(node.inputs[1])
    extent = editor.type(node.inputs[0]).shape[node.op.axis]
    if order is None or order.ndim != 1 or not np.array_equal(np.sort(order), range(extent)):
        return None
    return order


def _changes(editor: Editor, gather: Node, back: Array) -> list[_Change] | None:
    """The changes that let all readers read the axis in its old order; None if a reader cannot.

    Index i of the new order is index `order[i]` of the old one. `back` is the inverse permutation:
    index j of the old order is index `back[j]` of the new one.
    """
    assert isinstance(gather.op, Gather)
    changes: list[_Change] = []
    waiting = [(gather.output, gather.op.axis)]
    while waiting:
        value, axis = waiting.pop()
        if editor.is_kept(value):
            return None
        for user in editor.users(value):
            match _changed(editor, user, value, axis, back):
                case None:
                    return None
                case op, operands, further:
                    changes.append(_Change(user, op, operands, further is not None))
                    waiting += [] if further is None else [(user.output, further)]
    return changes


def _changed(
    editor: Editor, user: Node, value: str, axis: int, back: Array
) -> tuple[Op, tuple[str, ...], int | None] | None:
    """A reader's new operator and operands, and the axis along which its result is reordered.

    The axis is None if the result is not reordered. Returns None if the reader cannot read the old
    order.
    """
    value = editor.current(value)
    x, *others = user.inputs
    if x != value or value in others or len(user.outputs) != 1:
        return None
    rank = len(editor.type(value).shape)
    constants = [editor.array(v) is not None for v in others]
    match user.op:
        case Conv2D(groups=1) | IntConv2D(groups=1) if axis == 3 and constants[0]:
            weights = _reordered(editor, others[0], 3, back)
            return _with_padding(user.op, back), (x, weights, *others[1:]), None
        case Dense() | IntDense() if axis == rank - 1 and constants[0]:
            return user.op, (x, _reordered(editor, others[0], 1, back), *others[1:]), None
        case Transpose(permutation=permutation):
            return user.op, user.inputs, permutation.index(axis)
        case Lookup() | Interpolate() if all(constants):
            return user.op, user.inputs, axis
        case Pointwise() if all(constants):
            operands = tuple(_reordered(editor, v, axis - rank, back) for v in others)
            return user.op, (x, *operands), axis
    return None


def _with_padding(op: Conv2D | IntConv2D, back: Array) -> Op:
    """The operator with its padding values reordered."""
    if len(op.padding.values) == 1:
        return op
    values = tuple(op.padding.values[i] for i in back.tolist())
    return replace(op, padding=replace(op.padding, values=values))


def _reordered(editor: Editor, value: str, axis: int, back: Array) -> str:
    """A constant reordered along an axis; a negative axis is counted from the end."""
    type_ = editor.type(value)
    if -axis > type_.rank or type_.shape[axis] == 1:
        return value
    exact = editor.exact(value)
    if exact is not None:
        return editor.rounded(np.take(exact, back, axis), type_.dtype)
    array = editor.array(value)
    assert array is not None
    return editor.constant(np.take(array, back, axis), type_.dtype)
