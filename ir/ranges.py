"""Find constants that operators do not accept, such as an index that is not on the axis."""

from __future__ import annotations

from collections.abc import Sequence

from ellc.ir.graph import Graph, Node
from ellc.ir.nested import all_graphs
from ellc.ir.op import Op, Types
from ellc.ir.types import Array

CODE = "E111"


def outside(op: Op, types: Types, arrays: Sequence[Array | None]) -> list[str]:
    """A message for each operand with a known array in which a number is out of range.

    `types` are operand types that `Op.infer` accepts. `arrays` has None for an unknown array.
    """
    problems = []
    for position, accepted in op.ranges(*types).items():
        array = arrays[position]
        if array is None or not array.size:
            continue
        low, high = int(array.min()), int(array.max())
        worst = low if low < accepted.low else high
        if not accepted.low <= worst <= accepted.high:
            problem = f"{accepted.what} is {worst}, not {accepted.low} to {accepted.high}"
            problems.append(f"{op.name}: {problem}")
    return problems


def constants_outside(graph: Graph) -> list[str]:
    """A message for each constant out of range, in a well-formed graph and its bodies."""
    return [line for each in all_graphs(graph) for line in _of_one(each)]


def _of_one(graph: Graph) -> list[str]:
    keys = {c.value: c.key for c in graph.constants}
    problems = []
    for node in graph.nodes:
        if any(v in keys for v in node.inputs):
            arrays = [graph.weights[keys[v]] if v in keys else None for v in node.inputs]
            types = tuple(t.meaning for t in graph.node_types(node)[0])
            problems += [
                f"{_label(node)}: {problem}" for problem in outside(node.op, types, arrays)
            ]
    return problems


def _label(node: Node) -> str:
    layers = f" ({', '.join(node.source)})" if node.source else ""
    return f"%{node.outputs[0]}{layers}"
