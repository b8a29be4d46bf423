"""Constants that operators have no meaning for: an index beyond the axis, a shift by 99 bits."""

from __future__ import annotations

from collections.abc import Sequence

from ellc.ir.graph import Graph, Node
from ellc.ir.nested import all_graphs
from ellc.ir.op import Op, Types
from ellc.ir.types import Array

CODE = "E111"


def outside(op: Op, types: Types, arrays: Sequence[Array | None]) -> list[str]:
    """A line for each known operand with a number that the operator does not take.

    `types` are operands that `Op.infer` takes, `arrays` those that are known.
    """
    found = []
    for place, accepted in op.ranges(*types).items():
        array = arrays[place]
        if array is None or not array.size:
            continue
        low, high = int(array.min()), int(array.max())
        worst = low if low < accepted.low else high
        if not accepted.low <= worst <= accepted.high:
            said = f"{accepted.what} is {worst}, not {accepted.low} to {accepted.high}"
            found.append(f"{op.name}: {said}")
    return found


def constants_outside(graph: Graph) -> list[str]:
    """A line for each such constant of a well-formed graph, and of those inside it."""
    return [line for each in all_graphs(graph) for line in _of_one(each)]


def _of_one(graph: Graph) -> list[str]:
    keys = {c.value: c.key for c in graph.constants}
    found = []
    for node in graph.nodes:
        if any(v in keys for v in node.inputs):
            arrays = [graph.weights[keys[v]] if v in keys else None for v in node.inputs]
            types = tuple(t.meaning for t in graph.node_types(node)[0])
            found += [f"{_place(node)}: {said}" for said in outside(node.op, types, arrays)]
    return found


def _place(node: Node) -> str:
    layers = f" ({', '.join(node.source)})" if node.source else ""
    return f"%{node.outputs[0]}{layers}"
