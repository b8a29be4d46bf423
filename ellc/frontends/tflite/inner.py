"""Imports graphs inside operators, and the stored tensors of a graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ellc.frontends.graph_import.handlers import import_nodes, needed_nodes, wanted_values
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.checks import checked_operators
from ellc.frontends.tflite.model import DTYPES, Tensor, TfliteGraph
from ellc.ir.errors import EllcError


def constants(emitter: Emitter, tensors: Iterable[Tensor]) -> dict[str, Value]:
    """Map the names of stored tensors to values. Variables that are not stored start as zeros."""
    values = {}
    for tensor in tensors:
        if tensor.array is not None:
            values[tensor.name] = emitter.constant(tensor.array, tensor.quant)
        elif tensor.is_variable and tensor.kind in DTYPES:
            zeros = emitter.full(tensor.shape, 0, DTYPES[tensor.kind].numpy)
            values[tensor.name] = emitter.constant(zeros)
        elif tensor.is_sparse:
            # A placeholder: `checked_operators` refuses the operator that reads it.
            values[tensor.name] = emitter.constant(np.zeros(0, np.float32))
    return values


def import_inner(
    emitter: Emitter, graph: TfliteGraph, inputs: Sequence[Value | None], wanted: Sequence[int]
) -> list[Value]:
    """Import a graph inside an operator and return its outputs with the indices `wanted`.

    Inputs on which these outputs do not depend may be None. Raises `Unsupported` with the first
    problems of the graph's nodes.
    """
    names = [graph.outputs[i].name for i in wanted]
    values = constants(emitter, graph.tensors)
    given = zip(graph.inputs, inputs, strict=True)
    values.update((t.name, v) for t, v in given if v is not None)
    try:
        known = import_nodes(
            emitter, checked_operators(), needed_nodes(graph.nodes, names), values, ""
        )
    except EllcError as error:
        inside = "; ".join(error.problems[:3]) or error.message
        raise Unsupported(f"inside it: {inside}") from error
    return wanted_values(known, names)
