"""Imports operators that ONNX Runtime's optimiser makes: fused ones, and those on channel blocks.

An image in blocks of channels (domain `com.microsoft.nchwc`) becomes an NCHW image here, whose
channels are filled up to a multiple of the block size. Stored filters are converted back to ONNX's
order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.nchwc import BLOCK, DOMAIN
from ellc.frontends.onnx.operators.activations import ACTIVATIONS, parameters_of
from ellc.frontends.onnx.operators.conv import convolution
from ellc.frontends.onnx.operators.dense import gemm, product, scaled
from ellc.frontends.onnx.operators.pool import average_pool, global_pool, max_pool
from ellc.frontends.onnx.operators.resize import resized_by
from ellc.frontends.onnx.ports import TO_PIXELS, TO_PLANES
from ellc.frontends.onnx.registry import MICROSOFT, ONNX, operand, optional
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pointwise import Add
from ellc.ir.ops.shape import Slice
from ellc.ir.types import Array

_ACTIVATIONS: Mapping[str, Mapping[str, str]] = {
    **{name: {key: key for key in parameters_of(name)} for name in ACTIVATIONS},
    "Clip": {"alpha": "min", "beta": "max"},
    "Selu": {"alpha": "alpha", "gamma": "gamma"},
}
"""The activations that can be fused into a node.

Each maps the names of its parameters in the fused node to their names in a separate node.
"""
_ALL_ATTRIBUTES = 6
"""An operator set version in which all parameters of activations are attributes."""


def _activated(emitter: Emitter, node: OnnxNode, x: Value) -> Value:
    """Apply the activation that is fused into a node, if there is one, to x.

    The parameters of the activation are in the list `activation_params`, or each in its own
    attribute.
    """
    name = node.text("activation", "")
    if not name:
        return x
    if name not in _ACTIVATIONS:
        raise Unsupported(f"the activation '{name}' is not supported")
    parameters = _ACTIVATIONS[name]
    given = dict(zip(parameters.values(), node.numbers("activation_params", ()), strict=False))
    given |= {
        as_node: node.number(f"activation_{fused}")
        for fused, as_node in parameters.items()
        if node.has(f"activation_{fused}")
    }
    node.ignore("activation_alpha", "activation_beta", "activation_gamma")
    alone = replace(node, operator=name, domain="", version=_ALL_ATTRIBUTES, attributes=given)
    result = ONNX.handlers[name].function(emitter, alone, [x])
    assert isinstance(result, Value)
    return result


@ONNX.imports(f"{MICROSOFT}.FusedConv", limits="1 to 3 spatial axes")
def fused_conv(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """A convolution, then an optional sum with another tensor, then an optional activation."""
    x, w = operand(inputs, 0), operand(inputs, 1)
    result = convolution(emitter, node, x, w, optional(inputs, 2))
    return _summed(emitter, node, result, optional(inputs, 3))


def _summed(emitter: Emitter, node: OnnxNode, result: Value, other: Value | None) -> Value:
    if other is not None:
        result = pointwise(emitter, Add(), result, other)
    return _activated(emitter, node, result)


@ONNX.imports(f"{MICROSOFT}.FusedGemm", limits="floating point")
def fused_gemm(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """`Gemm`, then an optional activation."""
    result = gemm(emitter, node, inputs)
    assert isinstance(result, Value)
    return _activated(emitter, node, result)


@ONNX.imports(f"{MICROSOFT}.FusedMatMul", limits="floating point")
def fused_mat_mul(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """alpha * a @ b; attributes can swap an operand's last two axes, or move its first axis."""
    a, b = (_matrices(emitter, node, operand(inputs, i), "AB"[i]) for i in (0, 1))
    return scaled(emitter, product(emitter, a, b), node.number("alpha", 1.0))


def _matrices(emitter: Emitter, node: OnnxNode, x: Value, which: str) -> Value:
    """Transpose operand A or B (`which`) to the order [batch..., rows, columns]."""
    rank = x.type.rank
    if node.flag(f"transBatch{which}") and rank > 2:
        # The first axis holds rows; it moves after the axes of the batch.
        x = transposed(emitter, x, (*range(1, rank - 1), 0, rank - 1))
    if not node.flag(f"trans{which}") or rank < 2:
        return x
    return transposed(emitter, x, (*range(rank - 2), rank - 1, rank - 2))


