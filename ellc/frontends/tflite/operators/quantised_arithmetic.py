"""Imports sums, products, quotients, squared differences and comparisons of stored integers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ellc.frontends.graph_import.broadcast import common_shape, expanded
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import BYTES, result, tensor
from ellc.frontends.tflite.model import FusedActivation, Tensor, TfliteNode
from ellc.frontends.tflite.operators.quantised_tables import by_table
from ellc.frontends.tflite.operators.wide_functions import want_no_zero
from ellc.frontends.tflite.scales import (
    activation_range,
    limits_of,
    requantize,
    scalar_quant,
    scale_of,
    zero_of,
)
from ellc.ir.fixed_point import multiply, quantize_multiplier
from ellc.ir.ops.arithmetic import Add, Sub
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.functions import Square
from ellc.ir.ops.quantised import Requantize
from ellc.ir.ops.quantised_arithmetic import QuantAdd, QuantDiv, QuantMul
from ellc.ir.types import Array, DType

# Before 8-bit integers are scaled, they are shifted left by these numbers of bits, to keep
# precision: in comparisons, in squared differences and in sums of any number of operands.
_COMPARED_BITS = 8
_SQUARED_BITS = 7
_SUMMED_BITS = 20
# The most operands of ADD_N: the sum of 16 operands of 9 bits, halved and shifted left by 20 bits,
# has 32 bits.
_MOST_SUMMED = 16


def _second_first(x: Value, y: Value) -> bool:
    """Whether the graph's operator should read the second operand first.

    The first operand of that operator must have the shape of the result. If both operands have this
    shape, a computed operand comes before a constant.
    """
    if y.shape != common_shape(x, y):
        return False
    return x.shape != y.shape or (x.is_constant and not y.is_constant)


def stored_sum(emitter: Emitter, node: TfliteNode, x: Value, y: Value, *, subtract: bool) -> Value:
    """Compute x + y, or with `subtract` x - y."""
    first, second, to = tensor(node, 0), tensor(node, 1), result(node)
    low, high = activation_range(node.options.activation, to)
    if to.dtype is DType.I16:
        _want_general_scales(first, second, to)
    try:
        op = QuantAdd.of(
            scalar_quant(first),
            scalar_quant(second),
            to.dtype,
            scalar_quant(to),
            low,
            high,
            subtract,
        )
    except ValueError as error:
        raise Unsupported(f"the result's scale is too small: {error}") from None
    swapped = op.swapped() if _second_first(x, y) else None
    if swapped is not None:
        return emitter.add(swapped, y, x)
    return emitter.add(op, expanded(emitter, x, common_shape(x, y)), y)


def stored_sum_of_all(emitter: Emitter, node: TfliteNode, parts: list[Value]) -> Value:
    """Import ADD_N: sum the halved operands with 20 extra bits, then scale the sum."""
    source, to = tensor(node, 0), result(node)
    same = all(scalar_quant(tensor(node, i)) == scalar_quant(source) for i in range(len(parts)))
    if not same or not 1 <= len(parts) <= _MOST_SUMMED:
        raise Unsupported(f"a sum of {len(parts)} operands, or of operands with different scales")
    scaled = [_scaled(emitter, x, source, _SUMMED_BITS, 0.5) for x in parts]
    total = scaled[0]
    for value in scaled[1:]:
        total = emitter.add(Add(), total, value)
    factor = 2.0 * float(scale_of(source)) / (2.0**_SUMMED_BITS * float(scale_of(to)))
    return requantize(emitter, total, [factor], to, FusedActivation.NONE)


def _want_general_scales(*tensors: Tensor) -> None:
    """Raise `Unsupported` if all scales are powers of two: the runtime has another kernel then."""
    if all(np.frexp(scale_of(t))[0] == 0.5 for t in tensors):
        raise Unsupported("16-bit sums whose scales are powers of two")


def stored_product(emitter: Emitter, node: TfliteNode, x: Value, y: Value) -> Value:
    """Compute x * y."""
    first, second, to = tensor(node, 0), tensor(node, 1), result(node)
    low, high = activation_range(node.options.activation, to)
    op = QuantMul.of(
        scalar_quant(first), scalar_quant(second), to.dtype, scalar_quant(to), low, high
    )
    if _second_first(x, y):
        return emitter.add(op.swapped(), y, x)
    return emitter.add(op, expanded(emitter, x, common_shape(x, y)), y)


def stored_quotient(emitter: Emitter, node: TfliteNode, x: Value, y: Value) -> Value:
    """Compute x / y. A divisor of 0, an error in the runtime, is replaced by y's scale."""
    first, second, to = tensor(node, 0), tensor(node, 1), result(node)
    low, high = activation_range(node.options.activation, to)
    try:
        op = QuantDiv.of(
            scalar_quant(first), scalar_quant(second), to.dtype, scalar_quant(to), low, high
        )
    except ValueError as error:
        raise Unsupported(f"the result's scale is too small: {error}") from None
    return emitter.add(op, expanded(emitter, x, common_shape(x, y)), y)


