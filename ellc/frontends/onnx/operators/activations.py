"""Activations."""

from __future__ import annotations

import math

import numpy as np

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.registry import ONNX, no_integers, operand, optional
from ellc.ir.op import Op
from ellc.ir.ops.pointwise import (
    SELU_ALPHA,
    SELU_SCALE,
    Celu,
    Clip,
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Maximum,
    Minimum,
    Mish,
    Mul,
    PRelu,
    Relu,
    Selu,
    Shrink,
    Sigmoid,
    Softplus,
    Softsign,
    Swish,
    Tanh,
    ThresholdedRelu,
)

_PLAIN: dict[str, Op] = {
    "HardSwish": HardSwish(),
    "Mish": Mish(),
    "Relu": Relu(),
    "Sigmoid": Sigmoid(),
    "Softplus": Softplus(),
    "Softsign": Softsign(),
    "Tanh": Tanh(),
}

_NO_WHOLE = "an activation of whole numbers; cast them to float32"


@ONNX.imports(*_PLAIN)
def plain(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """An activation without attributes."""
    return emitter.add(_PLAIN[node.operator], operand(inputs, 0))


@ONNX.imports("LeakyRelu")
def leaky_relu(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x, or alpha * x below 0."""
    return emitter.add(LeakyRelu(node.number("alpha", 0.01)), operand(inputs, 0))


@ONNX.imports("Elu")
def elu(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x, or alpha * (e^x - 1) below 0."""
    return emitter.add(Elu(node.number("alpha", 1.0)), operand(inputs, 0))


@ONNX.imports("Selu")
def selu(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """gamma * Elu(alpha); with the usual constants an operator of its own."""
    alpha, gamma = node.number("alpha", SELU_ALPHA), node.number("gamma", SELU_SCALE)
    x = operand(inputs, 0)
    if math.isclose(alpha, SELU_ALPHA, rel_tol=1e-6) and math.isclose(
        gamma, SELU_SCALE, rel_tol=1e-6
    ):
        return emitter.add(Selu(), x)
    scale = emitter.constant(np.array(gamma, x.dtype.numpy))
    return emitter.add(Mul(), emitter.add(Elu(alpha), x), scale)


@ONNX.imports("HardSigmoid")
def hard_sigmoid(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """clip(alpha * x + beta, 0, 1)."""
    op = HardSigmoid(node.number("alpha", 0.2), node.number("beta", 0.5))
    return emitter.add(op, operand(inputs, 0))


@ONNX.imports("Gelu", "com.microsoft.Gelu")
def gelu(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x times the normal distribution's integral, or its approximation by tanh."""
    approximate = node.text("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise Unsupported(f"the approximation '{approximate}'; 'none' and 'tanh' are supported")
    return emitter.add(Gelu(approximate == "tanh"), operand(inputs, 0))


@ONNX.imports("PRelu", declines=(no_integers(_NO_WHOLE),))
def prelu(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x, or slope * x below 0; the slope broadcasts to x."""
    return emitter.add(PRelu(), operand(inputs, 0), operand(inputs, 1))


@ONNX.imports("Clip")
def clip(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """min(max(x, low), high); the bounds are attributes before version 11, then operands."""
    x = operand(inputs, 0)
    if node.version < 11:
        low, high = node.number("min", -math.inf), node.number("max", math.inf)
        return emitter.add(Clip(min(low, high), high), x)
    bounds = [optional(inputs, 1), optional(inputs, 2)]
    if all(b is None or b.is_constant for b in bounds):
        low, high = (_bound(b, end) for b, end in zip(bounds, (-math.inf, math.inf), strict=True))
        # Where the bounds cross, the upper one wins.
        return emitter.add(Clip(min(low, high), high), x)
    for bound, op in zip(bounds, (Maximum(), Minimum()), strict=True):
        if bound is not None:
            x = pointwise(emitter, op, x, bound)
    return x


def _bound(value: Value | None, missing: float) -> float:
    if value is None:
        return missing
    array = known(value, "the bound")
    if array.size != 1:
        raise Unsupported(f"a bound of shape {value.shape}; one number is supported")
    return float(array.reshape(-1)[0])


@ONNX.imports("Swish")
def swish(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x * sigmoid(alpha * x)."""
    return emitter.add(Swish(node.number("alpha", 1.0)), operand(inputs, 0))


@ONNX.imports("ThresholdedRelu")
def thresholded_relu(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x above alpha, else 0."""
    return emitter.add(ThresholdedRelu(node.number("alpha", 1.0)), operand(inputs, 0))


@ONNX.imports("Celu")
def celu(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x, or alpha * (e^(x / alpha) - 1) below 0."""
    return emitter.add(Celu(node.number("alpha", 1.0)), operand(inputs, 0))


@ONNX.imports("Shrink", declines=(no_integers(_NO_WHOLE),))
def shrink(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """0 where |x| <= lambd; elsewhere x drawn toward 0 by bias."""
    op = Shrink(node.number("lambd", 0.5), node.number("bias", 0.0))
    return emitter.add(op, operand(inputs, 0))
