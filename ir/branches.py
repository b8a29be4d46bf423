"""Find the nodes that only one side of a `Select` needs, so that they run only for that side.

A `Select` whose condition is a single computed element is a branch: each value of the condition
selects one of the other two operands. Once the condition is computed, it decides which nodes must
run.
No `Select` is fused into the kernel that computes one of its operands (`fuse_epilogue`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ellc.ir.graph import Graph, Node
from ellc.ir.ops.comparisons import Select
from ellc.ir.ops.fused import Fused
from ellc.ir.ops.shape import Reshape

Needs = frozenset["OnlyIf"]
"""Conditions that all hold whenever a value is needed; none for a value that is always needed."""

ALWAYS: Needs = frozenset()


@dataclass(frozen=True, slots=True, order=True)
class OnlyIf:
    """The condition that the value named `condition`, a single `BOOL`, equals `wanted`."""

    condition: str
    wanted: bool


def needs(graph: Graph) -> tuple[Needs, ...]:
    """For every node, the conditions under which its results are needed.

    A condition that is computed after the node is left out.
    """
    return _Needs(graph).of_nodes()


class _Needs:
    """Finds under which conditions each value is needed, from the last node to the first."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._producers = {v: i for i, n in enumerate(graph.nodes) for v in n.outputs}
        self._constants = {c.value for c in graph.constants}
        self._of: dict[str, Needs] = {p.value: ALWAYS for p in graph.outputs}
        self._of.update({s.next: ALWAYS for s in graph.states})
        self._nodes: list[Needs] = []
        for node in reversed(graph.nodes):
            self._enter(node)
        self._nodes.reverse()

    def of_nodes(self) -> tuple[Needs, ...]:
        """For each node, the conditions under which it is needed, without those computed later."""
        return tuple(
            frozenset(c for c in conditions if self._producers.get(c.condition, -1) < index)
            for index, conditions in enumerate(self._nodes)
        )

    def _condition(self, node: Node) -> str | None:
        """The condition of a `Select`; None for other nodes.

        None also for a condition that is constant or does not have exactly one element. If
        `Reshape`s compute the condition, the value before them is returned.
        """
        op = node.op.anchor if isinstance(node.op, Fused) else node.op
        if not isinstance(op, Select):
            return None
        value = node.inputs[2]
        if self._graph.types[value].elements != 1:
            return None
        while value in self._producers and isinstance(self._producer(value).op, Reshape):
            value = self._producer(value).inputs[0]
        return None if value in self._constants else value

    def _producer(self, value: str) -> Node:
        return self._graph.nodes[self._producers[value]]

    def _enter(self, node: Node) -> None:
        known = [self._of[v] for v in node.outputs if v in self._of]
        own = frozenset.intersection(*known) if known else ALWAYS
        self._nodes.append(own)
        for value, read in self._reads(node, own):
            self._of[value] = self._of[value] & read if value in self._of else read

    def _reads(self, node: Node, own: Needs) -> Iterator[tuple[str, Needs]]:
        """Every operand, with the conditions under which the node uses it."""
        root = self._condition(node)
        for position, value in enumerate(node.inputs):
            is_side = root is not None and position < 2
            yield value, own | {OnlyIf(root, position == 0)} if is_side and root else own
