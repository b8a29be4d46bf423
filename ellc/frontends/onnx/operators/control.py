"""Graphs inside nodes."""

from __future__ import annotations

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.onnx.inner import import_inner
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.registry import ONNX, operand


@ONNX.imports("If", limits="a condition known at import")
def if_(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> list[Value]:
    """The results of one branch."""
    condition = known(operand(inputs, 0), "the condition")
    if condition.size != 1:
        raise Unsupported(f"a condition of shape {condition.shape}")
    taken, other = ("then_branch", "else_branch")[:: 1 if condition.all() else -1]
    node.ignore(other)
    around = inputs[len(inputs) - len(node.captured) :]
    values = {n: v for n, v in zip(node.captured, around, strict=True) if v is not None}
    return import_inner(emitter, node.graph(taken), values, node.label)
