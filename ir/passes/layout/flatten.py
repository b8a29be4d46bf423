"""Flattened images before and after dense layers: permute the layer's columns or rows instead."""

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

    `Arranged.results` is empty: no reader needs the result in its old order.
    """
    assert isinstance(node.op, Reshape)
    if readers is None or columns(picture, node.op.shape, permutation) is None:
        return None
    return Arranged(node.op, (permutation,), ())


def columns(before: Shape, after: Shape, permutation: Permutation) -> Array | None:
    """For each new index of the last axis the old one; None if other axes would change."""
    groups = reshape_groups(before, after)
    if not groups or groups[-1][1] != (len(after) - 1,):
        return None
    merged = groups[-1][0]
    stored = order(before, permutation)
    others, last = stored[: -len(merged)], stored[-len(merged) :]
    if others != tuple(sorted(others)) or set(last) != set(merged):
        return None
    extents = [before[a] for a in merged]
    indices = np.arange(after[-1]).reshape(extents)
    return indices.transpose([merged.index(a) for a in last]).reshape(-1)


def unfolded(
    node: Node, permutation: Permutation, flat: Shape, chain: Sequence[Node] | None
) -> Arranged | None:
    """The `Reshape` of a dense layer's result to an image with permuted axes.

    The layer's rows take the new order (`chain`: from the `Reshape` back to the layer, or None).
    `permutation` is that of the image; the operand, a flat vector, has none.
    """
    assert isinstance(node.op, Reshape)
    if chain is None or columns(node.op.shape, flat, permutation) is None:
        return None
    return Arranged(Reshape(picked(node.op.shape, permutation)), (None,), (permutation,))


def with_rows(editor: Editor, node: Node, order: Array) -> None:
    """Let a dense layer, or an elementwise operator after it, compute its last axis in an order."""
    data, *others = node.inputs
    if isinstance(node.op, Dense):
        moved = [editor.moved(v, lambda a: a[order]) for v in others]
    else:
        moved = [
            editor.moved(v, lambda a: a[..., order]) if editor.type(v).elements > 1 else v
            for v in others
        ]
    editor.replace(node, node.op, data, *moved)
