"""Imports LOG_SOFTMAX and L2_NORMALIZATION of stored 8-bit integers."""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.common import result, tensor
from ellc.frontends.tflite.model import TfliteNode
from ellc.frontends.tflite.operators.quantised_tables import by_table
from ellc.frontends.tflite.scales import limits_of, scale_of, zero_of
from ellc.ir.fixed_point import (
    LOG_BITS,
    SOFTMAX_SUM_BITS,
    divide_by_power,
    log_softmax_differences,
    softmax_exponentials,
    softmax_scaling,
)
from ellc.ir.ops.arithmetic import Add, Sub
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.fixed_point_functions import InverseRoot, LogOfSum
from ellc.ir.ops.quantised import Requantize
from ellc.ir.ops.reduce import Reduce
from ellc.ir.types import Array, DType

_LOG_STEP = 1 / 16  # the scale of a LOG_SOFTMAX, whose zero point must be the highest integer
_LOG_STEP_BITS = 4
_MOST_TERMS = 1 << SOFTMAX_SUM_BITS  # the sum of this many exponentials may overflow
_UNIT_STEP = 1 / 128  # the scale of normalised vectors
_UNIT_BITS = 7


def stored_log_softmax(emitter: Emitter, node: TfliteNode, x: Value) -> Value:
    """Compute LOG_SOFTMAX in fixed point: x - max(x) - log(sum of e^(x - max(x)))."""
    source, to = tensor(node, 0), result(node)
    low, high = limits_of(to.dtype)
    if scale_of(to) != np.float32(_LOG_STEP) or zero_of(to) != high:
        raise Unsupported(f"a result of scale {scale_of(to)} and zero point {zero_of(to)}")
    if x.shape[-1] >= _MOST_TERMS:
        raise Unsupported(f"{x.shape[-1]} numbers in a vector, more than {_MOST_TERMS - 1}")
    scaling, last = softmax_scaling(1.0, float(scale_of(source))), (x.type.rank - 1,)
    top = emitter.add(Cast(DType.I32), emitter.add(Reduce("max", last, True), x))
    negative = emitter.add(Sub(), emitter.add(Cast(DType.I32), x), top)
    # The differences 0 to -255 become the bytes 255 to 0, which index the tables.
    ones = emitter.constant(np.full(1, 255, np.int32))
    position = emitter.add(Cast(DType.U8), emitter.add(Add(), negative, ones))
    terms = divide_by_power(softmax_exponentials(*scaling), SOFTMAX_SUM_BITS)
    total = emitter.add(Reduce("sum", last, True), _table(emitter, position, terms))
    scaled = _table(emitter, position, log_softmax_differences(*scaling))
    logarithm = emitter.add(Sub(), scaled, emitter.add(LogOfSum(), total))
    # The graph's operator rounds ties up. Here ties must round away from zero, and no logarithm is
    # positive, so 1 is subtracted first.
    less = emitter.add(Sub(), logarithm, emitter.constant(np.ones(1, np.int32)))
    bits = 31 - LOG_BITS - _LOG_STEP_BITS
    op = Requantize("tflite_once", zero_of(to), low, high, to.dtype, to.quant)
    return emitter.add(op, less, *_factor(emitter, 1 << 30, 1 - bits))


def _table(emitter: Emitter, position: Value, by_distance: Array) -> Value:
    """Look up the entries of `by_distance` at the distances 255 - `position`.

    A distance is how far a number is below the largest one.
    """
    table = by_distance[::-1]
    return by_table(emitter, position, DType.I32, None, lambda code: table[code])


def _factor(emitter: Emitter, mantissa: int, shift: int) -> tuple[Value, Value]:
    return tuple(emitter.constant(np.full(1, part, np.int32)) for part in (mantissa, shift))  # type: ignore[return-value]


def stored_l2_normalization(emitter: Emitter, node: TfliteNode, x: Value) -> Value:
    """Compute L2_NORMALIZATION in fixed point; a vector of zeros stays zero."""
    source, to = tensor(node, 0), result(node)
    low, high = limits_of(to.dtype)
    middle = low + 128
    if scale_of(to) != np.float32(_UNIT_STEP) or zero_of(to) != middle:
        raise Unsupported(f"a result of scale {scale_of(to)} and zero point {zero_of(to)}")
    zero = zero_of(source)
    squares = by_table(emitter, x, DType.I32, None, lambda code: (code - zero) ** 2)
    total = emitter.add(Reduce("sum", (x.type.rank - 1,), True), squares)
    mantissa, shift = (emitter.add(InverseRoot(part), total) for part in ("mantissa", "shift"))
    # The kernel for uint8 multiplies by 2^7 and then scales. The kernel for int8 does both in one
    # step.
    before = _UNIT_BITS if x.dtype is DType.U8 else 0
    if not before:
        bits = emitter.constant(np.full(1, _UNIT_BITS, np.int32))
        shift = emitter.add(Add(), shift, bits)
    raised = by_table(emitter, x, DType.I32, None, lambda code: (code - zero) << before)
    op = Requantize("tflite", middle, low, high, to.dtype, to.quant)
    return emitter.add(op, raised, mantissa, shift)
