"""Normalisation per channel."""

from __future__ import annotations

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.shapes import first_axis_last, transposed
from ellc.frontends.onnx.registry import ONNX, one_result, operand
from ir.ops.norm import BatchNorm


@ONNX.imports("BatchNormalization", limits="for inference")
def batch_normalization(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta for every channel (axis 1)."""
    node.ignore("momentum")
    if node.flag("training_mode") or (node.version < 7 and not node.flag("is_test")):
        raise Unsupported("it is in training mode; export the model for inference")
    if not node.flag("spatial", True):
        raise Unsupported("statistics per element (spatial=0) are not supported")
    one_result(node, "the statistics of training are not supported")
    x, gamma, beta, mean, variance = (operand(inputs, i) for i in range(5))
    if x.type.rank < 2:
        raise Unsupported(f"a tensor of rank {x.type.rank} has no channels")
    there, back = first_axis_last(x.type.rank, 1)
    op = BatchNorm(node.number("epsilon", 1e-5))
    made = emitter.add(op, transposed(emitter, x, there), gamma, beta, mean, variance)
    return transposed(emitter, made, back)
