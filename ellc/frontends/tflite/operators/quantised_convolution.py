"""Imports convolutions, dense layers and matrix products of stored integers.

A layer computes exact sums and then requantises them: it multiplies each sum by the factor input
scale * weight scale / result scale. For uint8 layers, where the weights have one scale, and for
matrix products, the reference kernels round the product of input scale and weight scale to float32.
"""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import BYTES, result, tensor
from ellc.frontends.tflite.model import FusedActivation, Tensor, TfliteNode
from ellc.frontends.tflite.operators.wide_layers import wide_layer, wide_product
from ellc.frontends.tflite.scales import quant_of, requantize, scale_of, zero_of
from ellc.ir.op import Op
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.conv_transpose import IntConvTranspose2D
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense, IntMatMul
from ellc.ir.types import DType, Padding

Pair = tuple[int, int]


def channel_factors(x: Tensor, weights: Tensor, to: Tensor) -> list[float]:
    """The factor for all filters, or one factor for each filter, computed in double precision."""
    scales = quant_of(weights).scale
    return [float(scale_of(x)) * float(np.float32(s)) / float(scale_of(to)) for s in scales]


def tensor_factor(x: Tensor, weights: Tensor, to: Tensor) -> float:
    """The factor for weights with one scale; the product of the scales is rounded to float32."""
    return float(scale_of(x) * scale_of(weights)) / float(scale_of(to))


def summed(emitter: Emitter, op: Op, x: Value, weights: Value, bias: Value | None) -> Value:
    """The 32-bit sums of an integer operator on x and weights, plus an optional bias."""
    if x.dtype not in BYTES or weights.dtype not in BYTES:
        raise Unsupported(f"{x.dtype.value} with weights of {weights.dtype.value}")
    if bias is None:
        return emitter.add(op, x, weights)
    if bias.dtype is not DType.I32:
        bias = emitter.add(Cast(DType.I32), bias)
    return emitter.add(op, x, weights, bias)


def stored_convolution(
    emitter: Emitter,
    node: TfliteNode,
    x: Value,
    weights: Value,
    bias: Value | None,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> Value:
    """Import CONV_2D and DEPTHWISE_CONV_2D, with weights [F,kh,kw,C/groups]."""
    source, filters, to = tensor(node, 0), tensor(node, 1), result(node)
    op = IntConv2D(stride, padding, dilation, groups, zero_of(source), _weight_zero(filters))
    if x.dtype is DType.I16:
        factors = channel_factors(source, filters, to)
        return wide_layer(emitter, op, (x, weights, bias), factors, to, node.options.activation)
    total = summed(emitter, op, x, weights, bias)
    return requantize(emitter, total, _factors(source, filters, to), to, node.options.activation)


def stored_transpose_convolution(
    emitter: Emitter,
    node: TfliteNode,
    x: Value,
    weights: Value,
    bias: Value | None,
    stride: Pair,
    crop: tuple[int, int, int, int],
    extra: Pair,
) -> Value:
    """Import TRANSPOSE_CONV, with weights [F,kh,kw,C]."""
    source, filters, to = tensor(node, 2), tensor(node, 1), result(node)
    op = IntConvTranspose2D(
        stride, crop, extra, input_zero=zero_of(source), weight_zero=_weight_zero(filters)
    )
    if x.dtype is DType.I16:
        factors = channel_factors(source, filters, to)
        return wide_layer(emitter, op, (x, weights, bias), factors, to, node.options.activation)
    total = summed(emitter, op, x, weights, bias)
    return requantize(emitter, total, _factors(source, filters, to), to, node.options.activation)


def stored_dense(
    emitter: Emitter, node: TfliteNode, x: Value, weights: Value, bias: Value | None
) -> Value:
    """Import FULLY_CONNECTED along the last axis, with weights [F,K]."""
    source, filters, to = tensor(node, 0), tensor(node, 1), result(node)
    quant = quant_of(filters)
    # Of all layers, only this one has kernels that subtract a zero point from signed weights too.
    zeros = quant.zero_point[:1] if len(quant.scale) == 1 else (0,)
    op, factors = IntDense(zero_of(source), zeros), _factors(source, filters, to)
    if x.dtype is DType.I16:
        return wide_layer(emitter, op, (x, weights, bias), factors, to, node.options.activation)
    total = summed(emitter, op, x, weights, bias)
    return requantize(emitter, total, factors, to, node.options.activation, "tflite_once")


def _factors(source: Tensor, filters: Tensor, to: Tensor) -> list[float]:
    if source.dtype is DType.U8:
        return [tensor_factor(source, filters, to)]
    return channel_factors(source, filters, to)


def _weight_zero(filters: Tensor) -> tuple[int, ...]:
    """The zero point of unsigned filters, or 0 for signed filters, which must not have one."""
    quant = quant_of(filters)
    if filters.dtype is DType.U8:
        return (zero_of(filters),)
    if any(quant.zero_point):
        raise Unsupported(f"signed weights '{filters.name}' with a zero point that is not 0")
    return (0,)


def stored_product(
    emitter: Emitter, node: TfliteNode, a: Value, b: Value, transpose_a: bool, transpose_b: bool
) -> Value:
    """Import BATCH_MATMUL of stored integers; each operand has one scale and one zero point."""
    left, right, to = tensor(node, 0), tensor(node, 1), result(node)
    if a.dtype is DType.I16:
        if zero_of(left) or zero_of(right):
            raise Unsupported("16-bit matrices with zero points")
        factor = tensor_factor(left, right, to)
        return wide_product(emitter, a, b, (transpose_a, transpose_b), factor, to)
    op = IntMatMul(zero_of(left), (zero_of(right),), transpose_a, transpose_b)
    total = summed(emitter, op, a, b, None)
    return requantize(emitter, total, [tensor_factor(left, right, to)], to, FusedActivation.NONE)
