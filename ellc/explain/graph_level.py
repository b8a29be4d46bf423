"""The level `graph`: the changes of each pass, as differences of the graph's text."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import replace

from ellc.codegen.planning.loops import Enter, Leave
from ellc.explain.names import short_name, short_source
from ellc.explain.study import Change, PlannedNode, Study
from ellc.ir.graph import Graph, Node
from ellc.ir.printable import shortened
from ellc.ir.text import print_graph, print_node

LONGEST_LINE = 600
"""The most characters of a line. The middle of a longer line, such as one with a number for every
channel, is left out."""


def of_network(study: Study) -> str:
    """The passes that changed the graph, in order, each with its changes."""
    lines = [passes_line(study)]
    for change in study.changes:
        lines += ["", heading(change), *difference(change)]
    return "\n".join(lines)


def of_node(study: Study, node: PlannedNode) -> str:
    """The changes of the nodes from which this node was made, then the node after all passes."""
    lines = [f"{short_name(node)}: {node.operator}"]
    for change in study.changes:
        changed = list(node_difference(change, node))
        if changed:
            lines += ["", heading(change), *changed]
    if len(lines) == 1:
        lines.append("no pass changed this node")
    return "\n".join([*lines, "", "after all passes", node_text(study.graph, node)])


def passes_line(study: Study) -> str:
    """The number of passes, and the names of those that changed the graph."""
    names = ", ".join(change.name for change in study.changes) or "none"
    return f"{len(study.passes)} passes ran; these changed the graph: {names}"


def heading(change: Change) -> str:
    """The name of a pass, with the number of nodes before and after it."""
    return f"{change.name}: {len(change.before.nodes)} -> {len(change.after.nodes)} nodes"


def difference(change: Change) -> Iterator[str]:
    """The lines of a unified diff of the graph's text before and after a pass."""
    yield from _unified(*map(_graph_lines, (change.before, change.after)))


def node_difference(change: Change, node: PlannedNode) -> Iterator[str]:
    """The lines of a unified diff that covers only the nodes from which a node was made."""
    graphs = (change.before, change.after)
    yield from _unified(*(_printed(graph, _related(graph, node)) for graph in graphs))


def node_text(graph: Graph, node: PlannedNode) -> str:
    """A node as the graph's text shows it.

    The nodes that begin and end a loop have no text in the graph, so they are described here.
    """
    if isinstance(node.node.op, Enter | Leave):
        end = "begin" if isinstance(node.node.op, Enter) else "end"
        operands, results = (
            ", ".join(f"%{v}" for v in values) for values in (node.node.inputs, node.node.outputs)
        )
        return f"{results} = {end} of a loop of {node.node.op.repeat.trips} trips ({operands})"
    return _printed(graph, [node.node])[0]


def _unified(before: list[str], after: list[str]) -> Iterator[str]:
    lines = difflib.unified_diff(before, after, n=1, lineterm="")
    yield from (line for line in lines if not line.startswith(("---", "+++", "@@")))


def _related(graph: Graph, node: PlannedNode) -> list[Node]:
    """The nodes of a graph that compute one of the node's layers or one of its values."""
    sources, values = set(node.node.source), set(node.node.outputs)
    return [n for n in graph.nodes if not sources.isdisjoint(n.source) or values & {*n.outputs}]


def _printed(graph: Graph, nodes: list[Node]) -> list[str]:
    return [_brief(print_node(graph, _short(node))) for node in nodes]


def _graph_lines(graph: Graph) -> list[str]:
    short = replace(graph, nodes=tuple(map(_short, graph.nodes)))
    return list(map(_brief, print_graph(short).splitlines()))


def _short(node: Node) -> Node:
    return replace(node, source=tuple(map(short_source, node.source)))


def _brief(line: str) -> str:
    return shortened(line, LONGEST_LINE)
