"""Activations as kernel IR."""

from __future__ import annotations

import math
from typing import Any

from ellc.codegen.blocks.pointwise import emits
from ellc.codegen.kir import vmath
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.ir.ops import pointwise


@emits(pointwise.Relu)
def _relu(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return b.max(x, b.const(0, x))


@emits(pointwise.LeakyRelu)
def _leaky_relu(op: pointwise.LeakyRelu, b: KernelBuilder, x: Operand) -> Operand:
    return _slope(b, x, b.const(op.slope, x))


@emits(pointwise.PRelu)
def _prelu(op: Any, b: KernelBuilder, x: Operand, alpha: Operand) -> Operand:
    return _slope(b, x, alpha)


def _slope(b: KernelBuilder, x: Operand, slope: Operand) -> Operand:
    return b.select(b.compare("ge", x, b.const(0, x)), x, b.mul(x, slope))


@emits(pointwise.Clip)
def _clip(op: pointwise.Clip, b: KernelBuilder, x: Operand) -> Operand:
    elem = x.type.elem
    if elem.is_float:
        return _between(b, x, op.low, op.high)
    low, high = op.whole_bounds(elem.numpy)
    # As in numpy, the upper bound wins if no integer is between the bounds.
    return b.min(b.max(x, b.const(low, x)), b.const(high, x))


def _between(b: KernelBuilder, x: Operand, low: float, high: float) -> Operand:
    if low != -math.inf:
        x = b.max(x, b.const(low, x))
    return x if high == math.inf else b.min(x, b.const(high, x))


@emits(pointwise.Sigmoid, costly=True)
def _sigmoid(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.sigmoid(b, x)


@emits(pointwise.HardSigmoid)
def _hard_sigmoid(op: pointwise.HardSigmoid, b: KernelBuilder, x: Operand) -> Operand:
    return _between(b, b.mul_add(x, b.const(op.slope, x), b.const(op.offset, x)), 0.0, 1.0)


@emits(pointwise.Tanh, costly=True)
def _tanh(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.tanh(b, x)


@emits(pointwise.Elu, costly=True)
def _elu(op: pointwise.Elu, b: KernelBuilder, x: Operand) -> Operand:
    return _exponential_unit(b, x, 1.0, op.alpha)


@emits(pointwise.Selu, costly=True)
def _selu(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return _exponential_unit(
        b, x, pointwise.SELU_SCALE, pointwise.SELU_SCALE * pointwise.SELU_ALPHA
    )


def _exponential_unit(b: KernelBuilder, x: Operand, above: float, below: float) -> Operand:
    """`above * x` for x >= 0, else `below * (e^x - 1)`."""
    zero = b.const(0, x)
    negative = b.mul(vmath.expm1_negative(b, b.min(x, zero)), b.const(below, x))
    positive = x if above == 1.0 else b.mul(x, b.const(above, x))
    return b.select(b.compare("ge", x, zero), positive, negative)


@emits(pointwise.HardSwish)
def _hard_swish(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    gate = _between(b, b.add(x, b.const(3.0, x)), 0.0, 6.0)
    return b.mul(x, b.mul(gate, b.const(1 / 6, x)))


@emits(pointwise.Softplus, costly=True)
def _softplus(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return vmath.softplus(b, x)


@emits(pointwise.Gelu, costly=True)
def _gelu(op: pointwise.Gelu, b: KernelBuilder, x: Operand) -> Operand:
    if not op.approximate:
        return vmath.gelu(b, x)
    # (1 + tanh(u)) / 2 is the sigmoid of 2u. Unlike the sum, the sigmoid is accurate far below 0.
    factor = 2 * math.sqrt(2 / math.pi)
    square = b.mul(x, x)
    inner = b.mul_add(square, b.const(0.044715 * factor, x), b.const(factor, x))
    return b.mul(x, vmath.sigmoid(b, b.mul(x, inner)))


@emits(pointwise.Swish, costly=True)
def _swish(op: pointwise.Swish, b: KernelBuilder, x: Operand) -> Operand:
    inner = x if op.alpha == 1.0 else b.mul(x, b.const(op.alpha, x))
    return b.mul(x, vmath.sigmoid(b, inner))


@emits(pointwise.Mish, costly=True)
def _mish(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    # With e = exp(x), tanh(log(1 + e)) is (e^2 + 2e) / (e^2 + 2e + 2). For x >= 20 it rounds to 1.
    exponential = vmath.exp(b, b.min(x, b.const(20.0, x)))
    above = b.mul(exponential, b.add(exponential, b.const(2.0, x)))
    return b.mul(x, b.div(above, b.add(above, b.const(2.0, x))))


@emits(pointwise.Softsign)
def _softsign(op: Any, b: KernelBuilder, x: Operand) -> Operand:
    return b.div(x, b.add(b.op("abs", x), b.const(1.0, x)))


@emits(pointwise.ThresholdedRelu)
def _thresholded_relu(op: pointwise.ThresholdedRelu, b: KernelBuilder, x: Operand) -> Operand:
    return b.select(b.compare("gt", x, b.const(op.alpha, x)), x, b.const(0.0, x))


@emits(pointwise.Celu, costly=True)
def _celu(op: pointwise.Celu, b: KernelBuilder, x: Operand) -> Operand:
    zero = b.const(0, x)
    inner = b.mul(b.min(x, zero), b.const(1 / op.alpha, x))
    negative = b.mul(vmath.expm1_negative(b, inner), b.const(op.alpha, x))
    return b.select(b.compare("gt", x, zero), x, negative)


@emits(pointwise.Shrink)
def _shrink(op: pointwise.Shrink, b: KernelBuilder, x: Operand) -> Operand:
    bias, limit = b.const(op.bias, x), b.const(op.limit, x)
    above = b.select(b.compare("gt", x, limit), b.sub(x, bias), b.const(0.0, x))
    return b.select(b.compare("lt", x, b.const(-op.limit, x)), b.add(x, bias), above)
