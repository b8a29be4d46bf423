"""Imports functions of stored 8-bit integers as look-ups in tables of 256 entries.

The tables are computed at import, with the arithmetic of the reference kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import BYTES, result, tensor
from ellc.frontends.tflite.model import Tensor, TfliteNode
from ellc.frontends.tflite.scales import limits_of, scale_of, zero_of
from ellc.ir.fixed_point import inverse_root, multiply, quantize_multiplier
from ellc.ir.ops.quantised import Lookup
from ellc.ir.types import Array, DType, Quant

_ROOT_BITS = 20  # an inverse root is shifted left by this many bits, to keep precision


def by_table(
    emitter: Emitter,
    x: Value,
    dtype: DType,
    quant: Quant | None,
    function: Callable[[Array], Array],
) -> Value:
    """Add a look-up of x, stored 8-bit integers, in the table of a function.

    `function` maps an int64 array of stored integers to stored results. The entries of the table
    are these results, truncated to integers and clamped to the range of `dtype`.
    """
    if x.dtype not in BYTES:
        raise Unsupported(f"stored integers of type {x.dtype.value}")
    low, _ = limits_of(x.dtype)
    lowest, highest = limits_of(dtype)
    values = np.clip(function(emitter.counted(256) + low).astype(np.int64), lowest, highest)
    table = emitter.constant(values.astype(dtype.numpy))
    return emitter.add(Lookup(dtype, quant), x, table)


def result_by_table(
    emitter: Emitter, node: TfliteNode, x: Value, function: Callable[[Array], Array]
) -> Value:
    """Add a look-up of x in the table of a function; the entries have the node's result type."""
    to = result(node)
    return by_table(emitter, x, to.dtype, to.quant, function)


def scaled_by(source: Tensor, to: Tensor, factor: float) -> Callable[[Array], Array]:
    """The function (x - zero point) * factor + the result's zero point of stored integers x."""
    mantissa, shift = quantize_multiplier(factor)
    before, after = zero_of(source), zero_of(to)

    def scale(stored: Array) -> Array:
        return (
            multiply((stored - before).astype(np.int32), mantissa, shift).astype(np.int64) + after
        )

    return scale


