"""Imports If and SequenceMap, operators with inner graphs; `loops` imports Scan and Loop."""

from __future__ import annotations

from collections.abc import Mapping

from ellc.frontends.graph_import.choice import either
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, SequenceValue, Unsupported, Value
from ellc.frontends.onnx.inner import import_inner, own_and_captured
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.registry import ONNX, operand

_BRANCHES = ("then_branch", "else_branch")


@ONNX.imports(
    "If",
    limits="a condition known at import, or branches with results of equal shapes",
    sequences=True,
)
def if_(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> list[Value]:
    """The results of the branch that the condition chooses, at import or in each call."""
    condition = operand(inputs, 0)
    if condition.type.elements != 1:
        raise Unsupported(f"a condition of shape {condition.shape}")
    _, values = own_and_captured(node, inputs)
    node.ignore(*_BRANCHES)
    if condition.array is not None:
        branch = _BRANCHES[0 if condition.array.all() else 1]
        return import_inner(emitter, node.graph(branch), values, node.label)
    return _chosen(emitter, node, condition, values)


def _chosen(
    emitter: Emitter, node: OnnxNode, condition: Value, values: Mapping[str, Value]
) -> list[Value]:
    """Import both branches and add a select; a call skips one branch (`ellc.ir.branches`)."""
    then, other = (
        import_inner(emitter, node.graph(branch), values, node.label) for branch in _BRANCHES
    )
    return [
        either(emitter, name, a, b, condition)
        for name, a, b in zip(node.outputs, then, other, strict=False)
    ]


@ONNX.imports("SequenceMap", sequences=True)
def sequence_map(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> list[Value]:
    """Apply a graph to each tensor of a sequence, or of several sequences at once."""
    own, captured = own_and_captured(node, inputs)
    body, values = node.graph("body"), [operand(own, i) for i in range(len(own))]
    lengths = {len(v.items) for v in values if isinstance(v, SequenceValue)}
    if (
        not isinstance(values[0], SequenceValue)
        or len(lengths) != 1
        or len(body.inputs) != len(values)
    ):
        raise Unsupported("its body does not fit its operands")
    names, rows = [i.name for i in body.inputs], []
    for index in range(lengths.pop()):
        items = [v.items[index] if isinstance(v, SequenceValue) else v for v in values]
        given = {**captured, **dict(zip(names, items, strict=True))}
        rows.append(import_inner(emitter, body, given, node.label))
    return [SequenceValue.of(row[i] for row in rows) for i in range(len(body.outputs))]
