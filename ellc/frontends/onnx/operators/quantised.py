"""Imports (Dynamic)QuantizeLinear, DequantizeLinear, MatMulInteger and ConvInteger."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ellc.frontends.graph_import.axes import axis_of
from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.narrow import Narrow
from ellc.frontends.onnx.operators.constants import to_dtype
from ellc.frontends.onnx.operators.conv import from_pixels, pixels_of
from ellc.frontends.onnx.quantisation import (
    Quantisation,
    affine,
    dequantised,
    quantised,
    zeros_of,
)
from ellc.frontends.onnx.registry import ONNX, Declined, operand, optional
from ellc.frontends.onnx.tensors import NARROW_TYPES, dtype_of
from ellc.frontends.onnx.windows import OnnxWindow
from ellc.ir.ops.pointwise import (
    Cast,
    Clip,
    Div,
    Equal,
    Maximum,
    Minimum,
    Mul,
    Neg,
    Round,
    Select,
    Sub,
)
from ellc.ir.ops.quantised import Dequantize, Quantize
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense, IntMatMul
from ellc.ir.ops.reduce import Reduce
from ellc.ir.ops.shape import Expand
from ellc.ir.types import Array, DType

_NO_BLOCKS = "scales of blocks, for values that the network computes"
_NO_PRECISION = "a division in another type than float32"


@ONNX.imports(
    "QuantizeLinear",
    "com.microsoft.QuantizeLinear",
    limits="2, 4, 8 and 16 bits",
    narrow="unchanged",
    declines=(
        Declined("attribute", "precision", _NO_PRECISION),
        Declined("attribute", "block_size", _NO_BLOCKS),
        Declined("type", "scales of int32", "its scale is not a finite floating-point number"),
    ),
    ignores={"saturate": "only for 8-bit floating point, which is declined"},
)
def quantize_linear(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Compute round(x / scale) + zero point, saturated; ties round to even."""
    zero, output = optional(inputs, 2), node.integer("output_dtype", 0)
    kind = zero.kind if isinstance(zero, Narrow) else None if zero else NARROW_TYPES.get(output)
    if kind is None:
        return _stored_bytes(emitter, node, inputs, dtype_of(output) if output else DType.U8)
    result = _stored_bytes(emitter, node, inputs, kind.dtype)
    return Narrow.of(emitter.add(Clip(kind.low, kind.high), result), kind)


def _stored_bytes(emitter: Emitter, node: OnnxNode, inputs: Inputs, default: DType) -> Value:
    """The quantised operand, in the type of the zero point, or `default` if there is none."""
    if node.integer("precision", 0) not in (0, 1):
        raise Unsupported(_NO_PRECISION)
    x, scale, zero = operand(inputs, 0), operand(inputs, 1), optional(inputs, 2)
    stored = zero.dtype if zero else default
    if not (scale.is_constant and (zero is None or zero.is_constant)):
        node.ignore("axis", "block_size")
        return _computed_scale(emitter, Quantize("half_even", stored), x, scale, zero)
    by = replace(affine(inputs, 1, 2), dtype=stored)
    axis = _axis(node, x, scale)
    return quantised(emitter, to_dtype(emitter, x, DType.F32), by, axis)


