"""Predicts the cycles of a function from the issue rules of its core."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ellc.codegen.kir.in_order.code import Code, Loop, Node
from ellc.codegen.machine.pipeline import Issue, cycles_of, loop_cycles


def predicted_cycles(nodes: Sequence[Node], rows: Mapping[str, Issue]) -> float:
    """The cycles of a function. Loops with an unknown number of trips count as `Loop.trips`."""
    total = 0.0
    for node in nodes:
        if isinstance(node, Code):
            total += cycles_of(node.ops, rows)
        else:
            total += node.trips * _trip_cycles(node, rows)
    return total


def _trip_cycles(loop: Loop, rows: Mapping[str, Issue]) -> float:
    match loop.body:
        case [Code() as only]:
            return loop_cycles((*only.ops, *loop.latch), rows)
    return predicted_cycles(loop.body, rows) + len(loop.latch)


def steady_loops(nodes: Sequence[Node]) -> Iterator[Loop]:
    """The loops whose loads are placed between multiply-adds."""
    for node in nodes:
        if isinstance(node, Loop):
            if node.peeled:
                yield node
            yield from steady_loops(node.body)
