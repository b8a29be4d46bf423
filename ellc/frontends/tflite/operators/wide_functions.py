"""Imports functions of stored 16-bit integers ("wide"), most of them interpolated in tables.

A function of 8-bit integers has a table entry for every integer, see `quantised_tables.py`. The
zero point of stored 16-bit integers must be 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ellc.frontends.graph_import.broadcast import common_shape, expanded, pointwise
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import result, tensor
from ellc.frontends.tflite.model import FusedActivation, Tensor, TfliteNode
from ellc.frontends.tflite.scales import (
    dequantized,
    limits_of,
    requantize,
    scale_of,
    stored,
    zero_of,
)
from ellc.ir.fixed_point import quantize_multiplier
from ellc.ir.ops.activations import Relu
from ellc.ir.ops.arithmetic import Add, Div, Mul, Sub
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.comparisons import GreaterEqual, Select, ShiftLeft, ShiftRight, Xor
from ellc.ir.ops.fixed_point_functions import Interpolate, LeadingZeros
from ellc.ir.ops.functions import Abs, Sqrt
from ellc.ir.ops.quantised import Requantize
from ellc.ir.ops.reduce import Reduce
from ellc.ir.types import Array, DType, Quant

_LOW, _HIGH = -(1 << 15), (1 << 15) - 1
_POINTS, _POINT_BITS = 512, 7  # the segments of a table, and log2 of a segment's length
_UNIT = np.float32(1 / 32768)


def want_no_zero(*tensors: Tensor) -> None:
    """Raise `Unsupported` unless all tensors are int16 with the zero point 0."""
    for each in tensors:
        if each.dtype is not DType.I16 or zero_of(each):
            raise Unsupported(f"'{each.name}' is not int16 with the zero point 0")


def widened(emitter: Emitter, x: Value) -> Value:
    """Convert x to 32-bit integers."""
    return emitter.add(Cast(DType.I32), x)


def _number(emitter: Emitter, value: int) -> Value:
    return emitter.constant(np.full(1, value, np.int32))


def _narrowed(
    emitter: Emitter, x: Value, bits: int, quant: Quant | None, low: int = _LOW, high: int = _HIGH
) -> Value:
    """Divide 32-bit integers by 2^bits, and clamp to 16-bit integers; ties round up."""
    op = Requantize("tflite_once", 0, low, high, DType.I16, quant)
    return emitter.add(op, x, _number(emitter, 1 << 30), _number(emitter, 1 - bits))


# --- scaling -------------------------------------------------------------------------------------


def rescaled_wide(
    emitter: Emitter, node: TfliteNode, x: Value, low: float | None, high: float | None
) -> Value:
    """Convert x to the result's scale, and clamp it to real bounds; None means no bound."""
    source, to = tensor(node, 0), result(node)
    want_no_zero(source, to)
    lowest, highest = limits_of(to.dtype)
    bounds = (stored(low, to), stored(high, to))
    bottom = lowest if bounds[0] is None else max(lowest, bounds[0])
    top = highest if bounds[1] is None else min(highest, bounds[1])
    factor = quantize_multiplier(float(scale_of(source) / scale_of(to)))
    op = Requantize("tflite", 0, bottom, top, to.dtype, to.quant)
    return emitter.add(op, widened(emitter, x), *(_number(emitter, part) for part in factor))


def leaky_wide(emitter: Emitter, node: TfliteNode, x: Value, slope: float) -> Value:
    """Compute LEAKY_RELU of stored 16-bit integers."""
    source, to = tensor(node, 0), result(node)
    above = rescaled_wide(emitter, node, x, None, None)
    factor = float(scale_of(source) * np.float32(slope) / scale_of(to))
    below = requantize(emitter, widened(emitter, x), [factor], to, FusedActivation.NONE)
    zero = emitter.constant(np.zeros(1, np.int16))
    return emitter.add(Select(), above, below, emitter.add(GreaterEqual(), x, zero))


def prelu_wide(emitter: Emitter, node: TfliteNode, x: Value, slopes: Value) -> Value:
    """Compute PRELU: if x is negative, the product of x and its slope is multiplied by a factor.

    Slopes must have 8 bits, like weights. The runtime reads 16-bit slopes as bytes, which is a bug.
    """
    source, slope, to = tensor(node, 0), tensor(node, 1), result(node)
    if slopes.dtype is not DType.I8 or zero_of(slope):
        raise Unsupported(f"slopes of type {slopes.dtype.value} for a 16-bit operand")
    x = expanded(emitter, x, common_shape(x, slopes))
    above = rescaled_wide(emitter, node, x, None, None)
    factor = float(scale_of(source) * scale_of(slope) / scale_of(to))
    product = pointwise(emitter, Mul(), widened(emitter, x), widened(emitter, slopes))
    below = requantize(emitter, product, [factor], to, FusedActivation.NONE)
    zero = emitter.constant(np.zeros(1, np.int16))
    return emitter.add(Select(), above, below, emitter.add(GreaterEqual(), x, zero))


