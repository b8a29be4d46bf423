"""Remove operators that have no effect, and replace others by cheaper ones.

Every rule gives equal numbers, where 0 and -0 count as equal. So this pass may run anywhere before
nodes are fused and values get borders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ellc.ir.graph import Graph, Node
from ellc.ir.ops.shape import Reshape
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.passes.canonicalise.arithmetic_rules import (
    activation,
    arithmetic,
    conversion,
    order_of_operands,
)
from ellc.ir.passes.canonicalise.lookup_rules import lookup
from ellc.ir.passes.canonicalise.view_rules import broadcast, identity, part, product, view
from ellc.ir.passes.properties import NO_BORDERS, UNFUSED, Property
from ellc.ir.rewrite import Editor

_RULES = (
    identity,
    view,
    part,
    product,
    broadcast,
    conversion,
    order_of_operands,
    arithmetic,
    activation,
    lookup,
)


@register_pass("simplify")
@dataclass(frozen=True)
class Simplify(Pass):
    """Apply all rules to every node until none of them applies to it.

    A public output never becomes another name of an input or of another output.
    """

    requires: ClassVar[tuple[Property, ...]] = (
        UNFUSED,
        NO_BORDERS,
    )

    def run(self, graph: Graph) -> Graph:
        editor = Editor(graph)
        for node in editor.nodes():
            current: Node | None = node
            while current is not None:
                current = _simplified(editor, current)
        return editor.graph()


def _simplified(editor: Editor, node: Node) -> Node | None:
    """The node after one change; None if no rule applies or the node was removed."""
    for rule in _RULES:
        match rule(editor, node):
            case str(value) if editor.can_forward(node, value):
                editor.forward(node, value)
                return None
            case str(value) if not isinstance(node.op, Reshape):
                return editor.replace(node, Reshape(editor.type(value).shape), value)
            case (op, operands):
                return editor.replace(node, op, *operands)
    return None
