"""Imports QUANTIZE and DEQUANTIZE, and converts the operands of a concatenation to one scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import BYTES, operand, result, tensor
from ellc.frontends.tflite.model import FusedActivation, Tensor, TfliteNode
from ellc.frontends.tflite.operators.quantised_tables import (
    by_table,
    nearest_integers,
    result_by_table,
    scaled_by,
)
from ellc.frontends.tflite.registry import TFLITE
from ellc.frontends.tflite.scales import (
    dequantized,
    quantized,
    requantize,
    scalar_quant,
    scale_of,
    zero_of,
)
from ellc.ir.ops.arithmetic import Sub
from ellc.ir.ops.cast import Cast
from ellc.ir.types import Array, DType


@TFLITE.imports("QUANTIZE", limits="one scale for all elements")
def quantize(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Convert real numbers to stored integers, or stored integers to another scale."""
    x, source, to = operand(inputs, 0), tensor(node, 0), result(node)
    if x.dtype.is_float:
        return quantized(emitter, x, to)
    factor = float(scale_of(source)) / float(scale_of(to))
    if x.dtype in BYTES:
        return result_by_table(emitter, node, x, scaled_by(source, to, factor))
    widened = x if x.dtype is DType.I32 else emitter.add(Cast(DType.I32), x)
    zero = np.full((1,) if x.shape else (), zero_of(source), np.int32)
    widened = emitter.add(Sub(), widened, emitter.constant(zero))
    return requantize(emitter, widened, [factor], to, FusedActivation.NONE)


@TFLITE.imports("DEQUANTIZE")
def dequantize(emitter: Emitter, node: TfliteNode, inputs: Inputs) -> Value:
    """Convert stored integers to real numbers.

    A float32 operand is returned as it is: it was a float16 constant, which the reader converted.
    """
    x = operand(inputs, 0)
    return x if x.dtype is DType.F32 else dequantized(emitter, x, tensor(node, 0))


def joined(emitter: Emitter, node: TfliteNode, parts: Sequence[Value]) -> list[Value]:
    """Convert the operands of a concatenation to the scale of the result."""
    to = result(node)
    return [_in_scale(emitter, v, tensor(node, i), to) for i, v in enumerate(parts)]


def _in_scale(emitter: Emitter, x: Value, source: Tensor, to: Tensor) -> Value:
    if scalar_quant(source) == scalar_quant(to):
        return x
    if x.dtype is not DType.U8:
        raise Unsupported(
            f"'{source.name}' differs from the result in scale or zero point;"
            " only uint8 operands may differ"
        )
    return by_table(emitter, x, to.dtype, to.quant, _linear(source, to))


def _linear(source: Tensor, to: Tensor) -> Callable[[Array], Array]:
    """The function that converts stored integers to another scale, computed in float32."""
    factor = scale_of(source) * (np.float32(1) / scale_of(to))
    offset = np.float32(-zero_of(source)) * factor

    def scale(stored: Array) -> Array:
        return nearest_integers(stored.astype(np.float32) * factor + offset) + zero_of(to)

    return scale
