"""Move reshapes after elementwise operators, so that these can be fused with the node before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ellc.ir.graph import Graph, Node
from ellc.ir.op import Pointwise
from ellc.ir.ops.shape import Reshape
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.passes.properties import ALL_USED, NO_BORDERS, UNFUSED, Property
from ellc.ir.rewrite import Editor
from ellc.ir.types import DType


@register_pass("sink_reshape")
@dataclass(frozen=True)
class SinkReshape(Pass):
    """Turn `pointwise(reshape(x), ..)` into `reshape(pointwise(x, ..))` if a node computes x.

    A further operand must be a single number, a vector along the last axis if the reshape keeps
    that axis, a constant of the full shape, or the result of another reshape from x's shape. If the
    result is bits, the reshape must keep the last axis, along which bits are packed. Two
    consecutive reshapes become one.
    """

    requires: ClassVar[tuple[Property, ...]] = (
        UNFUSED,
        NO_BORDERS,
        ALL_USED,
    )

    def run(self, graph: Graph) -> Graph:
        editor = Editor(graph)
        for node in editor.nodes():
            if isinstance(node.op, Pointwise) and node.inputs:
                self._sink(editor, node, node.op)
            elif isinstance(node.op, Reshape):
                self._join(editor, node)
        return editor.graph()

    def _join(self, editor: Editor, node: Node) -> None:
        inner = editor.producer(node.inputs[0])
        if inner is None or not isinstance(inner.op, Reshape):
            return
        joined = editor.replace(node, node.op, inner.inputs[0])
        same = editor.type(inner.inputs[0]).shape == editor.type(node.output).shape
        if same and editor.can_forward(joined, inner.inputs[0]):
            editor.forward(joined, inner.inputs[0])
        if not editor.uses(inner.output):
            editor.remove(inner)

    def _sink(self, editor: Editor, node: Node, op: Pointwise) -> None:
        view = editor.producer(node.inputs[0])
        if view is None or not isinstance(view.op, Reshape):
            return
        if editor.producer(view.inputs[0]) is None:
            return
        inside, outside = editor.type(view.inputs[0]).shape, editor.type(view.output).shape
        if not inside or not outside:
            return
        if editor.type(node.output).dtype is DType.BIT and inside[-1] != outside[-1]:
            return
        extras = [_moved(editor, v, inside, outside) for v in node.inputs[1:]]
        if any(e is None for e in extras):
            return
        operands = [e for e in extras if e is not None]
        result = editor.insert(node, op, view.inputs[0], *operands, source=node.source)
        editor.replace(node, Reshape(outside), result, source=view.source)
        if not editor.uses(view.output):
            editor.remove(view)


def _moved(
    editor: Editor, value: str, inside: tuple[int, ...], outside: tuple[int, ...]
) -> str | None:
    """The further operand for an operator before the reshape; None if there is none."""
    type_ = editor.type(value)
    producer = editor.producer(value)
    if producer is not None and isinstance(producer.op, Reshape) and type_.shape == outside:
        source = producer.inputs[0]
        return source if editor.type(source).shape == inside else None
    array = editor.array(value)
    vector = type_.elements == type_.shape[-1] if type_.shape else True
    if type_.elements == 1:
        shape: tuple[int, ...] = (1,)
    elif vector and inside[-1] == outside[-1] == type_.shape[-1]:
        shape = (inside[-1],)
    elif array is not None and type_.shape == outside:
        shape = inside
    else:
        return None
    if type_.shape == shape:
        return value
    exact = editor.exact(value)
    if exact is not None:
        return editor.rounded(np.reshape(exact, shape), type_.dtype)
    return None if array is None else editor.constant(np.reshape(array, shape), type_.dtype)
