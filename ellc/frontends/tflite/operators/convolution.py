"""Imports convolutions and matrix products. With float activations, int8 weights become floats."""

from __future__ import annotations

from collections.abc import Sequence

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.tflite.common import (
    activated,
    is_stored,
    operand,
    optional,
    padding_along,
    tensor,
    want_float,
    window_padding,
)
from ellc.frontends.tflite.model import NodeOptions, TfliteNode
from ellc.frontends.tflite.operators.quantised_convolution import (
    stored_convolution,
    stored_dense,
    stored_product,
    stored_transpose_convolution,
)
from ellc.frontends.tflite.registry import NOT_ON_INTEGERS, TFLITE, DeclinedOption
from ellc.frontends.tflite.scales import dequantized
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.conv_transpose import ConvTranspose2D
from ellc.ir.ops.dense import Dense, MatMul
from ellc.ir.ops.shape import Reshape, Transpose
from ellc.ir.types import DType

Pair = tuple[int, int]


def strides_of(options: NodeOptions) -> Pair:
    """The strides along rows and columns."""
    return options.whole("StrideH"), options.whole("StrideW")


def dilations_of(options: NodeOptions) -> Pair:
    """The dilations along rows and columns."""
    return options.whole("DilationHFactor"), options.whole("DilationWFactor")


def groups_of(x: Value, weights: Value) -> int:
    """The number of groups of a convolution with weights [F,kh,kw,C/groups]."""
    depth = weights.shape[3] if weights.type.rank == 4 else 0
    if x.type.rank != 4 or depth < 1 or x.shape[3] % depth:
        raise Unsupported(f"an image {x.shape} and weights {weights.shape} do not fit")
    return x.shape[3] // depth


HYBRID_NOTE = (
    "the model's 8-bit weights beside float activations are computed as floats; TensorFlow Lite "
    "rounds what they multiply to 8 bits first, and its results differ by that rounding"
)


def float_weights(emitter: Emitter, node: TfliteNode, weights: Value, index: int = 1) -> Value:
    """Convert weights to floats. For int8 weights, also add a note.

    Raises `Unsupported` for uint8 weights.
    """
    if weights.dtype is DType.U8:
        # Old converters stored signed numbers with the type uint8, so the meaning is ambiguous.
        raise Unsupported("uint8 weights with float activations; int8 weights are supported")
    if weights.dtype.is_float:
        return weights
    emitter.note(HYBRID_NOTE)
    return dequantized(emitter, weights, tensor(node, index))


def filters_first(emitter: Emitter, weights: Value) -> Value:
    """Convert depthwise weights [1,kh,kw,F] to [F,kh,kw,1]."""
    if weights.type.rank != 4 or weights.shape[0] != 1:
        raise Unsupported(f"depthwise weights of shape {weights.shape}")
    return emitter.add(Transpose((3, 1, 2, 0)), weights)


def _present(*values: Value | None) -> list[Value]:
    return [value for value in values if value is not None]


_SHUFFLED = DeclinedOption("WeightsFormat", "shuffled weights")


