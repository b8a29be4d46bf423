"""Reads scales and zero points, computes ranges and factors from them, and adds conversions.

Every step has the same precision as in TensorFlow Lite's reference kernels, and scales are float32.
Results would be off by one bit if, for example, a product were not rounded to float32 before its
conversion to double.
"""

from __future__ import annotations

import math

import numpy as np

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.model import FusedActivation, Tensor
from ellc.frontends.tflite.registry import NOT_ON_INTEGERS
from ellc.ir.fixed_point import quantize_multiplier
from ellc.ir.ops.quantised import Dequantize, Quantize, Requantize
from ellc.ir.types import DType, Quant

_BOUNDS = {
    FusedActivation.NONE: (None, None),
    FusedActivation.RELU: (0.0, None),
    FusedActivation.RELU_N1_TO_1: (-1.0, 1.0),
    FusedActivation.RELU6: (0.0, 6.0),
}


def quant_of(tensor: Tensor) -> Quant:
    """The quantisation parameters of a tensor; raises `Unsupported` if it has none."""
    if tensor.quant is None:
        raise Unsupported(f"'{tensor.name}' is {tensor.kind} without a scale and a zero point")
    if tensor.dtype.is_integer:
        info = np.iinfo(tensor.dtype.numpy)
        for zero in tensor.quant.zero_point:
            if not info.min <= zero <= info.max:
                raise Unsupported(
                    f"'{tensor.name}' has the zero point {zero}, which is not {tensor.kind}"
                )
    return tensor.quant


def scalar_quant(tensor: Tensor) -> Quant:
    """The quantisation parameters of a tensor; raises `Unsupported` unless it has one scale."""
    quant = quant_of(tensor)
    if len(quant.scale) != 1:
        raise Unsupported(f"'{tensor.name}' has a scale per channel; one scale is supported here")
    if quant.scale[0] == 0:
        raise Unsupported(f"'{tensor.name}' has the scale 0")
    return quant


def scale_of(tensor: Tensor) -> np.float32:
    """The scale of a tensor that has one scale."""
    return np.float32(scalar_quant(tensor).scale[0])


def zero_of(tensor: Tensor) -> int:
    """The zero point of a tensor that has one scale."""
    return scalar_quant(tensor).zero_point[0]


def limits_of(dtype: DType) -> tuple[int, int]:
    """The lowest and the highest number of an integer type."""
    if not dtype.is_integer:
        raise Unsupported(f"a result of type {dtype.value} from stored integers")
    info = np.iinfo(dtype.numpy)
    return int(info.min), int(info.max)


def activation_range(activation: FusedActivation, tensor: Tensor) -> tuple[int, int]:
    """The range (low, high) of a result's stored integers after its fused activation."""
    if activation not in _BOUNDS:
        raise Unsupported(f"{NOT_ON_INTEGERS.reason}: {activation.name} on {tensor.kind}")
    lowest, highest = limits_of(tensor.dtype)
    low, high = (stored(b, tensor) for b in _BOUNDS[activation])
    bounds = (
        (lowest if low is None else max(lowest, low)),
        (highest if high is None else min(highest, high)),
    )
    if bounds[0] > bounds[1]:
        raise Unsupported(f"'{tensor.name}' cannot store any result of {activation.name}")
    return bounds


def stored(real: float | None, tensor: Tensor) -> int | None:
    """Convert a real number to a stored integer, rounded like in the runtime but not clamped.

    None stays None.
    """
    if real is None:
        return None
    number = np.float32(real) / scale_of(tensor)
    if not abs(number) < 2**31:  # the runtime refuses such a scale as well
        raise Unsupported(f"the scale {scale_of(tensor)} of '{tensor.name}' is too small")
    return zero_of(tensor) + half_away(number)


def half_away(real: np.float32 | float) -> int:
    """Round to the nearest integer; ties round away from zero."""
    return int(math.copysign(math.floor(abs(float(real)) + 0.5), float(real)))


def requantize(
    emitter: Emitter,
    total: Value,
    factors: list[float],
    to: Tensor,
    activation: FusedActivation,
    rule: str = "tflite",
) -> Value:
    """Multiply sums by one factor, or one per channel, to get the stored integers of `to`."""
    low, high = activation_range(activation, to)
    pairs = np.array([_multiplier(f, rule, total.dtype) for f in factors], np.int32)
    op = Requantize(rule, zero_of(to), low, high, to.dtype, to.quant)
    parts = (emitter.constant(pairs[:, side].copy()) for side in (0, 1))
    return emitter.add(op, total, *parts)


def _multiplier(factor: float, rule: str, dtype: DType) -> tuple[int, int]:
    """The mantissa and shift of a factor; raises `Unsupported` if the shift is too large."""
    mantissa, shift = quantize_multiplier(factor)
    most_shift = -2 if rule == "tflite_reduced" else 14 if dtype is DType.I64 else 31
    if mantissa and shift > most_shift:
        raise Unsupported(f"the scale of the result is too small for its sums: factor {factor}")
    return mantissa, min(shift, most_shift)


def dequantized(emitter: Emitter, value: Value, tensor: Tensor) -> Value:
    """Convert stored integers to float32; `tensor` has the scales and zero points."""
    quant = quant_of(tensor)
    shape = [1] * max(1, len(value.shape))
    if quant.axis is not None and value.shape:
        shape[quant.axis] = len(quant.scale)
    scale = np.array(quant.scale, np.float32).reshape(shape)
    zero = np.array(quant.zero_point, np.int32).reshape(shape)
    if not value.shape:
        scale, zero = scale.reshape(()), zero.reshape(())
    return emitter.add(Dequantize(), value, emitter.constant(scale), emitter.constant(zero))


def quantized(emitter: Emitter, value: Value, to: Tensor) -> Value:
    """Convert real numbers to the stored integers of `to`; ties round away from zero."""
    shape = (1,) if value.shape else ()
    scale = emitter.full(shape, scale_of(to), np.float32)
    zero = emitter.full(shape, zero_of(to), np.int32)
    op = Quantize("half_away", to.dtype, to.quant)
    return emitter.add(op, value, emitter.constant(scale), emitter.constant(zero))
