"""Imports the operators of Larq Compute Engine: convolutions and pools of signs.

The file packs 32 signs along the channels into an int32: bit 0 is 1, bit 1 is -1, the first channel
is the lowest bit. Here, such a tensor is a float tensor of signs with one element for each channel;
the pass `binary_products` computes with bits. `checks.py` lets no other operator read it.

An accumulator counts the positions where signs differ. Of n products, their sum is n - 2 * count.
After a fused activation of the sum, a float or 8-bit result is sum * multiplier + bias; a result of
signs is -1 where the count is above a threshold. The runtime computes count * -2 * multiplier +
(bias + n * multiplier), which may differ in the last bit.

Sources: the kernels and the converter of larq/compute-engine (core/bconv2d, core/bitpacking,
tflite/kernels, mlir/ir).
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.tflite.common import (
    BYTES,
    activated,
    operand,
    result,
    tensor,
    window_padding,
)
from ellc.frontends.tflite.model import FusedActivation, NodeOptions, TfliteNode
from ellc.frontends.tflite.registry import TFLITE
from ellc.frontends.tflite.scales import quantized, scale_of, zero_of
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.pointwise import Add, Cast, GreaterEqual, Mul, MulAdd
from ellc.ir.ops.pool import LOWEST, MaxPool2D
from ellc.ir.types import Array, DType, Padding

_WORD = 32
_SCHEMES = {"SAME": 0, "VALID": 1}


@TFLITE.imports("CUSTOM:LceQuantize", limits="floats or 8 bits")
def signs(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """x >= 0 ? 1 : -1; of stored integers, x >= zero point ? 1 : -1."""
    x = operand(inputs, 0)
    if not (x.dtype.is_float or x.dtype in BYTES):
        raise Unsupported(f"signs of {x.dtype.value}")
    zero = 0 if x.dtype.is_float else zero_of(tensor(node, 0))
    return _fits(_signs_from(emitter, x, np.full(1, zero, x.dtype.numpy)), node)


@TFLITE.imports("CUSTOM:LceDequantize", limits="floats or 8 bits")
def numbers(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """The signs as floats, or as stored integers that mean 1 and -1."""
    return _fits(_stored(emitter, _signs(inputs), node), node)


@TFLITE.imports("CUSTOM:LceBMaxPool2d", limits="signs")
def max_pool(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """The largest sign under each window; what is outside of the image never counts."""
    x, options = _signs(inputs), node.options
    window = options.whole("filter_height"), options.whole("filter_width")
    stride = options.whole("stride_height"), options.whole("stride_width")
    padding = window_padding(_scheme(options), x, window, stride)
    around = Padding(*padding.amounts, LOWEST.values)
    return _fits(emitter.add(MaxPool2D(window, stride, around), x), node)


@TFLITE.imports("CUSTOM:LceBconv2d", limits="constant weights")
def convolution(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """(signs, weights, multiplier, bias, thresholds): a convolution of signs with signs."""
    x, options = _signs(inputs), node.options
    channels, outside = options.whole("channels_in"), options.whole("pad_values")
    weights, groups = _weights(emitter, operand(inputs, 1, "weights"), channels)
    if x.type.rank != 4 or x.shape[3] != channels:
        raise Unsupported(f"an image of shape {x.shape} and channels_in = {channels}")
    if outside not in (0, 1):
        raise Unsupported(f"pad_values = {outside}; it must be 0 or 1")
    stride = options.whole("stride_height"), options.whole("stride_width")
    dilation = options.whole("dilation_height_factor"), options.whole("dilation_width_factor")
    padding = window_padding(_scheme(options), x, weights.shape[1:3], stride, dilation)
    op = Conv2D(stride, Padding(*padding.amounts, (float(outside),)), dilation, groups)
    sums, activation = emitter.add(op, x, emitter.constant(weights)), _activation(options)
    if result(node).dtype is DType.I32:
        most = _thresholds(operand(inputs, 4, "thresholds"), weights)
        return _fits(_signs_from(emitter, sums, most), node)
    y = activated(emitter, sums, activation)
    for op_, index in ((Mul(), 2), (Add(), 3)):
        y = emitter.add(op_, y, emitter.constant(_floats(node, inputs, index, len(weights))))
    return _fits(_stored(emitter, y, node), node)


def _signs_from(emitter: Emitter, x: Value, least: Array) -> Value:
    """x >= least ? 1 : -1, as floats; `least` broadcasts to x."""
    is_positive = pointwise(emitter, GreaterEqual(), x, emitter.constant(least))
    two, minus = (emitter.constant(np.full(1, v, np.float32)) for v in (2, -1))
    return emitter.add(MulAdd(), emitter.add(Cast(DType.F32), is_positive), two, minus)


def _signs(inputs: Inputs) -> Value:
    """The first operand, if an operator of this family made it."""
    x = operand(inputs, 0)
    if not x.dtype.is_float:
        raise Unsupported("its operand is not the result of an operator that makes signs")
    return x


def _fits(y: Value, node: TfliteNode) -> Value:
    """The result, if the file declares its shape; signs are declared in words of 32."""
    declared = result(node)
    words = -(-y.shape[-1] // _WORD) if declared.dtype is DType.I32 else y.shape[-1]
    shape = (*y.shape[:-1], words)
    if len(shape) != len(declared.shape) or shape[1:] != declared.shape[1:]:
        raise Unsupported(f"its result has the shape {shape}, but the file says {declared.shape}")
    return y


def _stored(emitter: Emitter, y: Value, node: TfliteNode) -> Value:
    """Floats as the file declares the result: as they are, or as stored integers."""
    to = result(node)
    if to.dtype.is_float:
        return y
    if to.dtype not in BYTES:
        raise Unsupported(f"a result of type {to.kind}")
    return quantized(emitter, y, to)


def _weights(emitter: Emitter, value: Value, channels: int) -> tuple[Array, int]:
    """Weights 1 and -1 of shape [filters, rows, columns, channels of a group], and the groups."""
    array = known(value, "the weights")
    if array.ndim != 4 or channels < 1:
        raise Unsupported(f"weights of shape {array.shape} for {channels} channels")
    if array.dtype != np.int32:
        signs_ = np.asarray(np.where(array >= 0, 1, -1), np.float32)
        return signs_, max(1, channels // array.shape[3])
    words = -(-channels // _WORD)
    groups = max(1, words // max(1, array.shape[3]))
    depth = channels // groups
    whole = groups == 1 or depth % _WORD == 0
    if not whole or -(-depth // _WORD) != array.shape[3] or depth * groups != channels:
        raise Unsupported(f"weights of {array.shape[3]} words for {channels} channels")
    emitter.want_room(*array.shape[:3], depth)
    places = emitter.counted(depth)
    bits = array[..., places // _WORD] >> (places % _WORD) & 1
    return np.asarray(1 - 2 * bits, np.float32), groups


def _thresholds(value: Value, weights: Array) -> Array:
    """The least sum of each filter for which the result is 1.

    The result is -1 where the count of different signs is above the threshold, that is, where the
    sum n - 2 * count is below n - 2 * threshold.
    """
    found, products = known(value, "the thresholds"), weights[0].size
    if found.shape != (len(weights),) or found.dtype != np.int32:
        raise Unsupported(f"thresholds of shape {found.shape} for {len(weights)} filters")
    least = products - 2 * found.astype(np.int64)
    return np.asarray(np.clip(least, -products, products + 1), np.float32)


def _floats(node: TfliteNode, inputs: Inputs, index: int, count: int) -> Array:
    """A factor or an offset of each filter, as floats or stored integers."""
    array = known(operand(inputs, index), "the factors of filters")
    if array.shape != (count,):
        raise Unsupported(f"an operand of shape {array.shape} for {count} filters")
    if array.dtype == np.float32:
        return array
    declared = tensor(node, index)
    scale = scale_of(declared)
    return np.asarray((array.astype(np.float32) - zero_of(declared)) * scale, np.float32)


def _scheme(options: NodeOptions) -> NodeOptions:
    """The padding scheme under the name that `window_padding` reads.

    Old converters write texts, later ones the numbers of the schema.
    """
    name = options.text("padding").upper()
    scheme = _SCHEMES.get(name, -1) if name else options.whole("padding")
    return NodeOptions(MappingProxyType({"Padding": scheme}))


def _activation(options: NodeOptions) -> FusedActivation:
    name = options.text("fused_activation_function")
    try:
        if name:
            return FusedActivation[name]
        return FusedActivation(options.whole("fused_activation_function"))
    except (KeyError, ValueError):
        raise Unsupported("its fused activation is unknown") from None