def square_root_wide(emitter: Emitter, node: TfliteNode, x: Value) -> Value:
    """Compute SQRT in float32, truncated; negative numbers (errors in the runtime) give 0."""
    source, to = tensor(node, 0), result(node)
    want_no_zero(source, to)
    real = emitter.add(Relu(), dequantized(emitter, x, source))
    step = emitter.constant(np.full(1, scale_of(to), np.float32))
    quotient = emitter.add(Div(), emitter.add(Sqrt(), real), step)
    truncated = emitter.add(Cast(DType.I32), quotient)
    op = Requantize("tflite", 0, _LOW, _HIGH, DType.I16, to.quant)
    return emitter.add(op, truncated, _number(emitter, 1 << 30), _number(emitter, 1))


def absolute_wide(emitter: Emitter, node: TfliteNode, x: Value) -> Value:
    """Compute ABS of stored 16-bit integers."""
    source, to = tensor(node, 0), result(node)
    want_no_zero(source, to)
    factor = float(scale_of(source) / scale_of(to))
    magnitude = emitter.add(Abs(), widened(emitter, x))
    return requantize(emitter, magnitude, [factor], to, FusedActivation.NONE)


# --- tables of 513 points ------------------------------------------------------------------------


def function_of_wide(
    emitter: Emitter, node: TfliteNode, x: Value, function: Callable[[Array], Array]
) -> Value:
    """Apply a function of real numbers, interpolated between points 128 stored integers apart."""
    source, to = tensor(node, 0), result(node)
    want_no_zero(source, to)
    ends = np.array([_LOW, _HIGH], np.float32)
    points = _points(function, scale_of(source) * ends, scale_of(to) * ends)
    return _interpolated(emitter, x, points, to.quant)


def _points(function: Callable[[Array], Array], ends: Array, results: Array) -> Array:
    """Compute the stored results at 513 points between two ends, in the precision of `ends`.

    `results` has the real numbers for the smallest and the largest stored result. All points except
    the last are moved by half of the error that linear interpolation has in the middle of a
    segment.
    """
    kind = ends.dtype.type
    step = (ends[1] - ends[0]) / kind(_POINTS)
    inverse = kind(1 << 16) / (results[1] - results[0])

    def scaled(x: Array) -> Array:
        return np.asarray(function(x.astype(ends.dtype)).astype(ends.dtype) * inverse)

    number = np.arange(_POINTS).astype(ends.dtype)
    positions, following = ends[0] + number * step, ends[0] + (number + 1) * step
    exact = _rounded(scaled(positions))
    middle = _rounded((scaled(following) + exact) / kind(2))
    error = _rounded((middle - _rounded(scaled(positions + step / kind(2)))) / kind(2))
    every = np.append(exact - error, _rounded(scaled(ends[1:])))
    every = np.nan_to_num(every, nan=_HIGH)  # NaN comes from infinity minus infinity
    return np.asarray(np.clip(every, _LOW, _HIGH).astype(np.int32))


def _rounded(x: Array) -> Array:
    """Round to integers, in the float type of x; ties round away from zero."""
    return np.asarray(np.copysign(np.floor(np.abs(x) + x.dtype.type(0.5)), x))


def _interpolated(emitter: Emitter, x: Value, points: Array, quant: Quant | None) -> Value:
    """Map 16-bit integers x to 16-bit results by linear interpolation between 513 points."""
    position = emitter.add(Sub(), widened(emitter, x), _number(emitter, _LOW))
    tables = (points[:-1] << _POINT_BITS, np.diff(points))
    value = emitter.add(Interpolate(_POINT_BITS), position, *(emitter.constant(t) for t in tables))
    return _narrowed(emitter, value, _POINT_BITS, quant)


# --- logistic function and hyperbolic tangent ----------------------------------------------------

_SIGMOID_STEPS = 24  # the points per unit of the operand; the table has 256 points
_FINE_BITS = 12  # the fraction bits of the operand before it is multiplied by 3


def logistic_wide(emitter: Emitter, node: TfliteNode, x: Value) -> Value:
    """Compute LOGISTIC by interpolation between 16-bit points, 2^9 apart.

    Results have 15 fraction bits.
    """
    points = _sigmoid_points()
    bases = (points << 9) - (1 << 24)
    value = _symmetric(emitter, node, x, 9, bases, np.append(np.diff(points), 0))
    return _narrowed(
        emitter, emitter.add(Add(), value, _number(emitter, 1 << 24)), 10, result(node).quant
    )


