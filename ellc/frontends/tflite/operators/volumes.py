"""Imports float convolutions of volumes [N,D,H,W,C]."""

from __future__ import annotations

from collections.abc import Sequence

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.graph_import.volumes import (
    filters_as_pixels,
    pixels_as_volumes,
    transposed_positions,
    volumes_as_pixels,
    window_positions,
)
from ellc.frontends.tflite.common import activated, operand, optional, padding_along, want_float
from ellc.frontends.tflite.model import NodeOptions, TfliteNode
from ellc.frontends.tflite.operators.convolution import crop_along
from ellc.frontends.tflite.registry import TFLITE
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.conv_transpose import ConvTranspose2D
from ellc.ir.types import Padding

Triple = tuple[int, int, int]


def _steps_of(options: NodeOptions) -> tuple[Triple, Triple]:
    """The strides and the dilations along depth, rows and columns."""
    depth, rows, columns = (
        (options.whole(f"Stride{axis}"), options.whole(f"Dilation{axis}Factor")) for axis in "DHW"
    )
    strides, dilations = zip(depth, rows, columns, strict=True)
    if min(*strides, *dilations) < 1:
        raise Unsupported(f"strides {strides} and dilations {dilations}, of which one is below 1")
    return strides, dilations


def _want_volumes(x: Value, weights: Value, channels: int) -> None:
    """Raise `Unsupported` unless axis `channels` of the weights matches the channels of x."""
    ranks = x.type.rank, weights.type.rank
    if ranks != (5, 5) or x.shape[4] != weights.shape[channels]:
        raise Unsupported(f"volumes {x.shape} and weights {weights.shape} do not fit")


@TFLITE.imports("CONV_3D", limits="float32")
def conv_3d(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Import a convolution of volumes with weights [kd,kh,kw,C,F] and an optional bias."""
    x, weights = want_float(operand(inputs, 0)), want_float(operand(inputs, 1), "weights")
    _want_volumes(x, weights, 3)
    kernel, (strides, dilations) = weights.shape[:3], _steps_of(node.options)
    scheme = node.options.whole("Padding")
    (before, after), (top, bottom), (left, right) = (
        padding_along(scheme, *axis)
        for axis in zip(x.shape[1:4], kernel, strides, dilations, strict=True)
    )
    reach = dilations[0] * (kernel[0] - 1) + 1
    count = (x.shape[1] + before + after - reach) // strides[0] + 1
    if count < 1:
        raise Unsupported(f"a window of depth {reach} on a volume of depth {x.shape[1]}")
    positions = window_positions(emitter, count, kernel[0], strides[0], dilations[0], before)
    pixels = volumes_as_pixels(emitter, x, positions)
    filters = filters_as_pixels(emitter, transposed(emitter, weights, (4, 0, 1, 2, 3)))
    op = Conv2D(strides[1:], Padding(top, left, bottom, right), dilations[1:])
    return _finished(emitter, node, op, (pixels, filters, optional(inputs, 2)), x.shape[0])


@TFLITE.imports("CONV_3D_TRANSPOSE", limits="float32; a constant shape of the result")
def conv_3d_transpose(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Import a transposed convolution with weights [kd,kh,kw,F,C], for a given result shape."""
    shape = known_ints(operand(inputs, 0), "the result's shape")
    weights, x = want_float(operand(inputs, 1), "weights"), want_float(operand(inputs, 2))
    _want_volumes(x, weights, 4)
    kernel, (strides, dilations) = weights.shape[:3], _steps_of(node.options)
    scheme = node.options.whole("Padding")
    if (*shape[:1], *shape[4:]) != (x.shape[0], weights.shape[3]) or min(shape) < 1:
        raise Unsupported(f"volumes {x.shape} cannot have a result of shape {shape}")
    deep, rows, columns = (
        crop_along(scheme, *axis)
        for axis in zip(x.shape[1:4], shape[1:4], kernel, strides, dilations, strict=True)
    )
    amounts = strides[0], dilations[0], deep[0]
    positions = transposed_positions(emitter, x.shape[1], shape[1], kernel[0], *amounts)
    pixels = volumes_as_pixels(emitter, x, positions)
    filters = filters_as_pixels(emitter, transposed(emitter, weights, (3, 0, 1, 2, 4)))
    crop = (rows[0], columns[0], rows[1], columns[1])
    op = ConvTranspose2D(strides[1:], crop, (rows[2], columns[2]), dilations[1:])
    return _finished(emitter, node, op, (pixels, filters, optional(inputs, 3)), x.shape[0])


def _finished(
    emitter: Emitter,
    node: TfliteNode,
    op: Conv2D | ConvTranspose2D,
    operands: Sequence[Value | None],
    batch: int,
) -> Value:
    """Apply the 2D operator, convert its results to volumes, and apply the fused activation."""
    result = emitter.add(op, *(v for v in operands if v is not None))
    return activated(emitter, pixels_as_volumes(emitter, result, batch), node.options.activation)
