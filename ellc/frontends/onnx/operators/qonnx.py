"""Imports QONNX, the dialect that Brevitas exports: quantised numbers are floats with few values.

Each node becomes ordinary operators. The pass `binary_products` finds products of two operands
whose numbers have only two values, and computes the products on bits.
"""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.broadcast import common_shape, pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.dense import product
from ellc.frontends.onnx.operators.qonnx_parts import constant_operand, names, rounded
from ellc.frontends.onnx.registry import ONNX, operand
from ellc.ir.ops.pointwise import Add, Cast, Clip, Div, GreaterEqual, Mul, MulAdd, Round, Sub
from ellc.ir.ops.thresholds import CountReached
from ellc.ir.types import Array

_MOST_BITS = 24  # float32 holds all integers of up to 24 bits exactly


@ONNX.imports(*names("BipolarQuant"), limits="constant scale")
def bipolar(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """(x, scale): x >= 0 ? scale : -scale."""
    x, scale = operand(inputs, 0), constant_operand(inputs, 1, "scale")
    if common_shape(x, emitter.constant(scale)) != x.shape:
        raise Unsupported(f"a scale of shape {scale.shape} for an operand of shape {x.shape}")
    return _signs(emitter, x, scale)


def _signs(emitter: Emitter, x: Value, scale: Array) -> Value:
    """x >= 0 ? scale : -scale; the scale broadcasts to x."""
    zero = emitter.constant(np.zeros((1,) * len(x.shape), x.dtype.numpy))
    ones = emitter.add(Cast(x.dtype), emitter.add(GreaterEqual(), x, zero))
    return emitter.add(MulAdd(), ones, emitter.constant(2 * scale), emitter.constant(-scale))


@ONNX.imports(
    *names("Quant"),
    *names("IntQuant"),
    limits=f"constant scale, zero point and bit width (1 to {_MOST_BITS})",
)
def quantised(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """(x, scale, zero point, bits): round x to a multiple of scale in the range of an integer type.

    The integer type has the given number of bits; a signed integer of one bit is 1 or -1.
    """
    x = operand(inputs, 0)
    scale, zero = (constant_operand(inputs, i, n) for i, n in ((1, "scale"), (2, "zero point")))
    number, bits = _scaled(emitter, x, scale, zero), _bits(inputs, 3)
    mode = node.text("rounding_mode", "ROUND").upper()
    number_range = _range(node, bits)
    if bits == 1 and node.flag("signed", True):
        return _unscaled(emitter, _signs(emitter, number, np.ones(1, np.float32)), scale, zero)
    number = emitter.add(number_range, number)
    return _unscaled(emitter, rounded(emitter, mode, number), scale, zero)


@ONNX.imports(*names("Trunc"), limits="constant scales, zero point and bit widths")
def truncated(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """(x, scale, zero point, bits[, new scale], new bits): remove the last bits of integers.

    The second version of the operator has a new scale, and clamps to the range of integers with the
    new number of bits. The first version keeps the scale.
    """
    x = operand(inputs, 0)
    scale, zero = (constant_operand(inputs, i, n) for i, n in ((1, "scale"), (2, "zero point")))
    integer = emitter.add(Round(), _scaled(emitter, x, scale, zero))
    mode = node.text("rounding_mode", "FLOOR").upper()
    if len(inputs) < 6:
        factor = np.full(1, 2.0 ** (_bits(inputs, 3) - _bits(inputs, 4)), np.float32)
        number = pointwise(emitter, Div(), integer, emitter.constant(factor))
        return _unscaled(emitter, rounded(emitter, mode, number), scale, zero)
    new_scale = constant_operand(inputs, 4, "new scale")
    factor = np.exp2(np.round(np.log2(new_scale / scale))).astype(np.float32)
    number = pointwise(emitter, Div(), integer, emitter.constant(factor))
    number = emitter.add(_range(node, _bits(inputs, 5)), number)
    return _unscaled(emitter, rounded(emitter, mode, number), new_scale, zero / factor)


@ONNX.imports(*names("DebugMarker"), ignores={"export_debug_name": "a second name of the tensor"})
def debug_marker(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The operand itself."""
    return operand(inputs, 0)


@ONNX.imports(*names("XnorPopcountMatMul"))
def equal_bits(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """(a, b): the number of positions at which a row of a equals a column of b (zeros and ones)."""
    a, b = operand(inputs, 0), operand(inputs, 1)
    one, two, half = (emitter.constant(np.full(1, v, np.float32)) for v in (1, 2, 0.5))
    signs = [pointwise(emitter, Sub(), pointwise(emitter, Mul(), x, two), one) for x in (a, b)]
    depth = emitter.constant(np.full(1, a.shape[-1], np.float32))
    total = pointwise(emitter, Add(), product(emitter, *signs), depth)
    return pointwise(emitter, Mul(), total, half)


@ONNX.imports(
    *names("MultiThreshold"),
    limits="constant thresholds",
    ignores={"out_dtype": "results are floats"},
)
def multi_threshold(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """(x, thresholds [C or 1, n]): out_scale * (number of thresholds that x reaches) + out_bias.

    x is compared with the thresholds of its channel.
    """
    x, steps = operand(inputs, 0), constant_operand(inputs, 1, "thresholds")
    rank = x.type.rank
    layout = node.text("data_layout", "") or {3: "NWC"}.get(rank, "")
    channels = layout.index("C") if "C" in layout else 1
    if steps.ndim != 2 or channels >= rank or len(steps) not in (1, x.shape[channels]):
        raise Unsupported(f"thresholds of shape {steps.shape} for an operand of shape {x.shape}")
    along = [1] * rank
    along[channels] = len(steps)
    each = np.asarray(steps.T, order="C").reshape(steps.shape[1], *along)
    count = emitter.add(CountReached(), x, emitter.constant(each))
    scale, bias = (
        np.full(1, node.number(f"out_{n}", v), np.float32)
        for n, v in (("scale", 1.0), ("bias", 0.0))
    )
    scaled = pointwise(emitter, Mul(), count, emitter.constant(scale))
    return pointwise(emitter, Add(), scaled, emitter.constant(bias))


def _scaled(emitter: Emitter, x: Value, scale: Array, zero: Array) -> Value:
    """x / scale + zero."""
    number = pointwise(emitter, Div(), x, emitter.constant(scale))
    if not np.any(zero != 0):
        return number
    return pointwise(emitter, Add(), number, emitter.constant(zero))


def _unscaled(emitter: Emitter, number: Value, scale: Array, zero: Array) -> Value:
    """(number - zero) * scale."""
    if np.any(zero != 0):
        number = pointwise(emitter, Sub(), number, emitter.constant(zero))
    return pointwise(emitter, Mul(), number, emitter.constant(scale))


def _range(node: OnnxNode, bits: int) -> Clip:
    """The clip to the range of integers of `bits` bits.

    `narrow` leaves out the lowest signed number, or the highest unsigned number.
    """
    signed, narrow = node.flag("signed", True), node.flag("narrow")
    if signed:
        return Clip(-(2.0 ** (bits - 1)) + narrow, 2.0 ** (bits - 1) - 1)
    return Clip(0.0, 2.0**bits - 1 - narrow)


def _bits(inputs: Inputs, index: int) -> int:
    widths = np.unique(constant_operand(inputs, index, "bit width"))
    if len(widths) != 1 or widths[0] != int(widths[0]) or not 1 <= widths[0] <= _MOST_BITS:
        raise Unsupported(f"a bit width of {widths.tolist()}; 1 to {_MOST_BITS} are supported")
    return int(widths[0])