def tanh_wide(emitter: Emitter, node: TfliteNode, x: Value) -> Value:
    """Compute TANH as 2 sigmoid(2x) - 1, from the same points, now 2^8 apart; the last one is 1."""
    ends = np.append(_sigmoid_points()[:-1], (1 << 16) - 1)
    bases = (ends << 8) - (1 << 23)
    value = _symmetric(emitter, node, x, 8, bases, np.append(np.diff(ends), 0))
    return _narrowed(emitter, value, 8, result(node).quant)


def _sigmoid_points() -> Array:
    """Compute 65536 / (1 + e^(-i / 24)) for i from 0 to 255, corrected for linear interpolation.

    Each point is raised by half of the error in the middle of the line to the next point.
    """

    def curve(i: Array) -> Array:
        return np.asarray(65536 / (1 + np.exp(-i / _SIGMOID_STEPS)))

    i = np.arange(256.0)
    error = (curve(i) + curve(i + 1)) / 2 - curve(i + 0.5)
    return np.floor(curve(i) - error / 2 + 0.5).astype(np.int32)


def _symmetric(
    emitter: Emitter, node: TfliteNode, x: Value, bits: int, bases: Array, slopes: Array
) -> Value:
    """Apply an odd function to x by interpolation on |x|.

    For negative x, the interpolated value v is inverted bit by bit, which gives -v - 1. The later
    rounding step then rounds ties away from zero for both signs.
    """
    source, to = tensor(node, 0), result(node)
    want_no_zero(source, to)
    if scale_of(to) != _UNIT:
        raise Unsupported(f"{node.kind} with a result of scale {scale_of(to)}")
    mantissa, shift = float(scale_of(source)) * 3 * 2**_FINE_BITS, 0
    while mantissa <= _HIGH / 2 and shift <= 30:
        mantissa, shift = mantissa * 2, shift + 1
    if mantissa > _HIGH:
        raise Unsupported(f"{node.kind} of an operand of scale {scale_of(source)}")
    y = emitter.add(Mul(), widened(emitter, x), _number(emitter, int(mantissa)))
    if shift:
        y = emitter.add(Add(), y, _number(emitter, 1 << (shift - 1)))
        y = emitter.add(ShiftRight(), y, _number(emitter, shift))
    tables = (emitter.constant(t.astype(np.int32)) for t in (bases, slopes))
    value = emitter.add(Interpolate(bits), emitter.add(Abs(), y), *tables)
    return emitter.add(Xor(), value, emitter.add(ShiftRight(), y, _number(emitter, 31)))


# --- softmax -------------------------------------------------------------------------------------

_DEEPEST = 10.0  # a number more than 10 below the largest counts as if it were 10 below


def softmax_wide(emitter: Emitter, node: TfliteNode, x: Value, beta: float) -> Value:
    """Compute SOFTMAX with tables of exponentials and reciprocals, all with 15 fraction bits."""
    source, to = tensor(node, 0), result(node)
    want_no_zero(source, to)
    if abs(float(scale_of(to)) * 32768 - 1) > 0.001:
        raise Unsupported(f"a result of scale {scale_of(to)}")
    last = (x.type.rank - 1,)
    factor = float(scale_of(source)) * float(np.float32(beta)) / (_DEEPEST / 65535)
    top = widened(emitter, emitter.add(Reduce("max", last, True), x))
    below = emitter.add(Sub(), widened(emitter, x), top)
    scaled = Requantize("tflite", _HIGH, _LOW, _HIGH, DType.I16)
    parts = (_number(emitter, part) for part in quantize_multiplier(factor))
    unit = np.array([-1.0, 1.0])
    table = _points(np.exp, np.array([-_DEEPEST, 0.0]), unit)
    powers = widened(
        emitter, _interpolated(emitter, emitter.add(scaled, below, *parts), table, None)
    )
    total = emitter.add(Reduce("sum", last, True), powers)
    zeros = emitter.add(LeadingZeros(), total)
    # The sum is shifted to the range 2^30..2^31, which represents 1..2. Then 3/2 is subtracted.
    room = emitter.add(Sub(), zeros, _number(emitter, 1))
    raised = emitter.add(ShiftLeft(), total, room)
    centred = emitter.add(Sub(), raised, _number(emitter, 3 << 29))
    table = _points(lambda v: 1 / (1 + v), np.array([0.0, 1.0]), unit)
    inverse = _interpolated(emitter, _narrowed(emitter, centred, 14, None), table, None)
    mantissa = emitter.add(ShiftLeft(), widened(emitter, inverse), _number(emitter, 16))
    shift = emitter.add(Sub(), zeros, _number(emitter, 16))
    share = Requantize("tflite_once", 0, 0, _HIGH, DType.I16, to.quant)
    return emitter.add(share, powers, mantissa, shift)
