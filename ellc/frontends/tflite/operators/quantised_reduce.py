"""Means, sums and lengths of stored integers.

MEAN and SUM follow `reference_ops::QuantizedMeanOrSum` (`kernels/internal/reference/reduce.h`) for
every element type, with `MultiplyByQuantizedMultiplier` of `kernels/internal/common.cc` as the
runtime is built, without TFLITE_SINGLE_ROUNDING: a product rounded to 32 bits and then shifted with
a second rounding. TensorFlow Lite Micro calls the same function. Older versions summed in float32;
outputs of today's runtime decide between the three. Its SUM of int8 and int16 itself reads and
writes the tensors as if they were of uint8, so that it agrees only where all numbers stored are
small and not negative.
"""

from __future__ import annotations

import math

import numpy as np

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import result, tensor
from ellc.frontends.tflite.model import Activation, TfliteNode
from ellc.frontends.tflite.scales import activation_range, scale_of, zero_of
from ellc.ir.fixed_point import quantize_multiplier
from ellc.ir.ops.arithmetic import Sub
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.quantised import Requantize
from ellc.ir.ops.reduce import Reduce
from ellc.ir.types import DType


def _centred_sum(emitter: Emitter, node: TfliteNode, x: Value, axes: tuple[int, ...]) -> Value:
    """The sum of the differences to the zero point, 32 bits wide."""
    wide = emitter.add(Cast(DType.I32), x)
    total = emitter.add(Reduce("sum", axes, node.options.flag("KeepDims")), wide)
    count = math.prod(x.shape[a] for a in axes)
    shape = (1,) if total.shape else ()
    offset = emitter.full(shape, zero_of(tensor(node, 0)) * count, np.int32)
    return emitter.add(Sub(), total, emitter.constant(offset))


def stored_sum(emitter: Emitter, node: TfliteNode, x: Value, axes: tuple[int, ...]) -> Value:
    """SUM."""
    ratio = float(scale_of(tensor(node, 0))) / float(scale_of(result(node)))
    return _in_scale(
        emitter, node, _centred_sum(emitter, node, x, axes), quantize_multiplier(ratio)
    )


def stored_mean(emitter: Emitter, node: TfliteNode, x: Value, axes: tuple[int, ...]) -> Value:
    """MEAN: the number of elements is divided out of the factor, which keeps all its bits."""
    count = math.prod(x.shape[a] for a in axes)
    if count < 1:
        raise Unsupported("a mean of nothing")
    ratio = float(scale_of(tensor(node, 0))) / float(scale_of(result(node)))
    mantissa, shift = quantize_multiplier(ratio)
    bits = min(count.bit_length() - 1, 32, 31 + shift)
    factor = (mantissa << bits) // count, shift - bits
    return _in_scale(emitter, node, _centred_sum(emitter, node, x, axes), factor)


def _in_scale(emitter: Emitter, node: TfliteNode, total: Value, factor: tuple[int, int]) -> Value:
    to = result(node)
    low, high = activation_range(Activation.NONE, to)
    shape = (1,) if total.shape else ()
    parts = (emitter.constant(emitter.full(shape, number, np.int32)) for number in factor)
    return emitter.add(
        Requantize("tflite", zero_of(to), low, high, to.dtype, to.quant), total, *parts
    )