def stored_squared_difference(emitter: Emitter, node: TfliteNode, x: Value, y: Value) -> Value:
    """Compute (x - y)^2; for 16-bit operands as TensorFlow Lite Micro does."""
    first, second, to = tensor(node, 0), tensor(node, 1), result(node)
    if x.dtype is DType.U8:
        raise Unsupported("no runtime supports it for stored integers of type uint8")
    if x.dtype is DType.I16:
        want_no_zero(first, second, to)
    bits = 0 if x.dtype is DType.I16 else _SQUARED_BITS
    twice = 2.0 * max(float(scale_of(first)), float(scale_of(second)))
    parts = [
        _scaled(emitter, value, source, bits, float(scale_of(source)) / twice)
        for value, source in ((x, first), (y, second))
    ]
    # The square does not depend on the sign, so the operands may be exchanged.
    first_part, second_part = parts[::-1] if _second_first(x, y) else parts
    first_part = expanded(emitter, first_part, common_shape(x, y))
    square = emitter.add(Square(), emitter.add(Sub(), first_part, second_part))
    factor = twice * twice / (2.0 ** (2 * bits) * float(scale_of(to)))
    return requantize(emitter, square, [factor], to, FusedActivation.NONE)


def compared_parts(emitter: Emitter, node: TfliteNode, x: Value, y: Value) -> tuple[Value, Value]:
    """Convert both operands of a comparison to integers of the same scale.

    8-bit operands become 32-bit integers. 16-bit operands must have the same scale and zero point,
    because the runtime compares the stored integers as they are.
    """
    first, second = tensor(node, 0), tensor(node, 1)
    if x.dtype is DType.I16:
        if scalar_quant(first) != scalar_quant(second) or y.dtype is not x.dtype:
            raise Unsupported("16-bit operands with different scales, which no runtime compares")
        return x, y
    if max(scale_of(first), scale_of(second)) >= 1:
        raise Unsupported("a comparison of 8-bit operands whose scale is 1 or more")
    return (
        _scaled(emitter, x, first, _COMPARED_BITS, float(scale_of(first))),
        _scaled(emitter, y, second, _COMPARED_BITS, float(scale_of(second))),
    )


def _scaled(emitter: Emitter, x: Value, source: Tensor, bits: int, factor: float) -> Value:
    """Compute (x - zero point) * 2^bits * factor in 32 bits; a 16-bit x has no zero point."""
    if x.dtype is DType.I16 and not bits:
        parts = (np.full(1, part, np.int32) for part in quantize_multiplier(factor))
        op = Requantize("tflite", 0, *limits_of(DType.I32), DType.I32)
        return emitter.add(op, emitter.add(Cast(DType.I32), x), *map(emitter.constant, parts))
    if x.dtype not in BYTES:
        raise Unsupported(f"stored integers of type {x.dtype.value}")
    return by_table(emitter, x, DType.I32, None, _rescaling(zero_of(source), bits, factor))


def _rescaling(zero: int, bits: int, factor: float) -> Callable[[Array], Array]:
    mantissa, shift = quantize_multiplier(factor)

    def scale(stored: Array) -> Array:
        return multiply(((stored - zero) << bits).astype(np.int32), mantissa, shift)

    return scale
