"""QONNX, the dialect of Brevitas: floating-point numbers that take few values only.

What a node means is written out in ordinary operators. The pass `binary_products` finds products of
two bipolar operands and computes them on bits.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ellc.frontends.graph_import.broadcast import common_shape, pointwise
from ellc.frontends.graph_import.handlers import Function, Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.conv import conv
from ellc.frontends.onnx.operators.dense import product
from ellc.frontends.onnx.operators.norm import batch_normalization
from ellc.frontends.onnx.operators.pool import average_pool, max_pool
from ellc.frontends.onnx.operators.shapes import reshaped, transposed
from ellc.frontends.onnx.registry import ONNX, operand
from ir.op import Op
from ir.ops.pointwise import (
    Abs,
    Add,
    Cast,
    Ceil,
    Clip,
    Div,
    Floor,
    GreaterEqual,
    Mul,
    MulAdd,
    Round,
    Sign,
    Sub,
)
from ir.ops.reduce import Reduce
from ir.types import Array

_DOMAINS = ("onnx.brevitas", "qonnx.custom_op.general", "finn.custom_op.general")
_CHANNELS_LAST = "qonnx.custom_op.channels_last"
_NEWEST = 22  # of ONNX: the dialect says no version
_MOST_BITS = 24  # float32 holds no larger whole numbers
_ROUNDING: dict[str, Op] = {
    "ROUND": Round(),
    "HALF_EVEN": Round(),
    "CEIL": Ceil(),
    "FLOOR": Floor(),
}
# Modes that are the same on both sides of 0: what to add to the magnitude, and how to round it.
_MIRRORED: dict[str, tuple[float, Op]] = {
    "UP": (0.0, Ceil()),
    "DOWN": (0.0, Floor()),
    "ROUND_TO_ZERO": (0.0, Floor()),
    "HALF_UP": (0.5, Floor()),
    "HALF_DOWN": (-0.5, Ceil()),
}


def _names(operator: str) -> list[str]:
    return [f"{domain}.{operator}" for domain in _DOMAINS]


@ONNX.imports(*_names("BipolarQuant"), limits="constant scale")
def bipolar(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """(x, scale): x >= 0 ? scale : -scale."""
    x, scale = operand(inputs, 0), _constant(inputs, 1, "scale")
    above = emitter.add(
        GreaterEqual(), x, emitter.constant(np.zeros((1,) * len(x.shape), x.dtype.numpy))
    )
    ones = emitter.add(Cast(x.dtype), above)
    if common_shape(x, emitter.constant(scale)) != x.shape:
        raise Unsupported(f"a scale of shape {scale.shape} on {x.shape}")
    return emitter.add(MulAdd(), ones, emitter.constant(2 * scale), emitter.constant(-scale))


@ONNX.imports(
    *_names("Quant"),
    *_names("IntQuant"),
    limits=f"constant scale, zero point and bit width (2 to {_MOST_BITS})",
)
def quantised(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """(x, scale, zero point, bits): x rounded to whole numbers of scale, as floats."""
    x = operand(inputs, 0)
    scale, zero = (_constant(inputs, i, n) for i, n in ((1, "scale"), (2, "zero point")))
    number = emitter.add(_range(node, _bits(inputs, 3)), _scaled(emitter, x, scale, zero))
    mode = node.text("rounding_mode", "ROUND").upper()
    return _unscaled(emitter, _rounded(emitter, mode, number), scale, zero)


@ONNX.imports(*_names("Trunc"), limits="constant scales, zero point and bit widths")
def truncated(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """(x, scale, zero point, bits[, new scale], new bits): whole numbers without their last bits.

    The second version of the operator has the new scale and keeps numbers within the new range;
    the first one leaves the scale as it is.
    """
    x = operand(inputs, 0)
    scale, zero = (_constant(inputs, i, n) for i, n in ((1, "scale"), (2, "zero point")))
    whole = emitter.add(Round(), _scaled(emitter, x, scale, zero))
    mode = node.text("rounding_mode", "FLOOR").upper()
    if len(inputs) < 6:
        factor = np.full(1, 2.0 ** (_bits(inputs, 3) - _bits(inputs, 4)), np.float32)
        number = pointwise(emitter, Div(), whole, emitter.constant(factor))
        return _unscaled(emitter, _rounded(emitter, mode, number), scale, zero)
    new_scale = _constant(inputs, 4, "new scale")
    factor = np.exp2(np.round(np.log2(new_scale / scale))).astype(np.float32)
    number = pointwise(emitter, Div(), whole, emitter.constant(factor))
    number = emitter.add(_range(node, _bits(inputs, 5)), number)
    return _unscaled(emitter, _rounded(emitter, mode, number), new_scale, zero / factor)


@ONNX.imports(*_names("XnorPopcountMatMul"))
def equal_bits(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """(a, b) of zeros and ones: in how many places a row of a and a column of b are equal."""
    a, b = operand(inputs, 0), operand(inputs, 1)
    one, two, half = (emitter.constant(np.full(1, v, np.float32)) for v in (1, 2, 0.5))
    signs = [pointwise(emitter, Sub(), pointwise(emitter, Mul(), x, two), one) for x in (a, b)]
    depth = emitter.constant(np.full(1, a.shape[-1], np.float32))
    total = pointwise(emitter, Add(), product(emitter, *signs), depth)
    return pointwise(emitter, Mul(), total, half)


@ONNX.imports(
    *_names("MultiThreshold"),
    limits="constant thresholds",
    ignores={"out_dtype": "results are floats"},
)
def multi_threshold(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """(x, thresholds [C or 1, n]): how many thresholds of its channel x reaches, scaled."""
    x, steps = operand(inputs, 0), _constant(inputs, 1, "thresholds")
    rank = x.type.rank
    layout = node.text("data_layout", "") or {3: "NWC"}.get(rank, "")
    channels = layout.index("C") if "C" in layout else 1
    if steps.ndim != 2 or channels >= rank or len(steps) not in (1, x.shape[channels]):
        raise Unsupported(f"thresholds of shape {steps.shape} on {x.shape}")
    each = steps.reshape(len(steps), *(1,) * (rank - channels - 1), steps.shape[1])
    column = reshaped(emitter, x, (*x.shape, 1))
    reached = pointwise(emitter, GreaterEqual(), column, emitter.constant(each))
    count = emitter.add(Reduce("sum", (rank,)), emitter.add(Cast(x.dtype), reached))
    scale, bias = (
        np.full(1, node.number(f"out_{n}", v), np.float32)
        for n, v in (("scale", 1.0), ("bias", 0.0))
    )
    scaled = pointwise(emitter, Mul(), count, emitter.constant(scale))
    return pointwise(emitter, Add(), scaled, emitter.constant(bias))


_STANDARD: dict[str, tuple[Function[OnnxNode], int]] = {
    # The handler on planes, and how many operands have their channels last.
    "AveragePool": (average_pool, 1),
    "BatchNormalization": (batch_normalization, 1),
    "Conv": (conv, 2),
    "MaxPool": (max_pool, 1),
}


@ONNX.imports(
    *(f"{_CHANNELS_LAST}.{kind}" for kind in _STANDARD),
    limits="as the operators on planes",
    ignores={"momentum": "of training only"},
)
def channels_last(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The operators on planes, on pixels."""
    handler, turned = _STANDARD[node.operator]
    operands = [
        transposed(emitter, x, _channels_first(x.type.rank)) if x and index < turned else x
        for index, x in enumerate(inputs)
    ]
    made = handler(emitter, replace(node, domain="", version=_NEWEST), operands)
    result = made if isinstance(made, Value) else made[0]
    rank = result.type.rank
    return transposed(emitter, result, (0, *range(2, rank), 1))


