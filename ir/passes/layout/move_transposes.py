"""Let operators work in the arrangement in which their operands are stored, without transposes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ellc.ir.arrangement import Permutation, identity, inverse
from ellc.ir.graph import Graph, Node
from ellc.ir.op import Arranged
from ellc.ir.ops.shape import Reshape, Transpose
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.passes.common import trailing
from ellc.ir.passes.layout.flatten import columns, with_rows
from ellc.ir.passes.layout.layout_flow import Flow, Layout
from ellc.ir.passes.layout.layout_regions import best_layout
from ellc.ir.passes.layout.transposes import tidy_transposes
from ellc.ir.passes.properties import ALL_USED, NO_BORDERS, UNFUSED, Property
from ellc.ir.rewrite import Editor
from ellc.ir.types import Array


@register_pass("move_transposes")
@dataclass(frozen=True)
class MoveTransposes(Pass):
    """Let operators between two transposes work in the order before the first; both then cancel.

    The operators are all those that can be computed with permuted axes: elementwise operators,
    slices, concatenations, reductions and many more (`Op.arranged`). Constants are permuted at
    compile time, and so are the columns of dense layers that read a flattened image, and the rows
    of those whose result is reshaped to an image. The transposes that remain never cost more than
    the original ones (`Flow.weight`).
    """

    requires: ClassVar[tuple[Property, ...]] = (
        UNFUSED,
        NO_BORDERS,
        ALL_USED,
    )

    def run(self, graph: Graph) -> Graph:
        if not any(isinstance(n.op, Transpose) for n in graph.nodes):
            return graph
        graph = _rearranged(graph, Layout(Flow(graph)))
        while any(isinstance(n.op, Transpose) for n in graph.nodes):
            layout = best_layout(graph)
            # Several transposes may turn out to be one, so the costs are compared after the change.
            changed = _rearranged(graph, layout)
            if Layout(Flow(changed)).total() >= Layout(layout.flow).total():
                break
            graph = changed
        return graph


def _rearranged(graph: Graph, layout: Layout) -> Graph:
    """The graph with its operators in the arrangements of the layout, and transposes merged."""
    editor = Editor(graph)
    for node, permutation in _changes(graph, layout):
        arranged = layout.flow.arranged(node, permutation)
        assert arranged is not None
        if arranged.operands == (None,):
            _permute_rows(editor, layout.flow, node, permutation)
        _rearrange(
            editor, _node_now(editor, node), arranged, layout.flow.column_readers(node) or []
        )
    tidy_transposes(editor)
    return editor.graph() if editor.changed else graph


def _changes(graph: Graph, layout: Layout) -> Iterator[tuple[Node, Permutation]]:
    for node in graph.nodes:
        permutation = layout.chosen.get(node.outputs[0])
        if permutation is not None and permutation != identity(len(permutation)):
            yield node, permutation


def _node_now(editor: Editor, node: Node) -> Node:
    """The current version of a node, whose operands earlier changes may have replaced."""
    current = editor.producer(node.outputs[0])
    assert current is not None
    return current


def _rearrange(
    editor: Editor, node: Node, arranged: Arranged, readers: list[tuple[Node, int]]
) -> None:
    """Replace a node by its arranged operator, with transposes before and after it."""
    operands = [
        value if p is None else _moved(editor, node, value, p)
        for value, p in zip(node.inputs, arranged.operands, strict=True)
    ]
    if not arranged.results:
        _flatten(editor, node, operands[0], arranged, readers)
        return
    results = editor.insert_multi(node, arranged.op, *operands, source=node.source)
    back = [
        editor.insert(node, Transpose(inverse(p)), value, source=node.source)
        for value, p in zip(results, arranged.results, strict=True)
    ]
    editor.forward(node, *back)


def _moved(editor: Editor, node: Node, value: str, permutation: Permutation) -> str:
    """An operand with its axes permuted; it may have fewer axes than the permutation."""
    shape = editor.type(value).shape
    full = (1,) * (len(permutation) - len(shape)) + shape
    if editor.array(value) is not None:
        return _moved_constant(editor, value, full, permutation, shorten=full != shape)
    if full != shape:
        value = editor.insert(node, Reshape(full), value, source=node.source)
    return editor.insert(node, Transpose(permutation), value, source=node.source)


def _moved_constant(
    editor: Editor, value: str, full: tuple[int, ...], permutation: Permutation, *, shorten: bool
) -> str:
    def moved(array: Array) -> Array:
        result = np.transpose(array.reshape(full), permutation)
        return trailing(result) if shorten else result

    return editor.moved(value, moved)


def _permute_rows(editor: Editor, flow: Flow, node: Node, permutation: Permutation) -> None:
    """Permute the rows of the dense layer whose result is reshaped to an image.

    The layer then computes the elements of the image in the order that `permutation` gives.
    """
    chain = flow.row_producers(node)
    assert chain is not None and isinstance(node.op, Reshape)
    order = columns(node.op.shape, flow.graph.types[node.inputs[0]].shape, permutation)
    assert order is not None
    for step in chain:
        with_rows(editor, _node_now(editor, step), order)


def _flatten(
    editor: Editor, node: Node, operand: str, arranged: Arranged, readers: list[tuple[Node, int]]
) -> None:
    """Flatten an image in another order, and permute the columns of its readers' weights."""
    (permutation,) = arranged.operands
    assert permutation is not None and isinstance(node.op, Reshape)
    indices = columns(editor.type(node.inputs[0]).shape, node.op.shape, permutation)
    assert indices is not None
    for dense, begin in readers:
        now = _node_now(editor, dense)
        data, weights, *rest = now.inputs
        order = np.arange(editor.type(weights).shape[1])
        order[begin : begin + len(indices)] = begin + indices
        editor.replace(now, now.op, data, _with_columns(editor, weights, order), *rest)
    editor.forward(node, editor.insert(node, node.op, operand, source=node.source))


def _with_columns(editor: Editor, weights: str, order: Array) -> str:
    return editor.moved(weights, lambda w: w[:, order])
