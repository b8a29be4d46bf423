"""Imports IF. The reader replaces variables in its branches beforehand (`if_variables.py`)."""

from __future__ import annotations

from collections.abc import Iterable

from ellc.frontends.graph_import.choice import either
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import operand
from ellc.frontends.tflite.inner import import_inner
from ellc.frontends.tflite.model import Tensor, TfliteGraph, TfliteNode
from ellc.frontends.tflite.registry import TFLITE
from ellc.ir.types import DType


@TFLITE.imports(
    "IF", limits="a condition known at import, or branches with results of equal shapes"
)
def if_(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> list[Value]:
    """Return the results of one branch; a computed condition chooses the branch at run time."""
    condition, values = operand(inputs, 0), inputs[1:]
    if condition.type.elements != 1 or condition.dtype is not DType.BOOL:
        raise Unsupported(f"a condition {condition.dtype.value}{list(condition.shape)}")
    if len(node.graphs) != 2:
        raise Unsupported(f"its number of branches is {len(node.graphs)}, not 2")
    for graph in node.graphs:
        _want_same(graph.inputs, node.operands[1:])
        _want_same(graph.outputs, node.results)
    if condition.array is not None:
        return _branch(emitter, node.graphs[0 if condition.array.all() else 1], values)
    then, other = (_branch(emitter, graph, values) for graph in node.graphs)
    return [
        either(emitter, name, a, b, condition)
        for name, a, b in zip(node.outputs, then, other, strict=True)
    ]


def _branch(emitter: Emitter, graph: TfliteGraph, values: Inputs) -> list[Value]:
    return import_inner(emitter, graph, values, range(len(graph.outputs)))


def _want_same(inside: Iterable[Tensor], outside: Iterable[Tensor | None]) -> None:
    """Raise `Unsupported` if a branch and its IF differ in types or quantisation parameters."""
    types = [(t.dtype, t.quant) for t in inside]
    if types != [(t.dtype, t.quant) for t in outside if t]:
        raise Unsupported("its graphs do not fit its operands or results")
