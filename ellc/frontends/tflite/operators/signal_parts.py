"""Checks types, reads options, casts and computes with constants for the signal operators."""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.tflite.model import TfliteNode
from ellc.ir.op import Op
from ellc.ir.ops.arithmetic import Sub
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.comparisons import Greater, Select, ShiftRight
from ellc.ir.ops.fixed_point_functions import LeadingZeros
from ellc.ir.types import DType

_MOST_BITS = 31  # the largest supported shift


def require_type(value: Value, dtype: DType, what: str, rank: int | None = None) -> Value:
    """Return the value; raise `Unsupported` unless it has this type and rank."""
    if value.dtype is not dtype or (rank is not None and value.type.rank != rank):
        raise Unsupported(f"its {what} is {value.dtype.value}{list(value.shape)}")
    return value


def with_number(emitter: Emitter, op: Op, x: Value, number: int) -> Value:
    """Apply a binary operator to x and `number`, which is wrapped to the range of x's type."""
    bits = 8 * x.dtype.item_bytes
    wrapped = np.array([number % (1 << bits)], np.uint64)
    return emitter.add(op, x, emitter.constant(wrapped.astype(x.dtype.numpy)))


def as_type(emitter: Emitter, x: Value, dtype: DType) -> Value:
    """Cast the value to a type."""
    return x if x.dtype is dtype else emitter.add(Cast(dtype), x)


def u32_option(node: TfliteNode, name: str) -> int:
    """Read an option modulo 2^32, as an unsigned number."""
    return node.options.whole(name) % (1 << 32)


def bits_option(node: TfliteNode, name: str) -> int:
    """Read an option that is a shift; raise `Unsupported` unless it is 0 to 31."""
    bits = node.options.whole(name)
    if not 0 <= bits <= _MOST_BITS:
        raise Unsupported(f"{name} is {bits}; 0 to {_MOST_BITS} are supported")
    return bits


def length_in_bits(emitter: Emitter, x: Value) -> Value:
    """Compute the i32 number of bits of x (u32) without leading zeros; 0 for 0."""
    half = as_type(emitter, with_number(emitter, ShiftRight(), x, 1), DType.I32)
    zeros = emitter.add(LeadingZeros(), half)
    above = emitter.add(Sub(), emitter.constant(emitter.full(x.shape, 33, np.int32)), zeros)
    is_long = with_number(emitter, Greater(), x, 1)
    return emitter.add(Select(), above, as_type(emitter, x, DType.I32), is_long)
