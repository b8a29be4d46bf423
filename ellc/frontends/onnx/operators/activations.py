"""Imports activations; recurrent layers and fused operators use the same table of activations."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.registry import ONNX, no_integers, operand, optional
from ellc.ir.op import Pointwise
from ellc.ir.ops.pointwise import (
    SELU_ALPHA,
    SELU_SCALE,
    Celu,
    Clip,
    Elu,
    Exp,
    Gelu,
    Greater,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Maximum,
    Minimum,
    Mish,
    Mul,
    PRelu,
    Relu,
    Select,
    Selu,
    Shrink,
    Sigmoid,
    Softplus,
    Softsign,
    Sub,
    Swish,
    Tanh,
    ThresholdedRelu,
)

ACTIVATIONS: dict[str, tuple[type[Pointwise], tuple[float, ...]]] = {
    "Celu": (Celu, (1.0,)),
    "Elu": (Elu, (1.0,)),
    "HardSigmoid": (HardSigmoid, (0.2, 0.5)),
    "HardSwish": (HardSwish, ()),
    "LeakyRelu": (LeakyRelu, (0.01,)),
    "Mish": (Mish, ()),
    "Relu": (Relu, ()),
    "Sigmoid": (Sigmoid, ()),
    "Softplus": (Softplus, ()),
    "Softsign": (Softsign, ()),
    "Swish": (Swish, (1.0,)),
    "Tanh": (Tanh, ()),
    "ThresholdedRelu": (ThresholdedRelu, (1.0,)),
}
"""The activations with no attributes but `alpha` and `beta`, and ONNX's defaults for these."""

_NO_INTEGERS = "an activation of integers; cast them to float32"


_BY_LOWER_NAME = {name.lower(): name for name in ACTIVATIONS}


def activation(name: str, alphas: Iterator[float], betas: Iterator[float]) -> Pointwise:
    """The activation of a recurrent layer with this name, in upper or lower case.

    Its parameters, if it has any, are the next items of `alphas` and `betas`.
    """
    if name.lower() not in _BY_LOWER_NAME:
        raise Unsupported(f"the activation '{name}' is not supported")
    cls, defaults = ACTIVATIONS[_BY_LOWER_NAME[name.lower()]]
    pairs = zip((alphas, betas), defaults, strict=False)
    return cls(*(next(given, default) for given, default in pairs))


def parameters_of(name: str) -> dict[str, float]:
    """The attributes of an activation, with their defaults."""
    return dict(zip(("alpha", "beta"), ACTIVATIONS[name][1], strict=False))


def activation_of(node: OnnxNode, name: str) -> Pointwise:
    """The activation with this name, whose parameters are the node's attributes."""
    numbers = (node.number(key, default) for key, default in parameters_of(name).items())
    return ACTIVATIONS[name][0](*numbers)


@ONNX.imports(*ACTIVATIONS)
def activated(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """An activation of one operand."""
    return emitter.add(activation_of(node, node.operator), operand(inputs, 0))


@ONNX.imports("Selu")
def selu(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """gamma * Elu(alpha, x); with ONNX's default parameters it becomes the graph's `Selu`."""
    alpha, gamma = node.number("alpha", SELU_ALPHA), node.number("gamma", SELU_SCALE)
    x = operand(inputs, 0)
    if math.isclose(alpha, SELU_ALPHA, rel_tol=1e-6) and math.isclose(
        gamma, SELU_SCALE, rel_tol=1e-6
    ):
        return emitter.add(Selu(), x)
    scale = emitter.constant(np.array(gamma, x.dtype.numpy))
    below = (
        emitter.add(Elu(alpha), x) if math.isfinite(alpha) else _written_out_elu(emitter, x, alpha)
    )
    return emitter.add(Mul(), below, scale)


def _written_out_elu(emitter: Emitter, x: Value, alpha: float) -> Value:
    """x > 0 ? x : alpha * (e^x - 1), written with simple operators.

    If alpha is not finite, Selu of 0 is NaN (alpha * 0), while the operator `Elu` gives 0.
    """

    def number(of: float) -> Value:
        return emitter.constant(np.array(of, x.dtype.numpy))

    grown = emitter.add(Sub(), emitter.add(Exp(), x), number(1))
    negative = emitter.add(Mul(), grown, number(alpha))
    return emitter.add(Select(), x, negative, emitter.add(Greater(), x, number(0)))


@ONNX.imports("Gelu", "com.microsoft.Gelu")
def gelu(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x times the cumulative normal distribution of x, or its approximation by tanh."""
    approximate = node.text("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise Unsupported(f"the approximation '{approximate}'; 'none' and 'tanh' are supported")
    return emitter.add(Gelu(approximate == "tanh"), operand(inputs, 0))


@ONNX.imports("PRelu", declines=(no_integers(_NO_INTEGERS),))
def prelu(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x if x >= 0, else slope * x; the slope broadcasts to x."""
    return emitter.add(PRelu(), operand(inputs, 0), operand(inputs, 1))


@ONNX.imports("Clip")
def clip(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """min(max(x, low), high); the bounds are operands since version 11, and attributes before."""
    x = operand(inputs, 0)
    if node.version < 11:
        low, high = node.number("min", -math.inf), node.number("max", math.inf)
        return emitter.add(Clip(min(low, high), high), x)
    bounds = [optional(inputs, 1), optional(inputs, 2)]
    if all(b is None or b.is_constant for b in bounds):
        low, high = (_bound(b, end) for b, end in zip(bounds, (-math.inf, math.inf), strict=True))
        # If low > high, the result is high.
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
        raise Unsupported(f"a bound of shape {value.shape}; only a single number is supported")
    return float(array.reshape(-1)[0])


@ONNX.imports("Shrink", declines=(no_integers(_NO_INTEGERS),))
def shrink(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """0 if |x| <= lambd, else x moved towards 0 by `bias`."""
    op = Shrink(node.number("lambd", 0.5), node.number("bias", 0.0))
    return emitter.add(op, operand(inputs, 0))