def on_stored(node: TfliteNode, function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Convert a function of real numbers, computed in float32, to a function of stored integers."""
    source, to = tensor(node, 0), result(node)
    scale, zero, inverse = scale_of(source), zero_of(source), np.float32(1) / scale_of(to)

    def apply(stored: Array) -> Array:
        real = function(scale * (stored - zero).astype(np.float32)).astype(np.float32)
        return nearest_integers(real * inverse) + zero_of(to)

    return apply


def nearest_integers(real: Array) -> Array:
    """Round to the nearest integer within +-2^31; ties round away from zero, and NaN becomes 0."""
    bounded = np.clip(np.nan_to_num(real.astype(np.float64)), -(2.0**31), 2.0**31)
    return np.copysign(np.floor(np.abs(bounded) + 0.5), bounded).astype(np.int64)


def rescaled(emitter: Emitter, node: TfliteNode, x: Value, low: float, high: float | None) -> Value:
    """Convert x to the result's scale, and clamp it to real bounds, as RELU and RELU6 do.

    If `high` is None, there is no upper bound.
    """
    source, to = tensor(node, 0), result(node)
    inner = scaled_by(source, to, float(scale_of(source) / scale_of(to)))
    lowest, highest = limits_of(to.dtype)
    bottom = max(lowest, _stored(low, to))
    top = highest if high is None else min(highest, _stored(high, to))
    return result_by_table(
        emitter, node, x, lambda stored: np.minimum(np.maximum(inner(stored), bottom), top)
    )


def _stored(real: float, to: Tensor) -> int:
    return zero_of(to) + int(nearest_integers(np.array(np.float32(real) / scale_of(to))))


def leaky(emitter: Emitter, node: TfliteNode, x: Value, slope: float) -> Value:
    """Compute LEAKY_RELU, with one factor for numbers >= 0 and another for negative numbers."""
    source, to = tensor(node, 0), result(node)
    above = scaled_by(source, to, float(scale_of(source) / scale_of(to)))
    below = scaled_by(source, to, float(scale_of(source) * np.float32(slope) / scale_of(to)))
    zero = zero_of(source)
    return result_by_table(emitter, node, x, lambda s: np.where(s >= zero, above(s), below(s)))


def absolute(emitter: Emitter, node: TfliteNode, x: Value) -> Value:
    """Compute ABS of stored 8-bit integers."""
    source, to = tensor(node, 0), result(node)
    zero = zero_of(source)
    if scale_of(source) == scale_of(to):
        return result_by_table(emitter, node, x, lambda s: np.abs(s - zero) + zero_of(to))
    inner = scaled_by(source, to, float(scale_of(source) / scale_of(to)))
    return result_by_table(emitter, node, x, lambda s: inner(np.abs(s - zero) + zero))


def square_root(emitter: Emitter, node: TfliteNode, x: Value) -> Value:
    """Compute SQRT, truncated; negative numbers (errors in the runtime) give 0."""
    source, to = tensor(node, 0), result(node)

    def root(stored: Array) -> Array:
        real = scale_of(source) * (stored - zero_of(source)).astype(np.float32)
        quotient = np.sqrt(np.maximum(real, 0)) / scale_of(to)
        truncated: Array = np.trunc(quotient).astype(np.int64)
        return truncated + zero_of(to)

    return result_by_table(emitter, node, x, root)


def reciprocal_root(emitter: Emitter, node: TfliteNode, x: Value) -> Value:
    """Compute RSQRT; 0 and negative numbers (errors in the runtime) give the highest number."""
    source, to = tensor(node, 0), result(node)
    real = 1.0 / (math.sqrt(scale_of(source)) * float(scale_of(to)))
    mantissa, shift = quantize_multiplier(real)
    if shift > _ROOT_BITS + 31:
        raise Unsupported(f"RSQRT with a result of scale {scale_of(to)}")

    def root(stored: Array) -> Array:
        value = (stored - zero_of(source)).astype(np.int32)
        factor, bits = inverse_root(value)
        scaled_up = multiply(np.ones_like(value), factor, bits + _ROOT_BITS)
        scaled = multiply(scaled_up, mantissa, max(shift - _ROOT_BITS, -31)).astype(np.int64)
        return np.where(value > 0, scaled + zero_of(to), limits_of(to.dtype)[1])

    return result_by_table(emitter, node, x, root)


# ---- hard swish ---------------------------------------------------------------------------------

_MOST = (1 << 15) - 1


def hard_swish(emitter: Emitter, node: TfliteNode, x: Value) -> Value:
    """Compute HARD_SWISH in 16-bit fixed point: x * clip((x + 3) / 6, 0, 1)."""
    source, to = tensor(node, 0), result(node)
    unit = np.float32(1 / 128) * scale_of(source)
    result_factor, result_bits = _factor16(unit / scale_of(to))
    ratio_factor, ratio_bits = _factor16(unit / np.float32(3 / 32768))
    if result_bits > 0:
        raise Unsupported("the scale of the result is much smaller than the scale of the operand")

    def apply(stored: Array) -> Array:
        scaled_up = (stored - zero_of(source)) << 7
        on_result = _high16(scaled_up, result_factor)
        ratio = scaled_up
        if ratio_bits > 0:
            ratio = _saturated(ratio << (ratio_bits - 1))
        ratio = _high16(ratio, ratio_factor)
        if ratio_bits > 0:
            ratio = _saturated(ratio << 1)
        elif ratio_bits < 0:
            ratio = _divided(ratio, -ratio_bits)
        ratio = (ratio + (1 << 15)) >> 1  # maps the range -1 to 1 to the range 0 to 1
        product = ratio * on_result
        truncated = np.sign(product) * (np.abs(product) >> 15)
        return _divided(truncated, -result_bits) + zero_of(to)

    return result_by_table(emitter, node, x, apply)


def _factor16(real: np.float32) -> tuple[int, int]:
    """Convert a factor to a 16-bit mantissa, rounded and saturated, and a shift."""
    mantissa, shift = quantize_multiplier(float(real))
    return (_MOST if mantissa >= (1 << 31) - 1 - (1 << 15) else (mantissa + (1 << 15)) >> 16), shift


def _high16(a: Array, b: int) -> Array:
    """Compute 2ab / 2^16, rounded and saturated to 16 bits; ties round up."""
    return np.asarray(np.minimum((a * b + (1 << 14)) >> 15, _MOST))


def _saturated(x: Array) -> Array:
    return np.clip(x, -_MOST - 1, _MOST)


def _divided(x: Array, bits: int) -> Array:
    """Compute x / 2^bits, rounded; ties round away from zero."""
    half = (1 << bits) >> 1
    return np.asarray(np.sign(x) * ((np.abs(x) + half) >> bits))
