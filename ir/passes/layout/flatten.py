"""Permute columns or rows of a dense layer instead of the image that is its operand or result."""

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
    """The `Reshape` that flattens a rearranged image; None if its readers cannot permute columns.

    `Arranged.results` is empty, which means that the readers take the result in any order.
    """
    assert isinstance(node.op, Reshape)
    if readers is None or columns(picture, node.op.shape, permutation) is None:
        return None
    return Arranged(node.op, (permutation,), ())


def columns(before: Shape, after: Shape, permutation: Permutation) -> Array | None:
    """The old index for each new index of the last axis of a `Reshape` from `before` to `after`.

    None if other axes change their order, too.
    """
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
    """The `Reshape` that turns a dense layer's result into an image with permuted axes.

    The rows of the layer are permuted to match. `chain` holds the nodes from the `Reshape` back to
    the layer; if it is None, there is no such layer, and the result is None. `permutation` is for
    the image; the operand, a flat vector, has none.
    """
    assert isinstance(node.op, Reshape)
    if chain is None or columns(node.op.shape, flat, permutation) is None:
        return None
    return Arranged(Reshape(picked(node.op.shape, permutation)), (None,), (permutation,))


def with_rows(editor: Editor, node: Node, order: Array) -> None:
    """Permute the last axis of the result of a dense layer or of an elementwise operator after it.

    The constants of the node are permuted: rows of weights, biases, vectors.
    """
    data, *others = node.inputs
    if isinstance(node.op, Dense):
        moved = [editor.moved(v, lambda a: a[order]) for v in others]
    else:
        moved = [
            editor.moved(v, lambda a: a[..., order]) if editor.type(v).elements > 1 else v
            for v in others
        ]
    editor.replace(node, node.op, data, *moved)