@ONNX.imports(
    "DequantizeLinear",
    "com.microsoft.DequantizeLinear",
    limits="2, 4, 8, 16 and 32 bits",
    narrow="read",
    declines=(Declined("attribute", "block_size", _NO_BLOCKS),),
)
def dequantize_linear(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Compute (x - zero point) * scale."""
    node.ignore("output_dtype")
    x, scale, zero = operand(inputs, 0), operand(inputs, 1), optional(inputs, 2)
    if not (scale.is_constant and (zero is None or zero.is_constant)):
        node.ignore("axis", "block_size")
        return _computed_scale(emitter, Dequantize(), x, scale, zero)
    block = node.integer("block_size", 0)
    if x.array is not None:
        return emitter.constant(_known_reals(emitter, node, x, inputs, block))
    if block:
        raise Unsupported(_NO_BLOCKS)
    return dequantised(emitter, x, affine(inputs, 1, 2), _axis(node, x, scale))


def _axis(node: OnnxNode, x: Value, scale: Value) -> int | None:
    """The axis along which the scales vary; None if there is only one scale."""
    axis = node.integer("axis", 1)
    if node.integer("block_size", 0) and scale.type.elements > 1:
        raise Unsupported(_NO_BLOCKS)
    return axis_of(axis, x.type.rank) if scale.type.elements > 1 else None


def _known_reals(emitter: Emitter, node: OnnxNode, x: Value, inputs: Inputs, block: int) -> Array:
    """Dequantise a known operand at import. Its size has no bound: the file stores each element."""
    assert x.array is not None
    emitter.want_work(x.array)
    scale, given = operand(inputs, 1), optional(inputs, 2)
    parameters = [scale.array, given.array if given else np.zeros((), np.int32)]
    axis = node.integer("axis", 1)
    spread = [_along(emitter, a, x, axis, block) for a in parameters if a is not None]
    difference = x.array.astype(np.int32) - spread[1].astype(np.int32)
    real: Array = difference.astype(np.float32) * spread[0].astype(np.float32)
    return real


def _along(emitter: Emitter, parameter: Array, x: Value, axis: int, block: int) -> Array:
    if parameter.size == 1:
        return parameter.reshape(())
    position = axis_of(axis, x.type.rank)
    if block:
        return np.take(parameter, emitter.counted(x.shape[position]) // block, position)
    return parameter.reshape(-1, *(1,) * (x.type.rank - position - 1))


def _computed_scale(
    emitter: Emitter, op: Quantize | Dequantize, x: Value, scale: Value, zero: Value | None
) -> Value:
    if scale.type.elements != 1 or (zero is not None and zero.type.elements != 1):
        raise Unsupported("the network computes several scales")
    shape = () if x.type.rank == 0 else (1,)
    offset = emitter.constant(np.zeros((), np.int32)) if zero is None else zero
    zero_points = to_dtype(emitter, offset, DType.I32)
    return emitter.add(
        op, x, reshaped(emitter, scale, shape), reshaped(emitter, zero_points, shape)
    )


@ONNX.imports("DynamicQuantizeLinear")
def dynamic_quantize_linear(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> list[Value]:
    """The operand quantised to uint8, its scale, and its zero point."""
    return list(dynamically_quantised(emitter, operand(inputs, 0)))


def dynamically_quantised(emitter: Emitter, x: Value) -> tuple[Value, Value, Value]:
    """Return (x as uint8, its scale, its zero point); the range spans all elements and 0.

    If all elements are 0, the scale is 1, as in ONNX Runtime. By the specification it would be 0,
    and the operator would divide 0 by 0.
    """
    axes = tuple(range(x.type.rank))
    zero, shape, steps = (emitter.constant(np.array(n, np.float32)) for n in (0, 1, 255))
    high = emitter.add(Maximum(), emitter.add(Reduce("max", axes), x), zero)
    low = emitter.add(Minimum(), emitter.add(Reduce("min", axes), x), zero)
    scale = emitter.add(Div(), emitter.add(Sub(), high, low), steps)
    scale = emitter.add(Select(), shape, scale, emitter.add(Equal(), high, low))
    nearest = emitter.add(Round(), emitter.add(Neg(), emitter.add(Div(), low, scale)))
    point = emitter.add(Cast(DType.U8), emitter.add(Clip(0.0, 255.0), nearest))
    stored = _computed_scale(emitter, Quantize("half_even", DType.U8), x, scale, point)
    return stored, scale, point


@ONNX.imports("MatMulInteger", limits="8 bits; the first operand has one zero point")
def mat_mul_integer(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Compute (a - zero point of a) @ (b - zero point of b) in int32."""
    a, b = operand(inputs, 0), operand(inputs, 1)
    return product_from_zeros(emitter, a, b, optional(inputs, 2), optional(inputs, 3))


def product_from_zeros(
    emitter: Emitter, a: Value, b: Value, point: Value | None, of_second: Value | None
) -> Value:
    """Compute (a - point) @ (b - of_second) in int32. `of_second` must be known at import."""
    of_b = _zero_points(of_second)
    if point is None or point.is_constant:
        return int_product(emitter, a, b, _zero_points(point), of_b)
    if point.type.elements != 1:
        raise Unsupported("its first operand has several zero points")
    total = int_product(emitter, a, b, _zero(), of_b)
    ones = _ones_like(emitter, a)
    return _corrected(emitter, total, int_product(emitter, ones, b, _zero(), of_b), point)


@ONNX.imports("ConvInteger", limits="8 bits; 1 to 3 spatial axes")
def conv_integer(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Convolve (x - zero point of x) with (w - zero point of w) in int32."""
    x, w = operand(inputs, 0), operand(inputs, 1)
    point = optional(inputs, 2)
    of_w = _zero_points(optional(inputs, 3))
    if point is None or point.is_constant:
        return int_convolved(emitter, node, x, w, None, _zero_points(point), of_w)
    # The padding adds 0 to both sums, so the correction is also right at the edges.
    total = int_convolved(emitter, node, x, w, None, _zero(), of_w)
    sums = int_convolved(emitter, node, _ones_like(emitter, x), w, None, _zero(), of_w)
    return _corrected(emitter, total, sums, point)


def _ones_like(emitter: Emitter, x: Value) -> Value:
    return emitter.add(Expand(x.shape), emitter.constant(np.ones((), x.dtype.numpy)))


def _zero() -> Quantisation:
    return Quantisation(np.ones(1, np.float32), np.zeros(1, np.int64), None)


def _zero_points(given: Value | None) -> Quantisation:
    if given is None:
        return _zero()
    if given.array is None:
        raise Unsupported("the network computes the zero points of its weights")
    return Quantisation(
        np.ones(1, np.float32), given.array.reshape(-1).astype(np.int64), given.dtype
    )


def _corrected(emitter: Emitter, total: Value, weights: Value, point: Value) -> Value:
    """Compute the sums of (x - point) * w from those of x * w (`total`) and of w (`weights`)."""
    zero_points = to_dtype(emitter, point, DType.I32)
    excess = pointwise(emitter, Mul(), weights, reshaped(emitter, zero_points, (1,)))
    return pointwise(emitter, Sub(), total, excess)


def int_convolved(
    emitter: Emitter,
    node: OnnxNode,
    x: Value,
    w: Value,
    bias: Value | None,
    of_x: Quantisation,
    of_w: Quantisation,
) -> Value:
    """The int32 sums [N,F,...] of an integer convolution; the node has `Conv`'s attributes."""
    return from_pixels(emitter, x, int_pixels(emitter, node, x, w, bias, of_x, of_w))


def int_pixels(
    emitter: Emitter,
    node: OnnxNode,
    x: Value,
    w: Value,
    bias: Value | None,
    of_x: Quantisation,
    of_w: Quantisation,
) -> Value:
    """The int32 sums of an integer convolution as NHWC images [N,OH,OW,F]."""
    zero, zeros = of_x.one_zero, zeros_of(of_w)

    def op_of(window: OnnxWindow, groups: int) -> IntConv2D:
        padding = window.padding()
        return IntConv2D(window.stride, padding, window.dilation, groups, zero, zeros)

    return pixels_of(emitter, node, x, w, bias, op_of, float(zero))


def int_product(
    emitter: Emitter, a: Value, b: Value, of_a: Quantisation, of_b: Quantisation
) -> Value:
    """Compute (a - zero of a) @ (b - zero of b) in int32, with the shapes of numpy's matmul."""
    if min(a.type.rank, b.type.rank) < 1:
        raise Unsupported("a product with a scalar")
    if b.is_constant and b.type.rank == 2:
        return emitter.add(
            IntDense(of_a.one_zero, zeros_of(of_b)), a, transposed(emitter, b, (1, 0))
        )
    left = reshaped(emitter, a, (1, *a.shape)) if a.type.rank == 1 else a
    right = reshaped(emitter, b, (*b.shape, 1)) if b.type.rank == 1 else b
    result = emitter.add(IntMatMul(of_a.one_zero, zeros_of(of_b)), left, right)
    rows = () if a.type.rank == 1 else result.shape[-2:-1]
    columns = () if b.type.rank == 1 else result.shape[-1:]
    return reshaped(emitter, result, (*result.shape[:-2], *rows, *columns))
