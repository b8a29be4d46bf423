"""Imports means, sums and products of stored integers along axes.

MEAN and SUM follow `reference_ops::QuantizedMeanOrSum` (`kernels/internal/reference/reduce.h`) for
every element type, with `MultiplyByQuantizedMultiplier` of `kernels/internal/common.cc`. TensorFlow
Lite Micro calls the same functions. The runtime is built without TFLITE_SINGLE_ROUNDING, so a
product is rounded to 32 bits and then shifted with a second rounding. Older versions of the runtime
summed in float32; the tests compare with outputs of the current version. The runtime's SUM of int8
and int16 reads and writes the tensors as uint8, so its results are right only if all stored
integers are small and not negative.

REDUCE_PROD follows `QuantizedReduceProd` of the same file. It scales the running product after
every factor, so that the product stays within 32 bits. If the product overflows nevertheless, it
wraps in the runtime and saturates here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import result, tensor
from ellc.frontends.tflite.model import FusedActivation, Tensor, TfliteNode
from ellc.frontends.tflite.operators.wide_functions import want_no_zero
from ellc.frontends.tflite.scales import activation_range, limits_of, scale_of, zero_of
from ellc.ir.fixed_point import quantize_multiplier, reduced
from ellc.ir.ops.arithmetic import Mul, Sub
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.loop import Loop, Walk
from ellc.ir.ops.quantised import Requantize
from ellc.ir.ops.reduce import Reduce
from ellc.ir.ops.shape import Split
from ellc.ir.types import DType

_MOST_SHIFT = 14  # the largest shift of a factor for 64-bit numbers


def _centred_sum(emitter: Emitter, node: TfliteNode, x: Value, axes: tuple[int, ...]) -> Value:
    """Compute the int32 sum of (x - zero point) along axes."""
    widened = emitter.add(Cast(DType.I32), x)
    total = emitter.add(Reduce("sum", axes, node.options.flag("KeepDims")), widened)
    count = math.prod(x.shape[a] for a in axes)
    shape = (1,) if total.shape else ()
    offset = emitter.full(shape, zero_of(tensor(node, 0)) * count, np.int32)
    return emitter.add(Sub(), total, emitter.constant(offset))


def stored_sum(emitter: Emitter, node: TfliteNode, x: Value, axes: tuple[int, ...]) -> Value:
    """Import SUM of stored integers."""
    ratio = float(scale_of(tensor(node, 0))) / float(scale_of(result(node)))
    return _in_scale(
        emitter, node, _centred_sum(emitter, node, x, axes), quantize_multiplier(ratio)
    )


def stored_mean(emitter: Emitter, node: TfliteNode, x: Value, axes: tuple[int, ...]) -> Value:
    """Import MEAN: the factor is divided by the number of elements and keeps all bits that fit."""
    count = math.prod(x.shape[a] for a in axes)
    if count < 1:
        raise Unsupported("a mean over no elements")
    ratio = float(scale_of(tensor(node, 0))) / float(scale_of(result(node)))
    mantissa, shift = quantize_multiplier(ratio)
    bits = min(count.bit_length() - 1, 32, 31 + shift)
    factor = (mantissa << bits) // count, shift - bits
    return _in_scale(emitter, node, _centred_sum(emitter, node, x, axes), factor)


def _in_scale(emitter: Emitter, node: TfliteNode, total: Value, factor: tuple[int, int]) -> Value:
    to = result(node)
    low, high = activation_range(FusedActivation.NONE, to)
    shape = (1,) if total.shape else ()
    parts = (emitter.constant(emitter.full(shape, number, np.int32)) for number in factor)
    return emitter.add(
        Requantize("tflite", zero_of(to), low, high, to.dtype, to.quant), total, *parts
    )


def stored_product_along(
    emitter: Emitter, node: TfliteNode, x: Value, axes: tuple[int, ...]
) -> Value:
    """Import REDUCE_PROD: a loop that multiplies by one element on each trip, in order."""
    source, to = tensor(node, 0), result(node)
    if x.dtype is DType.U8:
        raise Unsupported("no runtime supports it for stored integers of type uint8")
    if x.dtype is DType.I16:
        want_no_zero(source, to)
    other_axes = tuple(a for a in range(x.type.rank) if a not in axes)
    rest = tuple(x.shape[a] for a in other_axes)
    count = math.prod(x.shape[a] for a in axes)
    if count < 1:
        raise Unsupported("a product over no elements")
    shape = tuple(1 if a in axes else e for a, e in enumerate(x.shape))
    ordered = transposed(emitter, x, (*axes, *other_axes))
    factors = reshaped(emitter, ordered, (count, math.prod(rest)))
    scaling = _StepScaling.of(source, to, count)
    total = _running_product(emitter, factors, zero_of(source), scaling)
    low, high = activation_range(FusedActivation.NONE, to)
    last = Requantize("tflite_once", zero_of(to), low, high, to.dtype, to.quant)
    product = scaling.applied(emitter, last, total)
    return reshaped(emitter, product, shape if node.options.flag("KeepDims") else rest)


@dataclass(frozen=True, slots=True)
class _StepScaling:
    """The factor of a 64-bit product; its 15-bit mantissa is in the upper half of 32 bits."""

    mantissa: int
    shift: int

    @staticmethod
    def of(source: Tensor, to: Tensor, count: int) -> _StepScaling:
        """The factor that, applied `count` times, converts a product to the result's scale."""
        real = float(scale_of(source)) / float(scale_of(to)) ** (1.0 / count)
        mantissa, shift = quantize_multiplier(real)
        if shift > _MOST_SHIFT:
            raise Unsupported(f"the scale of the result is too small for its products: {real}")
        return _StepScaling(int(reduced(np.array(mantissa, np.int64))) << 16, shift)

    def applied(self, emitter: Emitter, op: Requantize, x: Value) -> Value:
        """Multiply x by the factor."""
        parts = (np.full(1, part, np.int32) for part in (self.mantissa, self.shift))
        return emitter.add(op, emitter.add(Cast(DType.I64), x), *map(emitter.constant, parts))


def _running_product(emitter: Emitter, factors: Value, zero: int, scaling: _StepScaling) -> Value:
    """Multiply the rows of `factors` [count, n], less `zero`; scale the product after each factor.

    The product is not scaled after the last factor.
    """
    count, size = factors.shape
    offset = emitter.constant(np.full(1, zero, np.int32))
    widened = emitter.add(Sub(), emitter.add(Cast(DType.I32), factors), offset)
    first, *others = (
        emitter.add_multi(Split(0, (1, count - 1)), widened) if count > 1 else [widened]
    )
    total = reshaped(emitter, first, (size,))
    for rows in others:
        body = emitter.inner("product")
        so_far, factor = body.input("product", total.type), body.input("factor", total.type)
        raised = (body.add(Cast(DType.I64), v) for v in (so_far, factor))
        step = Requantize("tflite_once", 0, *limits_of(DType.I32), DType.I32)
        body.output("product", scaling.applied(body, step, body.add(Mul(), *raised)))
        (total,) = emitter.add_multi(Loop(body.build(), count - 1, 1, (Walk(0),)), total, rows)
    return total