# ---- blocks of channels -------------------------------------------------------------------------


def _block(node: OnnxNode) -> int:
    block = node.integer(BLOCK, 0)
    if not block:
        raise Unsupported(
            "its blocks may have 8 or 16 channels; save the model with the optimisation level "
            "'extended', which makes no blocks"
        )
    return block


@ONNX.imports(f"{DOMAIN}.ReorderInput")
def reorder_input(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Convert NCHW or NHWC to blocks: zeros fill the channels up to whole blocks."""
    x, block = operand(inputs, 0), _block(node)
    if node.flag("channels_last"):
        x = transposed(emitter, x, TO_PLANES)
    more = -x.shape[1] % block
    return emitter.add(Pad((0, 0, 0, 0), (0, more, 0, 0), 0.0), x) if more else x


@ONNX.imports(f"{DOMAIN}.ReorderOutput")
def reorder_output(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Convert blocks to NCHW or NHWC, without the channels that only fill the last block."""
    x, channels = operand(inputs, 0), node.integer("channels")
    if not 0 < channels <= x.shape[1]:
        raise Unsupported(
            f"its attribute channels is {channels}, but the operand has {x.shape[1]} of them"
        )
    if channels < x.shape[1]:
        x = emitter.add(Slice((0,) * 4, (x.shape[0], channels, *x.shape[2:]), (1,) * 4), x)
    return transposed(emitter, x, TO_PIXELS) if node.flag("channels_last") else x


@ONNX.imports(f"{DOMAIN}.Conv")
def nchwc_conv(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """`FusedConv` on blocks."""
    x, w, block = operand(inputs, 0), known(operand(inputs, 1), "the weights"), _block(node)
    filters = emitter.constant(_in_onnx_order(w, block))
    result = convolution(emitter, node, x, filters, optional(inputs, 2))
    return _summed(emitter, node, result, optional(inputs, 3))


def _in_onnx_order(w: Array, block: int) -> Array:
    """Convert stored filters to ONNX's order [F,C,kh,kw].

    They are stored in blocks of output channels and, if the input channels fill whole blocks, also
    in blocks of input channels.
    """
    if w.ndim != 4:
        raise Unsupported(f"filters of shape {list(w.shape)} in blocks")
    outputs, channels, rows, columns = w.shape
    if outputs % block:
        raise Unsupported(f"a number of filters ({outputs}) that does not fill blocks of {block}")
    if channels < block:
        split = w.reshape(outputs // block, channels, rows, columns, block)
        return np.moveaxis(split, -1, 1).reshape(w.shape)
    if channels % block:
        raise Unsupported(f"a depth of filters ({channels}) that does not fit blocks of {block}")
    split = w.reshape(outputs // block, channels // block, rows, columns, block, block)
    return split.transpose(0, 5, 1, 4, 2, 3).reshape(w.shape)


@ONNX.imports(f"{DOMAIN}.MaxPool", f"{DOMAIN}.AveragePool", f"{DOMAIN}.GlobalAveragePool")
def nchwc_pool(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """`MaxPool`, `AveragePool` and `GlobalAveragePool` on blocks."""
    node.has("storage_order")
    handler = {"MaxPool": max_pool, "AveragePool": average_pool}.get(node.operator, global_pool)
    result = handler(emitter, node, inputs)
    return result if isinstance(result, Value) else result[0]


@ONNX.imports(f"{DOMAIN}.GlobalMaxPool")
def nchwc_global_max(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """`GlobalMaxPool` on blocks."""
    result = global_pool(emitter, replace(node, domain=""), inputs)
    assert isinstance(result, Value)
    return result


@ONNX.imports(f"{DOMAIN}.Upsample", limits="modes nearest and linear")
def nchwc_upsample(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Upsampling of rows and columns by integer factors, on blocks."""
    scales = tuple(float(s) for s in node.integers("scales"))
    coordinates = node.text("coordinate_transformation_mode", "half_pixel")
    return resized_by(
        emitter, operand(inputs, 0), scales, node.text("mode", "nearest"), coordinates
    )
