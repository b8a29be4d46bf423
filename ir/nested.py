"""Graphs inside graphs: the bodies in the attributes of operators such as loops."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, cast

from ellc.ir.graph import Graph, Node
from ellc.ir.op import Op, attributes
from ellc.ir.types import TensorType
from ellc.ir.weights import WeightPool


def bodies(op: Op) -> tuple[Graph, ...]:
    """The graphs in an operator's attributes."""
    return tuple(v for v in attributes(op).values() if isinstance(v, Graph))


def all_graphs(graph: Graph) -> Iterator[Graph]:
    """The graph and all bodies in it at any depth, each before the bodies in its own nodes."""
    yield graph
    for node in graph.nodes:
        for body in bodies(node.op):
            yield from all_graphs(body)


def constant_types(graph: Graph) -> dict[str, TensorType]:
    """The type of every constant of the graph and of its bodies, by the constant's key."""
    return {c.key: g.types[c.value] for g in all_graphs(graph) for c in g.constants}


def parameters(graph: Graph) -> int:
    """The number of elements of all constants, including those of bodies; equal ones count once."""
    return sum(t.elements for t in constant_types(graph).values())


def with_bodies(op: Op, change: Callable[[Graph], Graph]) -> Op:
    """The operator with `change` applied to its bodies; the same object if it has none."""
    changed = {n: change(v) for n, v in attributes(op).items() if isinstance(v, Graph)}
    return cast(Op, dataclasses.replace(cast(Any, op), **changed)) if changed else op


def map_bodies(graph: Graph, change: Callable[[Graph], Graph]) -> Graph:
    """The graph with `change` applied to its nodes' bodies; the same object if there are none."""

    def changed(node: Node) -> Node:
        return dataclasses.replace(node, op=with_bodies(node.op, change))

    if not any(bodies(node.op) for node in graph.nodes):
        return graph
    return dataclasses.replace(graph, nodes=tuple(changed(n) for n in graph.nodes))


def adopted(op: Op, weights: WeightPool) -> Op:
    """The operator with bodies whose pool is `weights`, to which their arrays are added."""

    def adopt(body: Graph) -> Graph:
        if body.weights is weights:
            return body
        for constant in body.constants:
            weights.add(body.weights[constant.key])
        return dataclasses.replace(map_bodies(body, adopt), weights=weights)

    return with_bodies(op, adopt)