@ONNX.imports(*(f"{domain}.MaxPoolNHWC" for domain in _DOMAINS[1:]))
def max_pool_of_pixels(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """`MaxPool` on pixels."""
    x = transposed(emitter, operand(inputs, 0), _channels_first(4))
    made = max_pool(emitter, replace(node, domain="", version=_NEWEST), [x])
    result = made if isinstance(made, Value) else made[0]
    return transposed(emitter, result, (0, 2, 3, 1))


def _channels_first(rank: int) -> tuple[int, ...]:
    if rank < 2:
        raise Unsupported(f"a tensor of rank {rank} has no channels")
    return (0, rank - 1, *range(1, rank - 1))


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


def _rounded(emitter: Emitter, mode: str, number: Value) -> Value:
    if mode in _ROUNDING:
        return emitter.add(_ROUNDING[mode], number)
    if mode not in _MIRRORED:
        known_modes = ", ".join([*_ROUNDING, *_MIRRORED])
        raise Unsupported(f"rounding_mode '{mode}'; there are {known_modes}")
    offset, op = _MIRRORED[mode]
    size = emitter.add(Abs(), number)
    if offset:
        size = pointwise(emitter, Add(), size, emitter.constant(np.full(1, offset, np.float32)))
    return emitter.add(Mul(), emitter.add(op, size), emitter.add(Sign(), number))


def _range(node: OnnxNode, bits: int) -> Clip:
    """The least and the largest whole number of so many bits."""
    signed, narrow = node.flag("signed", True), node.flag("narrow")
    if signed:
        return Clip(-(2.0 ** (bits - 1)) + narrow, 2.0 ** (bits - 1) - 1)
    return Clip(0.0, 2.0**bits - 1 - narrow)


def _bits(inputs: Inputs, index: int) -> int:
    widths = np.unique(_constant(inputs, index, "bit width"))
    if len(widths) != 1 or widths[0] != int(widths[0]) or not 2 <= widths[0] <= _MOST_BITS:
        raise Unsupported(f"a bit width of {widths.tolist()}; there are 2 to {_MOST_BITS}")
    return int(widths[0])


def _constant(inputs: Inputs, index: int, what: str) -> Array:
    """A constant float operand, with one axis at least."""
    return np.atleast_1d(known(operand(inputs, index), f"its {what}")).astype(np.float32)
