"""The properties of graphs that passes require and ensure, with a function that checks each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ellc.ir.graph import Graph
from ellc.ir.nested import all_graphs, bodies
from ellc.ir.ops.fused import Fused


@dataclass(frozen=True)
class Property:
    """A condition on a graph and its bodies; messages call it `name`."""

    name: str
    holds: Callable[[Graph], bool]


def _no_nested_loops(graph: Graph) -> bool:
    within = (body for node in graph.nodes for body in bodies(node.op))
    return not any(bodies(node.op) for body in within for node in body.nodes)


def _lowered(graph: Graph) -> bool:
    return not any(node.op.composite for each in all_graphs(graph) for node in each.nodes)


def _all_used(graph: Graph) -> bool:
    for each in all_graphs(graph):
        read = {v for node in each.nodes for v in node.inputs}
        read |= {p.value for p in each.outputs} | {s.next for s in each.states}
        if any(read.isdisjoint(node.outputs) for node in each.nodes):
            return False
    return True


def _unfused(graph: Graph) -> bool:
    return not any(isinstance(n.op, Fused) for each in all_graphs(graph) for n in each.nodes)


def _no_borders(graph: Graph) -> bool:
    return all(t.border is None for each in all_graphs(graph) for t in each.types.values())


NO_NESTED_LOOPS = Property("no loop is in a loop", _no_nested_loops)
LOWERED = Property("every operator has a kernel", _lowered)
ALL_USED = Property("something reads a result of every node", _all_used)
UNFUSED = Property("no operator has stages", _unfused)
NO_BORDERS = Property("no buffer has a border", _no_borders)

AS_READ = (UNFUSED, NO_BORDERS)
"""Properties of the graphs that frontends build."""
