"""Converts an `OnnxModel` to a graph: selects the nodes, imports them, adds inputs and outputs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ellc.frontends.budget import Budget
from ellc.frontends.graph_import.fixed import fixed_input
from ellc.frontends.graph_import.handlers import import_nodes, needed_nodes
from ellc.frontends.graph_import.values import Emitter, SequenceValue, Value
from ellc.frontends.onnx.functions import without_calls
from ellc.frontends.onnx.inner import stored_values
from ellc.frontends.onnx.labels import stated_labels
from ellc.frontends.onnx.model import OnnxGraph, OnnxInput, OnnxModel, OnnxNode
from ellc.frontends.onnx.narrow import Narrow
from ellc.frontends.onnx.nchwc import with_blocks
from ellc.frontends.onnx.order import in_order
from ellc.frontends.onnx.ports import Layouts, input_quants, input_type, known_symbols
from ellc.frontends.onnx.qdq import joined
from ellc.frontends.onnx.registry import with_joined
from ellc.frontends.onnx.tensors import HALF_NOTE, is_half
from ellc.frontends.options import ImportOptions
from ellc.ir.errors import EllcError
from ellc.ir.graph import LABELS_KEY, Graph
from ellc.ir.passes.canonicalise.eliminate_dead import EliminateDead


def convert(model: OnnxModel, options: ImportOptions, where: str) -> Graph:
    """Convert a model, or only the part that the outputs in the options need, to a graph."""
    graph = without_calls(model, options.limits.graph_nodes, where)
    nodes = in_order(graph.nodes, where)
    _check_names(graph, nodes, where)
    outputs = _outputs(graph, nodes, options, where)
    nodes = needed_nodes(nodes, outputs)
    nodes = with_blocks(nodes, graph.constants)
    quants = input_quants(nodes, graph.constants)
    nodes = needed_nodes(joined(nodes, graph.constants, outputs), outputs)
    emitter = Emitter(model.name, Budget(options.limits))
    emitter.metadata(dict(model.metadata))
    if labels := stated_labels(model.metadata):
        emitter.metadata({LABELS_KEY: labels})
    layouts = Layouts.of(nodes, options.layout)
    values: dict[str, Value] = {}
    ports = _ports(graph, nodes, outputs, options, where)
    symbols = known_symbols(ports, options)
    if any(is_half(port.element_type) for port in ports):
        emitter.note(HALF_NOTE)
    for port in ports:
        type_ = input_type(port, options, where, symbols, quants.get(port.name))
        numbers = options.fixed.get(port.name)
        values[port.name] = (
            layouts.input(emitter, port.name, type_)
            if numbers is None
            else fixed_input(emitter, port.name, type_, numbers)
        )
    values.update(stored_values(emitter, graph, nodes, outputs))
    known = import_nodes(emitter, with_joined(), nodes, values, where)
    for name in outputs:
        if isinstance(known[name], SequenceValue):
            raise EllcError(
                f"the output '{name}' is a sequence of tensors",
                code="E212",
                where=where,
                hint="give names of tensors with --outputs",
            )
        if isinstance(value := known[name], Narrow):
            raise EllcError(
                f"the output '{name}' is of type {value.kind.name}",
                code="E212",
                where=where,
                hint=f"export the model with a DequantizeLinear or a Cast after '{name}'",
            )
        layouts.output(emitter, name, known[name])
    return EliminateDead().run(emitter.build())


def _check_names(graph: OnnxGraph, nodes: Iterable[OnnxNode], where: str) -> None:
    """Raise `EllcError` E210 if a node's result has the name of an input or a constant."""
    given = {i.name for i in graph.inputs} | set(graph.constants)
    for name in (n for node in nodes for n in node.outputs if n in given):
        raise EllcError(
            f"'{name}' is the result of a node, but also an input or a constant",
            code="E210",
            where=where,
        )


def _outputs(
    graph: OnnxGraph, nodes: Iterable[OnnxNode], options: ImportOptions, where: str
) -> tuple[str, ...]:
    known_names = {n: None for node in nodes for n in node.outputs if n}
    known_names.update((n, None) for n in graph.constants)
    known_names.update((i.name, None) for i in graph.inputs)
    wanted = tuple(dict.fromkeys(options.outputs or graph.outputs))
    for name in wanted:
        if name not in known_names and options.outputs:
            raise unknown_name(name, "value", known_names, where, "--outputs")
        if name not in known_names:
            raise EllcError(f"no node makes the output '{name}'", code="E210", where=where)
    if not wanted:
        raise EllcError("the model has no outputs", code="E210", where=where)
    return wanted


def _ports(
    graph: OnnxGraph,
    nodes: Iterable[OnnxNode],
    outputs: Iterable[str],
    options: ImportOptions,
    where: str,
) -> list[OnnxInput]:
    """The inputs of the graph; if the user cut the model, only the inputs that are still needed."""
    ports = {i.name: i for i in graph.inputs if i.name not in graph.constants}
    for option, names in (("--shape", options.shapes), ("--set", options.fixed)):
        for name in names:
            if name not in ports:
                raise unknown_name(name, "input", ports, where, option)
    if not options.outputs:
        return list(ports.values())
    read = {name for node in nodes for name in node.inputs} | set(outputs)
    return [port for port in ports.values() if port.name in read]


def unknown_name(name: str, what: str, known: Iterable[str], where: str, option: str) -> EllcError:
    """The error E214 for a name in a command-line option that is not in the model."""
    names = list(known)
    close = difflib.get_close_matches(name, names, 3) or names[:8]
    return EllcError(
        f"the model has no {what} '{name}'",
        code="E214",
        where=where,
        hint=f"names for {option}: {', '.join(close)}",
    )
