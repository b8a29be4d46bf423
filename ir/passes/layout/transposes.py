"""Merge consecutive transposes, and remove those that move nothing."""

from __future__ import annotations

from ellc.ir.arrangement import Permutation, Shape, moves_nothing, order, picked
from ellc.ir.graph import Node
from ellc.ir.ops.shape import Reshape, Transpose
from ellc.ir.rewrite import Editor
from ellc.ir.types import DType


def tidy_transposes(editor: Editor) -> None:
    """Merge consecutive transposes; a transpose that moves nothing becomes a `Reshape` or nothing.

    Between consecutive transposes there may be reshapes that only add or drop axes of extent 1.
    Equal transposes become one; unused ones are removed.
    """
    known: dict[tuple[str, Permutation, Shape], str] = {}
    for node in editor.nodes():
        if isinstance(node.op, Transpose):
            _tidy(editor, node, known)
    for node in reversed(list(editor.nodes())):
        if isinstance(node.op, Transpose | Reshape) and not editor.uses(node.output):
            editor.remove(node)


def _tidy(editor: Editor, node: Node, known: dict[tuple[str, Permutation, Shape], str]) -> None:
    base, permutation = _origin(editor, node)
    before, after = editor.type(base).shape, editor.type(node.output).shape
    if moves_nothing(before, permutation):
        if before == after and editor.can_forward(node, base):
            editor.forward(node, base)
        else:
            editor.replace(node, Reshape(after), base)
        return
    key = base, order(before, permutation), after
    first = known.setdefault(key, node.output)
    if first != node.output and editor.can_forward(node, first):
        editor.forward(node, first)
    elif picked(before, permutation) != after:
        inner = (*key[:2], picked(before, permutation))
        if inner not in known:
            moved = Transpose(permutation)
            known[inner] = editor.insert(node, moved, base, source=node.source)
        editor.replace(node, Reshape(after), known[inner])
    elif node.inputs[0] != base or node.op != Transpose(permutation):
        editor.replace(node, Transpose(permutation), base)


def _origin(editor: Editor, node: Node) -> tuple[str, Permutation]:
    """(value, permutation) with the same result as a transpose, except for axes of extent 1.

    The value is before all consecutive transposes and reshapes that only add or drop such axes.
    """
    after = editor.type(node.output).shape
    chain = [node]
    base = node.inputs[0]
    while (producer := editor.producer(base)) is not None and _is_view(editor, producer):
        chain.append(producer)
        base = producer.inputs[0]
    while isinstance(chain[-1].op, Reshape) and editor.producer(base) is not None:
        base = chain.pop().output  # keep reshapes before the first transpose, except of an input
    shape = editor.type(base).shape
    axes = [a for a, e in enumerate(shape) if e != 1]
    for step in reversed(chain):
        if isinstance(step.op, Transpose):
            extents = editor.type(step.inputs[0]).shape
            real = [a for a, e in enumerate(extents) if e != 1]
            axes = [axes[real.index(a)] for a in order(extents, step.op.permutation)]
    return base, _filled(shape, axes, after)


def _filled(shape: Shape, axes: list[int], after: Shape) -> Permutation:
    """The permutation with this order of `axes`, completed by the axes of extent 1.

    If the ranks are equal, the latter are placed such that the result has the shape `after`.
    """
    units = [a for a, e in enumerate(shape) if e == 1]
    if len(after) != len(shape):
        return (*units, *axes)
    moving, resting = iter(axes), iter(units)
    return tuple(next(resting) if e == 1 else next(moving) for e in after)


def _is_view(editor: Editor, node: Node) -> bool:
    """Whether a node is a transpose, or a reshape that only adds or drops axes of extent 1."""
    if isinstance(node.op, Transpose):
        return True
    if not isinstance(node.op, Reshape) or editor.type(node.output).dtype is DType.BIT:
        return False
    before = editor.type(node.inputs[0]).shape
    return [e for e in before if e != 1] == [e for e in node.op.shape if e != 1]
