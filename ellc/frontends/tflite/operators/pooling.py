"""Imports pools. Padding never contributes to a result."""

from __future__ import annotations

from dataclasses import replace

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import (
    activated,
    is_stored,
    operand,
    result,
    tensor,
    want_float,
    window_padding,
)
from ellc.frontends.tflite.model import NodeOptions, TfliteNode
from ellc.frontends.tflite.operators.convolution import strides_of
from ellc.frontends.tflite.registry import NOT_ON_INTEGERS, TFLITE
from ellc.frontends.tflite.scales import activation_range, limits_of, scalar_quant
from ellc.ir.ops.activations import Clip
from ellc.ir.ops.functions import Sqrt, Square
from ellc.ir.ops.pool import LOWEST, AvgPool2D, MaxPool2D
from ellc.ir.ops.quantised_pool import IntAvgPool2D


def _window(options: NodeOptions) -> tuple[int, int]:
    return options.whole("FilterHeight"), options.whole("FilterWidth")


def _want_same_scale(node: TfliteNode) -> None:
    """Raise `Unsupported` unless the operand and the result have the same scale and zero point.

    The kernels of quantised pools compute with the stored integers and do not convert their scales.
    """
    if scalar_quant(tensor(node, 0)) != scalar_quant(result(node)):
        raise Unsupported("operand and result have different scales or zero points")


@TFLITE.imports("AVERAGE_POOL_2D", declines=(NOT_ON_INTEGERS,))
def average_pool_2d(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute the mean under each window, without the padding."""
    x, options = operand(inputs, 0), node.options
    window, stride = _window(options), strides_of(options)
    padding = window_padding(options, x, window, stride)
    if is_stored(node):
        _want_same_scale(node)
        low, high = activation_range(options.activation, result(node))
        return emitter.add(IntAvgPool2D(window, stride, padding, low, high), x)
    pool = AvgPool2D(window, stride, padding, include_padding=False)
    return activated(emitter, emitter.add(pool, want_float(x)), options.activation)


@TFLITE.imports("MAX_POOL_2D", declines=(NOT_ON_INTEGERS,))
def max_pool_2d(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute the maximum under each window, without the padding."""
    x, options = operand(inputs, 0), node.options
    window, stride = _window(options), strides_of(options)
    padding = replace(window_padding(options, x, window, stride), values=LOWEST.values)
    value = emitter.add(MaxPool2D(window, stride, padding), x)
    if not is_stored(node):
        return activated(emitter, value, options.activation)
    _want_same_scale(node)
    low, high = activation_range(options.activation, result(node))
    if (low, high) == limits_of(value.dtype):
        return value
    return emitter.add(Clip(float(low), float(high)), value)


@TFLITE.imports("L2_POOL_2D", limits="floats only")
def l2_pool_2d(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Compute the root of the mean square under each window, without the padding."""
    x, options = want_float(operand(inputs, 0)), node.options
    window, stride = _window(options), strides_of(options)
    padding = window_padding(options, x, window, stride)
    pool = AvgPool2D(window, stride, padding, include_padding=False)
    mean = emitter.add(pool, emitter.add(Square(), x))
    return activated(emitter, emitter.add(Sqrt(), mean), options.activation)
