"""Eliminate common subexpressions."""

from __future__ import annotations

from dataclasses import dataclass

from ellc.ir.graph import Graph, Node
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.rewrite import Editor
from ellc.ir.text import print_op


@register_pass("eliminate_common")
@dataclass(frozen=True)
class EliminateCommon(Pass):
    """Merge nodes that apply the same operator to the same values.

    Attributes are compared in the text form, in which 0.0 and -0.0 differ. Two public outputs are
    never merged, since the caller provides a buffer for each.
    """

    def run(self, graph: Graph) -> Graph:
        editor = Editor(graph)
        alone: dict[tuple[object, ...], Node | None] = {}
        known: dict[tuple[object, ...], tuple[str, ...]] = {}
        for node in editor.nodes():
            key = type(node.op), node.inputs, tuple(editor.type(v) for v in node.outputs)
            if key not in alone:
                alone[key] = node
                continue
            # Printing the body of a loop takes long, so attributes are printed only when needed.
            if (other := alone[key]) is not None:
                known[*key, print_op(other.op)] = other.outputs
                alone[key] = None
            first = known.setdefault((*key, print_op(node.op)), node.outputs)
            if first is not node.outputs and editor.can_forward(node, *first):
                editor.forward(node, *first)
        return editor.graph()
