"""Adds 32-bit fixed-point arithmetic to graphs, for layers of stored integers."""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.values import Emitter, Value
from ellc.ir.ops.arithmetic import Add
from ellc.ir.ops.comparisons import ShiftRight
from ellc.ir.ops.quantised import Requantize
from ellc.ir.types import DType

LOW, HIGH = -(1 << 15), (1 << 15) - 1
WIDE_LOW, WIDE_HIGH = -(1 << 31), (1 << 31) - 1


def number(emitter: Emitter, value: int, dtype: DType = DType.I32) -> Value:
    """A constant with one element, which broadcasts."""
    return emitter.constant(np.full(1, value, dtype.numpy))


def scaled(
    emitter: Emitter, x: Value, factor: tuple[int, int], low: int = WIDE_LOW, high: int = WIDE_HIGH
) -> Value:
    """Multiply x by a factor (mantissa and shift of `ellc.ir.fixed_point.multiply`), and clamp."""
    parts = (number(emitter, part) for part in factor)
    return emitter.add(Requantize("tflite", 0, low, high, DType.I32), x, *parts)


def shifted(emitter: Emitter, x: Value, bits: int) -> Value:
    """Compute x / 2^bits, rounded to nearest, ties away from zero.

    The graph's operator rounds ties up, so 1 is subtracted from negative numbers first. Therefore x
    must not be the lowest 32-bit number.
    """
    lower = emitter.add(Add(), x, emitter.add(ShiftRight(), x, number(emitter, 31)))
    op = Requantize("tflite_once", 0, WIDE_LOW, WIDE_HIGH, DType.I32)
    return emitter.add(op, lower, number(emitter, 1 << 30), number(emitter, 1 - bits))


def bounded(emitter: Emitter, x: Value, low: int, high: int) -> Value:
    """Clamp x to two bounds."""
    op = Requantize("tflite_once", 0, low, high, DType.I32)
    return emitter.add(op, x, number(emitter, 1 << 30), number(emitter, 1))
