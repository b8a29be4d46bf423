"""The levels of `ellc explain`, from the graph to machine code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ellc.explain import asm_level, cost_level, graph_level, kernel_level, llvm_level, plan_level
from ellc.explain.names import find
from ellc.explain.study import PlannedNode, Study
from ellc.ir.errors import EllcError


@dataclass(frozen=True, slots=True)
class Level:
    """A level: a description, a function that shows a node, and one that shows the network."""

    what: str
    of_node: Callable[[Study, PlannedNode], str]
    of_network: Callable[[Study], str] | None = None


LEVELS = {
    "graph": Level("what each pass changed", graph_level.of_node, graph_level.of_network),
    "plan": Level("why this kernel: the candidates", plan_level.of_node, plan_level.of_network),
    "kernel": Level("the kernels in kernel IR", kernel_level.of_node),
    "llvm": Level("the kernels in LLVM IR", llvm_level.of_node),
    "asm": Level("the kernels in assembly", asm_level.of_node),
    "cost": Level("the cost and its share", cost_level.of_node, cost_level.of_network),
}
OF_NETWORK_BY_DEFAULT = ("cost",)
OF_A_NODE_BY_DEFAULT = ("cost", "graph", "plan")


def explanation(study: Study, node: str = "", levels: tuple[str, ...] = ()) -> str:
    """The text of some levels: of all nodes called `node`, or of the network if `node` is empty.

    The default levels are `OF_NETWORK_BY_DEFAULT` or `OF_A_NODE_BY_DEFAULT`. Raises `EllcError`:
    E750 for an unknown node, E751 for a level that needs a node.
    """
    if not node:
        return "\n\n".join(_of_network(study, level) for level in levels or OF_NETWORK_BY_DEFAULT)
    nodes = find(study, node)
    parts = [
        text
        for level in levels or OF_A_NODE_BY_DEFAULT
        for one in nodes
        if (text := LEVELS[level].of_node(study, one))
    ]
    if parts:
        return "\n\n".join(parts)
    return "no kernel: the result is a view of bytes that are already there"


def _of_network(study: Study, level: str) -> str:
    shown = LEVELS[level].of_network
    if shown is not None:
        return shown(study)
    costly = ", ".join(f"%{n.value}" for n in cost_level.costliest(study)[: cost_level.MOST_COSTLY])
    raise EllcError(
        f"level '{level}' shows one node, but no node was named",
        code="E751",
        hint=f"name a node with --node NAME; the most expensive nodes are {costly}",
    )
