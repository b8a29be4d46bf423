"""Graphs inside nodes."""

from __future__ import annotations

from collections.abc import Mapping

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.inner import import_inner
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.shapes import reshaped
from ellc.frontends.onnx.registry import ONNX, operand
from ir.ops.pointwise import Select

_BRANCHES = ("then_branch", "else_branch")


@ONNX.imports("If", limits="a condition known at import, or branches with results of equal shapes")
def if_(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> list[Value]:
    """The results of one branch; a computed condition chooses when the network runs."""
    condition = operand(inputs, 0)
    if condition.type.elements != 1:
        raise Unsupported(f"a condition of shape {condition.shape}")
    around = inputs[len(inputs) - len(node.captured) :]
    values = {n: v for n, v in zip(node.captured, around, strict=True) if v is not None}
    node.ignore(*_BRANCHES)
    if condition.array is not None:
        taken = _BRANCHES[0 if condition.array.all() else 1]
        return import_inner(emitter, node.graph(taken), values, node.label)
    return _chosen(emitter, node, condition, values)


def _chosen(
    emitter: Emitter, node: OnnxNode, condition: Value, values: Mapping[str, Value]
) -> list[Value]:
    """Both branches, and a choice that lets the planner leave one out (`ir.branches`)."""
    then, other = (
        import_inner(emitter, node.graph(branch), values, node.label) for branch in _BRANCHES
    )
    made = []
    for name, a, b in zip(node.outputs, then, other, strict=False):
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            raise Unsupported(
                f"'{name}' is {a.dtype.value}{list(a.shape)} in one branch and "
                f"{b.dtype.value}{list(b.shape)} in the other, and the network computes its "
                "condition; fix the inputs that decide with --set"
            )
        flag = reshaped(emitter, condition, (1,) * a.type.rank)
        made.append(pointwise(emitter, Select(), a, b, flag))
    return made
