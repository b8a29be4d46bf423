"""Eliminate common subexpressions."""

from __future__ import annotations

from dataclasses import dataclass

from ellc.ir.graph import Graph
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.rewrite import Editor
from ellc.ir.text import print_op


@register_pass("eliminate_common")
@dataclass(frozen=True)
class EliminateCommon(Pass):
    """Merge nodes that apply the same operator to the same values.

    Attributes are compared as printed, so that 0.0 and -0.0 differ. Two public results stay two
    values, since the caller gives a buffer for each.
    """

    def run(self, graph: Graph) -> Graph:
        editor = Editor(graph)
        known: dict[tuple[str, tuple[str, ...], object], tuple[str, ...]] = {}
        for node in editor.nodes():
            types = tuple(editor.type(v) for v in node.outputs)
            key = print_op(node.op), node.inputs, types
            first = known.setdefault(key, node.outputs)
            if first is not node.outputs and editor.can_forward(node, *first):
                editor.forward(node, *first)
        return editor.graph()
