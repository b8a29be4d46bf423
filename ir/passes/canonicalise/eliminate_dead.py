"""Remove nodes that no output and no state needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ellc.ir.graph import Graph
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.passes.properties import ALL_USED, Property
from ellc.ir.rewrite import Editor


@register_pass("eliminate_dead")
@dataclass(frozen=True)
class EliminateDead(Pass):
    """Remove nodes and constants that nothing reads.

    Inputs and states stay even if nothing reads them, since they are visible from outside.
    """

    ensures: ClassVar[tuple[Property, ...]] = (ALL_USED,)

    def run(self, graph: Graph) -> Graph:
        editor = Editor(graph)
        for node in reversed(graph.nodes):
            if not any(editor.uses(v) for v in node.outputs):
                editor.remove(node)
        return editor.graph()
