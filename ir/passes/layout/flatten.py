"""Flattened images before and after dense layers, whose columns or rows can be permuted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ellc.ir.arrangement import Permutation, Shape, order, picked, reshape_groups
from ellc.ir.graph import Node
from ellc.ir.op import Arranged
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.shape import Reshape
from ellc.ir.rewrite import Editor
from ellc.ir.types import Array


def flattened(
    node: Node, permutation: Permutation, picture: Shape, readers: Sequence[object] | None
) -> Arranged | None:
    """The flattening `Reshape` on a rearranged operand, if its readers can permute columns.

    It has no results in the sense of `Arranged`: no reader needs them in their old order.
    """
    assert isinstance(node.op, Reshape)
    if readers is None or columns(picture, node.op.shape, permutation) is None:
        return None
    return Arranged(node.op, (permutation,), ())


def columns(before: Shape, after: Shape, permutation: Permutation) -> Array | None:
    """Which old element each new one of the last axis is; None if other axes would change."""
    groups = reshape_groups(before, after)
    if not groups or groups[-1][1] != (len(after) - 1,):
        return None
    merged = groups[-1][0]
    stored = order(before, permutation)
    others, last = stored[: -len(merged)], stored[-len(merged) :]
    if others != tuple(sorted(others)) or set(last) != set(merged):
        return None
    extents = [before[a] for a in merged]
    places = np.arange(after[-1]).reshape(extents)
    return places.transpose([merged.index(a) for a in last]).reshape(-1)


def unfolded(
    node: Node, permutation: Permutation, flat: Shape, chain: Sequence[Node] | None
) -> Arranged | None:
    """The `Reshape` of a dense layer's result to an image, whose order that layer's rows take.

    `permutation` is that of the image; the operand, a flat vector, has none.
    """
    assert isinstance(node.op, Reshape)
    if chain is None or columns(node.op.shape, flat, permutation) is None:
        return None
    return Arranged(Reshape(picked(node.op.shape, permutation)), (None,), (permutation,))


def with_rows(editor: Editor, node: Node, places: Array) -> None:
    """Let a dense layer, or what follows it elementwise, make its last axis in another order."""
    data, *others = node.inputs
    if isinstance(node.op, Dense):
        moved = [editor.moved(v, lambda a: a[places]) for v in others]
    else:
        moved = [
            editor.moved(v, lambda a: a[..., places]) if editor.type(v).elements > 1 else v
            for v in others
        ]
    editor.replace(node, node.op, data, *moved)
