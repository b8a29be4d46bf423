"""Imports operators on stored integers, which are computed as in ONNX Runtime.

Sums are exact. They are multiplied by a float32 factor, which converts them to the scale of the
result, and then rounded to the nearest integer, ties to even. Operators without exact sums compute
with real values, or look up the result for each byte in a table.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ellc.frontends.graph_import.axes import axis_of
from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.inner import import_inner
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.activations import activation_of
from ellc.frontends.onnx.operators.conv import from_pixels
from ellc.frontends.onnx.operators.pool import averaged
from ellc.frontends.onnx.operators.quantised import int_pixels, int_product
from ellc.frontends.onnx.quantisation import (
    Bounds,
    Quantisation,
    affine,
    dequantised,
    one_quant,
    quantised,
    requantised,
    same,
    stored_bounds,
)
from ellc.frontends.onnx.registry import JOINED, JOINED_DOMAIN, ONNX, operand, optional
from ellc.ir.op import Op
from ellc.ir.ops.pointwise import Add, Cast, Clip, Mul, Select, Sub
from ellc.ir.ops.quantised import Lookup
from ellc.ir.ops.reduce import Reduce, Softmax
from ellc.ir.ops.scaled_add import ScaledAdd
from ellc.ir.ops.shape import Concat
from ellc.ir.types import Array, DType

MS = "com.microsoft."
_LIMITS = "8 bits; parameters known at import"


def bounds_of(node: OnnxNode) -> Bounds:
    """The bounds of an activation that was joined to the node."""
    return Bounds(node.number("ellc.low", -np.inf), node.number("ellc.high", np.inf))


@ONNX.imports("QLinearConv", MS + "QLinearConv", limits=_LIMITS)
def qlinear_conv(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Convolution; the weights may have one scale for each filter."""
    if node.flag("channels_last"):
        raise Unsupported("NHWC images (channels_last) are not supported")
    x, w = operand(inputs, 0), operand(inputs, 3)
    of_x, of_w, of_y = affine(inputs, 1, 2), affine(inputs, 4, 5), affine(inputs, 6, 7)
    bias = stored_bias(emitter, optional(inputs, 8), of_x.one_scale * of_w.scale, w.shape[0])
    total = int_pixels(emitter, node, x, w, bias, of_x, of_w)
    factor = of_x.one_scale * of_w.scale / of_y.one_scale
    result = requantised(emitter, total, factor, of_y, bounds_of(node))
    return from_pixels(emitter, x, result)


def stored_bias(emitter: Emitter, bias: Value | None, scale: Array, count: int) -> Value | None:
    """A bias [count] as int32 in `scale`, the unit of the sums; reals are rounded and clamped."""
    if bias is None or bias.dtype is DType.I32:
        return None if bias is None else reshaped(emitter, bias, (count,))
    if bias.array is None:
        raise Unsupported("the network computes its bias")
    units = np.rint(bias.array.reshape(-1).astype(np.float64) / scale.astype(np.float64))
    info = np.iinfo(np.int32)
    stored = emitter.full((count,), 0, np.int32)
    stored[:] = np.clip(units, info.min, info.max)
    return emitter.constant(stored)