@TFLITE.imports(
    "CONV_2D",
    limits="float weights of 8 bits are dequantised at import",
    declines=(NOT_ON_INTEGERS,),
)
def conv_2d(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Import a convolution with weights [F,kh,kw,C/groups]."""
    x, weights, bias = operand(inputs, 0), operand(inputs, 1), optional(inputs, 2)
    options, groups = node.options, groups_of(x, weights)
    stride, dilation = strides_of(options), dilations_of(options)
    padding = window_padding(options, x, weights.shape[1:3], stride, dilation)
    if is_stored(node):
        return stored_convolution(
            emitter, node, x, weights, bias, stride, padding, dilation, groups
        )
    op = Conv2D(stride, padding, dilation, groups)
    operands = (want_float(x), float_weights(emitter, node, weights), *_present(bias))
    return activated(emitter, emitter.add(op, *operands), options.activation)


@TFLITE.imports("DEPTHWISE_CONV_2D", limits="weights as for CONV_2D", declines=(NOT_ON_INTEGERS,))
def depthwise_conv_2d(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Apply one or several filters to each channel; filter f reads channel f // multiplier."""
    x, weights, bias = operand(inputs, 0), operand(inputs, 1), optional(inputs, 2)
    options = node.options
    stride, dilation = strides_of(options), dilations_of(options)
    if x.type.rank != 4 or weights.type.rank != 4:
        raise Unsupported(f"an image {x.shape} and weights {weights.shape} do not fit")
    padding = window_padding(options, x, weights.shape[1:3], stride, dilation)
    if is_stored(node):
        filters = filters_first(emitter, weights)
        return stored_convolution(
            emitter, node, x, filters, bias, stride, padding, dilation, x.shape[3]
        )
    filters = filters_first(emitter, float_weights(emitter, node, weights))
    op = Conv2D(stride, padding, dilation, x.shape[3])
    value = emitter.add(op, want_float(x), filters, *_present(bias))
    return activated(emitter, value, options.activation)


@TFLITE.imports(
    "TRANSPOSE_CONV",
    limits="the result's shape must be a constant",
    declines=(NOT_ON_INTEGERS,),
)
def transpose_conv(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Import a transposed convolution: each pixel times the filters is added to a result window."""
    shape = known_ints(operand(inputs, 0), "the result's shape")
    weights, x, bias = operand(inputs, 1), operand(inputs, 2), optional(inputs, 3)
    if x.type.rank != 4 or weights.type.rank != 4 or len(shape) != 4:
        raise Unsupported(f"an image {x.shape}, weights {weights.shape} and a result {shape}")
    stride = strides_of(node.options)
    crop, extra = _crop(node.options, x.shape, shape, weights.shape[1:3], stride)
    if not x.dtype.is_float:
        return stored_transpose_convolution(emitter, node, x, weights, bias, stride, crop, extra)
    op = ConvTranspose2D(stride, crop, extra)
    operands = (want_float(x), float_weights(emitter, node, weights), *_present(bias))
    return activated(emitter, emitter.add(op, *operands), node.options.activation)


def _crop(
    options: NodeOptions,
    x: Sequence[int],
    shape: Sequence[int],
    window: Sequence[int],
    stride: Pair,
) -> tuple[tuple[int, int, int, int], Pair]:
    """Return ((top, left, bottom, right) to cut off, (rows, columns) to add at the end)."""
    if min(*x, *shape, *window, *stride) < 1:
        raise Unsupported(f"a result {tuple(shape)} of an image {tuple(x)} by strides {stride}")
    (top, bottom, more_rows), (left, right, more_columns) = (
        crop_along(options.whole("Padding"), *axis)
        for axis in zip(x[1:3], shape[1:3], window, stride, strict=True)
    )
    return (top, left, bottom, right), (more_rows, more_columns)


def crop_along(
    scheme: int, extent: int, size: int, window: int, stride: int, dilation: int = 1
) -> tuple[int, int, int]:
    """Return how much to cut off before and after the full result, and how much to add after it.

    The numbers are for one axis, along which the operand has `extent` elements and the result has
    `size` elements.
    """
    before, _ = padding_along(scheme, size, window, stride, dilation)
    full_size = (extent - 1) * stride + dilation * (window - 1) + 1 - before
    return before, max(full_size - size, 0), max(size - full_size, 0)


@TFLITE.imports(
    "FULLY_CONNECTED",
    limits="no shuffled weights; weights otherwise as for CONV_2D",
    declines=(NOT_ON_INTEGERS, _SHUFFLED),
)
def fully_connected(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Apply a dense layer with weights [units, depth] to the operand, reshaped to [rows, depth].

    With `KeepNumDims`, an operand whose last axis has the extent `depth` is not reshaped.
    """
    x, weights, bias = operand(inputs, 0), operand(inputs, 1), optional(inputs, 2)
    if node.options.whole("WeightsFormat"):
        raise Unsupported(_SHUFFLED.reason)
    depth = weights.shape[1] if weights.type.rank == 2 else 0
    if depth < 1 or x.type.elements % depth:
        raise Unsupported(f"an operand {x.shape} and weights {weights.shape} do not fit")
    keep = node.options.flag("KeepNumDims") and x.shape[-1:] == (depth,)
    rows = x if keep else _as(emitter, x, (x.type.elements // depth, depth))
    if is_stored(node):
        return stored_dense(emitter, node, rows, weights, bias)
    operands = (want_float(rows), float_weights(emitter, node, weights), *_present(bias))
    return activated(emitter, emitter.add(Dense(), *operands), node.options.activation)


@TFLITE.imports("BATCH_MATMUL", limits="8-bit weights with floats are dequantised")
def batch_matmul(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Multiply matrices. The network may compute either or both of them; leading axes broadcast."""
    a, b = operand(inputs, 0), operand(inputs, 1)
    transpose = node.options.flag("AdjX"), node.options.flag("AdjY")
    if is_stored(node):
        return stored_product(emitter, node, a, b, *transpose)
    return emitter.add(MatMul(*transpose), want_float(a), float_weights(emitter, node, b))


def _as(emitter: Emitter, x: Value, shape: tuple[int, ...]) -> Value:
    return x if x.shape == shape else emitter.add(Reshape(shape), x)
