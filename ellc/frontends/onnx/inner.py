"""Imports graphs that are inside nodes, and the stored tensors that nodes read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ellc.frontends.graph_import.handlers import (
    Inputs,
    import_nodes,
    needed_nodes,
    wanted_values,
)
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.model import OnnxGraph, OnnxNode
from ellc.frontends.onnx.narrow import Narrow, stored_value
from ellc.frontends.onnx.order import in_order
from ellc.frontends.onnx.registry import all_operators
from ellc.ir.errors import EllcError


def own_and_captured(node: OnnxNode, inputs: Inputs) -> tuple[Inputs, dict[str, Value]]:
    """Split `inputs` into the node's own operands and the outer values that its inner graphs read.

    The latter are returned by name.
    """
    own = len(inputs) - len(node.captured)
    captured = zip(node.captured, inputs[own:], strict=True)
    return inputs[:own], {n: v for n, v in captured if v is not None}


def import_inner(
    emitter: Emitter, graph: OnnxGraph, captured: Mapping[str, Value], where: str
) -> list[Value]:
    """Import a graph that is inside a node, and return its outputs.

    `captured` has the graph's inputs and the outer values that it reads, by name. Raises
    `Unsupported` with the problems of the graph's nodes.
    """
    nodes = needed_nodes(in_order(graph.nodes, where), graph.outputs)
    values = {**captured, **stored_values(emitter, graph, nodes, graph.outputs)}
    try:
        known = import_nodes(emitter, all_operators(), nodes, values, where)
    except EllcError as error:
        inside = "; ".join(error.problems[:3]) or error.message
        raise Unsupported(f"inside it: {inside}") from error
    results = wanted_values(known, graph.outputs)
    for name, value in zip(graph.outputs, results, strict=True):
        if isinstance(value, Narrow):
            raise Unsupported(f"inside it: its output '{name}' is of type {value.kind.name}")
    return results


def stored_values(
    emitter: Emitter, graph: OnnxGraph, nodes: Iterable[OnnxNode], outputs: Iterable[str]
) -> dict[str, Value]:
    """The values, by name, of the stored tensors that nodes read or that are outputs."""
    read = {name for node in nodes for name in node.inputs} | set(outputs)
    return {
        name: stored_value(emitter, stored)
        for name, stored in graph.constants.items()
        if name in read
    }
