"""Imports one step of an optimiser, for a device that continues to train the weights."""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.dense import scaled
from ellc.frontends.onnx.registry import ONNX, operand
from ellc.ir.ops.pointwise import Add, Greater, Mul, Select, Sub


@ONNX.imports("ai.onnx.preview.training.Momentum")
def momentum(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> list[Value]:
    """Compute the new weights, then the new momenta.

    The operands are the rate, the number of steps so far, all weights x, all gradients g and all
    momenta v. The new momentum is v' = alpha v + beta g', where g' = g + norm_coefficient x, and
    beta counts as 1 in the first step. The weights change by -rate v', or with Nesterov's momentum
    by -rate (g' + alpha v').
    """
    rate, steps, count = operand(inputs, 0), operand(inputs, 1), (len(inputs) - 2) // 3
    alpha, beta, norm = (node.number(n) for n in ("alpha", "beta", "norm_coefficient"))
    mode = node.text("mode")
    if mode not in ("standard", "nesterov"):
        raise Unsupported(f"the mode '{mode}'")
    zero = emitter.constant(np.zeros((), steps.dtype.numpy))
    later = pointwise(emitter, Greater(), steps, zero)
    weights, momenta = [], []
    for index in range(2, 2 + count):
        x, gradient, v = (operand(inputs, index + i * count) for i in range(3))
        g = emitter.add(Add(), scaled(emitter, x, norm), gradient)
        grown = pointwise(emitter, Select(), scaled(emitter, g, beta), g, later)
        v = emitter.add(Add(), scaled(emitter, v, alpha), grown)
        descent = v if mode == "standard" else emitter.add(Add(), g, scaled(emitter, v, alpha))
        weights.append(emitter.add(Sub(), x, pointwise(emitter, Mul(), descent, rate)))
        momenta.append(v)
    return [*weights, *momenta]
