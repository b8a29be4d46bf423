"""Rules of `simplify` on operators that move elements, and on matrix products.

A rule returns the replacement of a node: a value, or an operator with its operands. It returns None
if it does not apply.
"""

from __future__ import annotations

from itertools import pairwise

from ellc.ir.errors import ShapeError
from ellc.ir.graph import Node
from ellc.ir.op import Op, Pointwise
from ellc.ir.ops.dense import Dense, MatMul
from ellc.ir.ops.shape import Concat, Expand, Reshape, Slice, Split, Transpose
from ellc.ir.rewrite import Editor

Change = str | tuple[Op, tuple[str, ...]]


def identity(editor: Editor, node: Node) -> Change | None:
    """Remove an operator that changes nothing."""
    if not node.inputs or len(node.outputs) != 1:
        return None
    operands = tuple(map(editor.type, node.inputs))
    is_identity = node.op.changes_nothing(operands, (editor.type(node.output),))
    return node.inputs[0] if is_identity else None


def view(editor: Editor, node: Node) -> Change | None:
    """Merge reshapes and merge transposes; turn a transpose that moves nothing into a reshape."""
    if not node.inputs:
        return None
    producer = editor.producer(node.inputs[0])
    match node.op:
        case Reshape() if producer is not None and isinstance(producer.op, Reshape):
            return node.op, producer.inputs
        case Transpose() as op:
            shapes = (editor.type(v).shape for v in (node.inputs[0], node.output))
            return _transpose(node, op, producer, *shapes)
    return None


def _transpose(
    node: Node,
    op: Transpose,
    producer: Node | None,
    before: tuple[int, ...],
    after: tuple[int, ...],
) -> Change | None:
    if producer is not None and isinstance(producer.op, Transpose):
        inner = producer.op.permutation
        return Transpose(tuple(inner[a] for a in op.permutation)), producer.inputs
    moving = [a for a in op.permutation if before[a] != 1]
    if all(a < b for a, b in pairwise(moving)):
        return Reshape(after), node.inputs
    return None


def part(editor: Editor, node: Node) -> Change | None:
    """Merge slices and concatenations with those before them; remove a split that is undone."""
    producer = editor.producer(node.inputs[0]) if node.inputs else None
    if producer is None:
        return None
    match node.op, producer.op:
        case Slice() as outer, Slice() as inner:
            return _slice_of_slice(outer, inner), producer.inputs
        case Slice() as outer, Concat(axis=axis):
            return _slice_of_concat(editor, outer, producer, axis)
        case Concat(axis=axis), Split(axis=split) if axis == split and (
            node.inputs == producer.outputs
        ):
            return producer.inputs[0]
        case Concat(axis=axis), _:
            return _concat_of_concats(editor, node, axis)
    return None


def _slice_of_slice(outer: Slice, inner: Slice) -> Slice:
    starts, steps = [], []
    for axis, size in enumerate(outer.sizes):
        step = inner.steps[axis]
        # A start or step that no element uses may be so large that its product overflows.
        starts.append(inner.starts[axis] + outer.starts[axis] * step if size else 0)
        steps.append(step * outer.steps[axis] if size > 1 else 1)
    return Slice(tuple(starts), outer.sizes, tuple(steps))


def _slice_of_concat(editor: Editor, op: Slice, concat: Node, axis: int) -> Change | None:
    """The same slice, taken from the one operand of the concatenation that contains it, or None."""
    if not op.sizes[axis]:
        return None
    first, last = sorted((op.starts[axis], op.starts[axis] + (op.sizes[axis] - 1) * op.steps[axis]))
    begin = 0
    for value in concat.inputs:
        end = begin + editor.type(value).shape[axis]
        if begin <= first and last < end:
            starts = (*op.starts[:axis], op.starts[axis] - begin, *op.starts[axis + 1 :])
            return Slice(starts, op.sizes, op.steps), (value,)
        begin = end
    return None


def _concat_of_concats(editor: Editor, node: Node, axis: int) -> Change | None:
    """A single concatenation, without inner concatenations that nothing else reads."""
    parts: list[str] = []
    for value in node.inputs:
        producer = editor.producer(value)
        joins = producer is not None and producer.op == Concat(axis) and editor.used_once(value)
        parts += producer.inputs if producer is not None and joins else (value,)
    return (Concat(axis), tuple(parts)) if len(parts) > len(node.inputs) else None


def product(editor: Editor, node: Node) -> Change | None:
    """Turn a product with a constant matrix into a dense layer, whose weights can be packed.

    For other products, transposes of operands become attributes.
    """
    if not isinstance(node.op, MatMul):
        return None
    x, y = node.inputs
    op = node.op
    shape = editor.type(y).shape
    flat = editor.type(x).rank >= len(shape) and all(e == 1 for e in shape[:-2])
    constant = editor.array(y) is not None and editor.array(x) is None
    if flat and constant and not op.transpose_a:
        return Dense(), (x, _weights(editor, y, turn=not op.transpose_b))
    left, right = _turned(editor, x), _turned(editor, y)
    if left is None and right is None:
        return None
    turns = op.transpose_a != (left is not None), op.transpose_b != (right is not None)
    return MatMul(*turns), (left or x, right or y)


def _weights(editor: Editor, value: str, *, turn: bool) -> str:
    """A constant [.., outputs, inputs], or its transpose, as the weights of a dense layer."""
    matrix = editor.type(value).shape[-2:]
    return editor.moved(value, lambda a: a.reshape(matrix).T if turn else a.reshape(matrix))


def _turned(editor: Editor, value: str) -> str | None:
    """The operand of the transpose of the last two axes that computes this value, or None."""
    producer = editor.producer(value)
    if producer is None or not isinstance(producer.op, Transpose):
        return None
    rank = len(producer.op.permutation)
    turn = (*range(rank - 2), rank - 1, rank - 2)
    return producer.inputs[0] if producer.op.permutation == turn else None


def broadcast(editor: Editor, node: Node) -> Change | None:
    """Drop an `Expand` of a further operand of a pointwise operator, which broadcasts anyway."""
    if not isinstance(node.op, Pointwise):
        return None
    producers = [editor.producer(v) for v in node.inputs[1:]]
    if not any(p is not None and isinstance(p.op, Expand) for p in producers):
        return None
    operands = tuple(
        p.inputs[0] if p is not None and isinstance(p.op, Expand) else v
        for v, p in zip(node.inputs[1:], producers, strict=True)
    )
    types = [editor.type(v) for v in (node.inputs[0], *operands)]
    try:
        node.op.infer(*types)
    except ShapeError:  # this operator does not broadcast its operands
        return None
    return node.op, (node.inputs[0], *operands)