@ONNX.imports("QLinearMatMul", limits=_LIMITS)
def qlinear_mat_mul(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The product of two matrices; the second matrix may have one scale for each column."""
    of_a, of_b, of_y = affine(inputs, 1, 2), affine(inputs, 4, 5), affine(inputs, 6, 7)
    total = int_product(emitter, operand(inputs, 0), operand(inputs, 3), of_a, of_b)
    factor = of_a.one_scale * of_b.scale / of_y.one_scale
    return requantised(emitter, total, factor, of_y, bounds_of(node))


@ONNX.imports(MS + "QGemm", limits=_LIMITS)
def qgemm(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """alpha * a @ b + c. The result is real (f32) if the node gives it no scale and zero point."""
    a, b = operand(inputs, 0), operand(inputs, 3)
    of_a, of_b = affine(inputs, 1, 2), affine(inputs, 4, 5)
    alpha = np.float32(node.number("alpha", 1.0))
    if node.flag("transA"):
        a = transposed(emitter, a, (1, 0))
    if node.flag("transB"):
        b = transposed(emitter, b, (1, 0))
    scale = np.asarray(alpha * of_a.one_scale * of_b.scale, np.float32)
    total = int_product(emitter, a, b, of_a, of_b)
    c = optional(inputs, 6)
    if c is not None:
        flat = c.type.elements in (1, b.shape[-1]) and c.is_constant
        units = stored_bias(emitter, c, scale, b.shape[-1]) if flat else c
        assert units is not None
        total = pointwise(emitter, Add(), total, units)
    if optional(inputs, 7) is None:
        real = emitter.add(Cast(DType.F32), total)
        return emitter.add(Mul(), real, emitter.constant(scale.reshape(-1)))
    of_y = affine(inputs, 7, 8)
    return requantised(emitter, total, scale / of_y.one_scale, of_y, bounds_of(node))


@ONNX.imports(MS + "QLinearAdd", limits=_LIMITS)
def qlinear_add(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """a + b in the scale of the result; the rounding depends on the order of the operands."""
    of_a, of_b, of_y = affine(inputs, 1, 2), affine(inputs, 4, 5), affine(inputs, 6, 7)
    quant = one_quant(of_y)
    op = ScaledAdd.of(one_quant(of_a), one_quant(of_b), quant, of_y.stored, quant)
    total = pointwise(emitter, op, operand(inputs, 0), operand(inputs, 3))
    return clamped(emitter, node, total, of_y)


def clamped(emitter: Emitter, node: OnnxNode, stored: Value, by: Quantisation) -> Value:
    """Clamp stored integers of the scale `by` to the bounds of the node's joined activation."""
    low, high = stored_bounds(by, bounds_of(node))
    info = np.iinfo(by.stored.numpy)
    if (low, high) == (info.min, info.max):
        return stored
    return emitter.add(Clip(float(low), float(high)), stored)


def number(emitter: Emitter, value: np.generic) -> Value:
    """A scalar constant."""
    return emitter.constant(np.asarray(value).reshape(()))


@ONNX.imports(MS + "QLinearMul", limits=_LIMITS)
def qlinear_mul(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """a * b: the exact product of (stored - zero point), times a float32 factor."""
    of_a, of_b, of_y = affine(inputs, 1, 2), affine(inputs, 4, 5), affine(inputs, 6, 7)
    a, b = (difference(emitter, operand(inputs, i), of) for i, of in ((0, of_a), (3, of_b)))
    factor = of_a.one_scale * of_b.one_scale / of_y.one_scale
    product = pointwise(emitter, Mul(), a, b)
    return requantised(emitter, product, np.asarray(factor), of_y, bounds_of(node))


def difference(emitter: Emitter, x: Value, by: Quantisation) -> Value:
    """Subtract the zero point from stored integers; the result is i32."""
    widened = emitter.add(Cast(DType.I32), x)
    return (
        emitter.add(Sub(), widened, number(emitter, np.int32(by.one_zero)))
        if by.one_zero
        else widened
    )


@ONNX.imports(MS + "QLinearGlobalAveragePool", limits=_LIMITS)
def qlinear_global_average_pool(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The mean of every channel of an image: the exact sum, times a float32 factor."""
    x, of_x, of_y = operand(inputs, 0), affine(inputs, 1, 2), affine(inputs, 3, 4)
    last = node.flag("channels_last")
    axes = tuple(range(1, x.type.rank - 1)) if last else tuple(range(2, x.type.rank))
    total = emitter.add(Reduce("sum", axes, True), difference(emitter, x, of_x))
    count = np.float32(prod(x.shape[a] for a in axes))
    factor = np.asarray(of_x.one_scale / (of_y.one_scale * count))
    return requantised(emitter, total, factor, of_y, bounds_of(node))


@ONNX.imports(MS + "QLinearAveragePool", limits=_LIMITS)
def qlinear_average_pool(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Means under windows, computed with the real values."""
    if node.flag("channels_last"):
        raise Unsupported("NHWC images (channels_last) are not supported")
    x, of_x, of_y = operand(inputs, 0), affine(inputs, 1, 2), affine(inputs, 3, 4)
    means = averaged(emitter, node, dequantised(emitter, x, of_x))
    return quantised(emitter, means, of_y)


@ONNX.imports(MS + "QLinearConcat", limits=_LIMITS)
def qlinear_concat(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Concatenate operands after converting them to the quantisation parameters of the result."""
    of_y = affine(inputs, 0, 1)
    parts = [
        as_stored(emitter, operand(inputs, i), affine(inputs, i + 1, i + 2), of_y)
        for i in range(2, len(inputs), 3)
    ]
    op = Concat(axis_of(node.integer("axis"), parts[0].type.rank))
    return clamped(emitter, node, emitter.add(op, *parts), of_y)


@ONNX.imports(MS + "QLinearWhere", limits=_LIMITS)
def qlinear_where(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """condition ? a : b, after converting a and b to the quantisation parameters of the result."""
    of_y = affine(inputs, 7, 8)
    a, b = (
        as_stored(emitter, operand(inputs, i), affine(inputs, i + 1, i + 2), of_y) for i in (1, 4)
    )
    return pointwise(emitter, Select(), a, b, operand(inputs, 0))


def as_stored(emitter: Emitter, x: Value, of_x: Quantisation, of_y: Quantisation) -> Value:
    """Convert stored integers from the quantisation parameters `of_x` to `of_y`."""
    if x.dtype is of_y.stored and same(of_x, of_y):
        return x
    return by_table(emitter, x, of_x, of_y, [])


def by_table(
    emitter: Emitter, x: Value, of_x: Quantisation, of_y: Quantisation, ops: list[Op]
) -> Value:
    """Apply the functions `ops` one after another, by one table with a result for every byte."""
    real = dequantised(emitter, every_code(emitter, x.dtype), of_x)
    for op in ops:
        real = emitter.add(op, real)
    return emitter.add(Lookup(of_y.stored, of_y.quant()), x, quantised(emitter, real, of_y))


def every_code(emitter: Emitter, dtype: DType) -> Value:
    """All 256 values of an integer type of 8 bits, in order."""
    if dtype not in (DType.I8, DType.U8):
        raise Unsupported(f"a table for {dtype.value}; only 8 bits are supported")
    info = np.iinfo(dtype.numpy)
    return emitter.constant((emitter.counted(256) + info.min).astype(dtype.numpy))


@ONNX.imports(MS + "QLinearSigmoid", MS + "QLinearLeakyRelu", limits=_LIMITS)
def qlinear_unary(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """An activation, computed by a table."""
    op = activation_of(node, node.operator.removeprefix("QLinear"))
    x, of_x, of_y = operand(inputs, 0), affine(inputs, 1, 2), affine(inputs, 3, 4)
    return by_table(emitter, x, of_x, of_y, [op])


@ONNX.imports(MS + "QLinearSoftmax", limits=_LIMITS)
def qlinear_softmax(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Softmax, computed with the real values and then quantised."""
    x, of_x, of_y = operand(inputs, 0), affine(inputs, 1, 2), affine(inputs, 3, 4)
    axis = axis_of(node.integer("axis", -1), x.type.rank)
    axes = (axis,) if node.integer("opset", 13) >= 13 else tuple(range(axis, x.type.rank))
    real = dequantised(emitter, x, of_x)
    return quantised(emitter, emitter.add(Softmax(axes), real), of_y)


@JOINED.imports(f"{JOINED_DOMAIN}.Table")
def table(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The function that the node's graph computes, as a table with a result for every byte."""
    x, of_x, of_y = operand(inputs, 0), affine(inputs, 1, 2), affine(inputs, 3, 4)
    function = node.graph("function")
    captured = {n: v for n, v in zip(node.captured, inputs[5:], strict=True) if v is not None}
    captured[function.inputs[0].name] = dequantised(emitter, every_code(emitter, x.dtype), of_x)
    (real,) = import_inner(emitter, function, captured, node.label)
    return emitter.add(Lookup(of_y.stored, of_y.quant()), x, quantised(emitter, real, of_y))
