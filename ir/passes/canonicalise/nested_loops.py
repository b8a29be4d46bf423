"""Unroll one of two nested loops, since no kernel runs a loop inside a loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph, Node
from ellc.ir.nested import all_graphs
from ellc.ir.ops.loop import Loop
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.passes.canonicalise.loops import unroll, unrolled
from ellc.ir.passes.properties import NO_BORDERS, NO_NESTED_LOOPS, UNFUSED, Property
from ellc.ir.rewrite import Editor


@register_pass("unroll_nested_loops")
@dataclass(frozen=True)
class UnrollNestedLoops(Pass):
    """Unroll either the inner loops or the outer loop, whichever gives fewer nodes.

    A loop stays if both choices give more than `most_nodes`; all loops stay if the best choices
    give more than `most_altogether` in total. Raises `EllcError` (E304) if loops are nested so
    deeply that even two trips of each inner loop give more than `most_nodes`.
    """

    requires: ClassVar[tuple[Property, ...]] = (
        UNFUSED,
        NO_BORDERS,
    )
    ensures: ClassVar[tuple[Property, ...]] = (NO_NESTED_LOOPS,)

    most_nodes: int = 4096
    most_altogether: int = 8192

    def refuse(self, graph: Graph) -> None:
        for node in graph.nodes:
            if isinstance(node.op, Loop) and 2 ** _depth(node.op.body) > self.most_nodes:
                raise EllcError(
                    f"loops are nested {_depth(node.op.body) + 1} deep, too deep to be unrolled",
                    code="E304",
                    where=", ".join(node.source),
                    hint="cut the network before them, or give the inner loops one trip",
                )

    def run(self, graph: Graph) -> Graph:
        editor = Editor(graph)
        chosen = list(self._chosen(editor.nodes()))
        if sum(min(inside, around) for _, _, inside, around in chosen) > self.most_altogether:
            return graph
        for node, op, inside, around in chosen:
            if inside <= around:
                editor.replace(node, replace(op, body=unrolled(op.body)), *node.inputs)
            else:
                unroll(editor, node, op)
        return editor.graph()

    def _chosen(self, nodes: Iterable[Node]) -> Iterator[tuple[Node, Loop, int, int]]:
        """(node, loop, nodes after unrolling its inner loops, nodes after unrolling the loop)."""
        for node in nodes:
            match node.op:
                case Loop(body=body) as op if any(_loops(body.nodes)):
                    inside, around = _written_out(body), op.trips * _nodes(body)
                    if min(inside, around) <= self.most_nodes:
                        yield node, op, inside, around


def _loops(nodes: Iterable[Node]) -> list[Loop]:
    return [n.op for n in nodes if isinstance(n.op, Loop)]


def _nodes(graph: Graph) -> int:
    """The number of nodes, including those of bodies."""
    return sum(len(g.nodes) for g in all_graphs(graph))


def _depth(graph: Graph) -> int:
    """The nesting depth of loops with more than one trip."""
    return max((_depth(op.body) + (op.trips > 1) for op in _loops(graph.nodes)), default=0)


def _written_out(graph: Graph) -> int:
    """The number of nodes after every loop inside is unrolled."""
    others = sum(not isinstance(n.op, Loop) for n in graph.nodes)
    return others + sum(op.trips * _written_out(op.body) for op in _loops(graph.nodes))
