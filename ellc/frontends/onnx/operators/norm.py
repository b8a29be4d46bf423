"""Imports normalisation by stored statistics, and by statistics or norms of the tensor itself."""

from __future__ import annotations

from math import prod

import numpy as np

from ellc.frontends.graph_import.axes import axes_of, axis_of
from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.constants import STASH, TRAINING, to_dtype
from ellc.frontends.onnx.operators.shapes import permutations_to_last
from ellc.frontends.onnx.registry import (
    MICROSOFT,
    ONNX,
    no_attribute,
    one_result,
    operand,
    optional,
)
from ellc.ir.ops.norm import LRN, BatchNorm, Normalize
from ellc.ir.ops.pointwise import Abs, Add, Div, Mul, NotEqual, Rsqrt, Select, Sqrt, Sub
from ellc.ir.ops.reduce import Reduce


@ONNX.imports(
    "BatchNormalization",
    limits="for inference",
    declines=(
        no_attribute("training_mode", TRAINING),
        no_attribute("spatial", "statistics per element (spatial=0) are not supported"),
    ),
    ignores={"momentum": "only for training"},
)
def batch_normalization(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta for every channel (axis 1)."""
    if node.version < 7 and not node.flag("is_test"):
        raise Unsupported(TRAINING)
    one_result(node, "its results with training statistics are not supported")
    x = operand(inputs, 0)
    gamma, beta, mean, variance = (
        to_dtype(emitter, operand(inputs, i), x.dtype) for i in range(1, 5)
    )
    if x.type.rank < 2:
        raise Unsupported(f"a tensor of rank {x.type.rank} has no channels")
    to_last, back = permutations_to_last(x.type.rank, 1)
    op = BatchNorm(node.number("epsilon", 1e-5))
    result = emitter.add(op, transposed(emitter, x, to_last), gamma, beta, mean, variance)
    return transposed(emitter, result, back)


@ONNX.imports("LRN")
def lrn(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x divided by a power of the sum of squares over neighbouring channels."""
    x = operand(inputs, 0)
    op = LRN(
        node.integer("size"),
        node.number("alpha", 1e-4),
        node.number("beta", 0.75),
        node.number("bias", 1.0),
    )
    to_last, back = permutations_to_last(x.type.rank, 1)
    return transposed(emitter, emitter.add(op, transposed(emitter, x, to_last)), back)


@ONNX.imports("InstanceNormalization")
def instance_norm(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Normalise each channel of an image separately; then scale and shift each channel."""
    x, scale, offset = (operand(inputs, i) for i in range(3))
    axes = tuple(range(2, x.type.rank))
    if not axes:
        raise Unsupported(f"a tensor of rank {x.type.rank} has no planes")
    result = emitter.add(Normalize(axes, node.number("epsilon", 1e-5)), x)
    return _per_channel(emitter, result, scale, offset)


@ONNX.imports("GroupNormalization", ignores=STASH)
def group_norm(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Normalise each group of channels separately; then apply a scale and an offset.

    Scale and offset are per channel since version 21, and per group before.
    """
    x, scale, offset = (operand(inputs, i) for i in range(3))
    groups = node.integer("num_groups")
    batch, channels = x.shape[0], x.shape[1]
    if groups < 1 or channels % groups:
        raise Unsupported(
            f"a number of channels ({channels}) that is no multiple of {groups} groups"
        )
    grouped = reshaped(emitter, x, (batch, groups, prod(x.shape[1:]) // groups))
    result = emitter.add(Normalize((2,), node.number("epsilon", 1e-5)), grouped)
    if scale.shape == (groups,) and node.version < 21:
        return reshaped(emitter, _per_channel(emitter, result, scale, offset), x.shape)
    return _per_channel(emitter, reshaped(emitter, result, x.shape), scale, offset)


@ONNX.imports("LayerNormalization", ignores=STASH)
def layer_norm(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> list[Value]:
    """Normalise the axes from `axis` to the last together; then apply a scale and an offset.

    Scale and offset are per element. The second result is the mean, and the third is 1 / standard
    deviation.
    """
    normed = _from_axis(emitter, node, inputs, centered=True)
    if not any(node.outputs[1:]):
        return [normed]
    x = operand(inputs, 0)
    axes = tuple(range(axis_of(node.integer("axis", -1), x.type.rank), x.type.rank))
    mean = emitter.add(Reduce("mean", axes, True), x)
    difference = pointwise(emitter, Sub(), x, mean)
    squares = emitter.add(Mul(), difference, difference)
    variance = emitter.add(Reduce("mean", axes, True), squares)
    epsilon = emitter.constant(np.array(node.number("epsilon", 1e-5), x.dtype.numpy))
    inverse = emitter.add(Rsqrt(), pointwise(emitter, Add(), variance, epsilon))
    return [normed, mean, inverse][: len(node.outputs)]


@ONNX.imports(
    "RMSNormalization",
    "SimplifiedLayerNormalization",  # defined by ONNX Runtime, but in ONNX's domain
    f"{MICROSOFT}.SimplifiedLayerNormalization",
    ignores=STASH,
)
def rms_norm(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Layer normalisation without subtracting the mean."""
    one_result(node, "its result with the deviation is not supported")
    return _from_axis(emitter, node, inputs, centered=False)


@ONNX.imports(
    f"{MICROSOFT}.SkipLayerNormalization", f"{MICROSOFT}.SkipSimplifiedLayerNormalization"
)
def skip_norm(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> list[Value]:
    """Layer normalisation of the sum of two tensors and an optional bias.

    The simplified operator does not subtract the mean. The fourth result is the sum. The second and
    the third result are only for training and are not supported.
    """
    if any(node.outputs[1:3]):
        raise Unsupported(f"its results with the mean and the deviation: {TRAINING}")
    x, scale = operand(inputs, 0), operand(inputs, 2)
    centered = node.operator == "SkipLayerNormalization"
    offset = optional(inputs, 3) if centered else None
    for other in (operand(inputs, 1), optional(inputs, 4 if centered else 3)):
        x = x if other is None else pointwise(emitter, Add(), x, other)
    op = Normalize((x.type.rank - 1,), node.number("epsilon", 1e-12), centered)
    return [_scaled(emitter, emitter.add(op, x), scale, offset), x, x, x][: len(node.outputs)]


def _from_axis(emitter: Emitter, node: OnnxNode, inputs: Inputs, *, centered: bool) -> Value:
    x = operand(inputs, 0)
    axis = axis_of(node.integer("axis", -1), x.type.rank)
    axes = tuple(range(axis, x.type.rank))
    result = emitter.add(Normalize(axes, node.number("epsilon", 1e-5), centered), x)
    return _scaled(emitter, result, operand(inputs, 1), optional(inputs, 2))


def _scaled(emitter: Emitter, x: Value, scale: Value, offset: Value | None) -> Value:
    """x * scale + offset, in the element type of the scale."""
    result = pointwise(emitter, Mul(), to_dtype(emitter, x, scale.dtype), scale)
    return result if offset is None else pointwise(emitter, Add(), result, offset)


def _per_channel(emitter: Emitter, x: Value, scale: Value, offset: Value) -> Value:
    """x * scale + offset; scale and offset have one number for each index of axis 1."""
    shape = (x.shape[1], *(1,) * (x.type.rank - 2))
    result = pointwise(emitter, Mul(), x, reshaped(emitter, scale, shape))
    return pointwise(emitter, Add(), result, reshaped(emitter, offset, shape))


@ONNX.imports("MeanVarianceNormalization")
def mean_variance(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """(x - mean) / (standard deviation + 1e-9) along axes."""
    x = operand(inputs, 0)
    axes = axes_of(node.integers("axes", (0, 2, 3)), x.type.rank)
    # The specification adds 1e-9 to the deviation to avoid 0 / 0. Adding 1e-18 to the variance has
    # the same effect.
    return emitter.add(Normalize(tuple(sorted(axes)), 1e-18), x)


@ONNX.imports("LpNormalization", limits="p 1 and 2")
def lp_normalization(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """x divided by its norm along an axis; 0 if the norm is 0."""
    x = operand(inputs, 0)
    axis = axis_of(node.integer("axis", -1), x.type.rank)
    match node.integer("p", 2):
        case 1:
            norm = emitter.add(Reduce("sum", (axis,), True), emitter.add(Abs(), x))
        case 2:
            squares = emitter.add(Mul(), x, x)
            norm = emitter.add(Sqrt(), emitter.add(Reduce("sum", (axis,), True), squares))
        case other:
            raise Unsupported(f"the norm p = {other}; 1 and 2 are supported")
    return _zero_for_zero_norm(emitter, pointwise(emitter, Div(), x, norm), norm)


def _zero_for_zero_norm(emitter: Emitter, quotient: Value, norm: Value) -> Value:
    """The quotient, or 0 if the norm is 0."""
    zero = emitter.constant(np.zeros((), quotient.dtype.numpy))
    not_zero = pointwise(emitter, NotEqual(), norm, zero)
    return pointwise(emitter, Select(), quotient, zero, not_zero)
