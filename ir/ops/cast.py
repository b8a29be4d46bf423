"""Conversions between element types: of numbers (`Cast`), and of bit patterns (`BitCast`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ellc.ir.op import Arrays, Case, Pointwise, Types, register_op, require
from ellc.ir.ops.common import want_operands
from ellc.ir.ops.elementwise import SPECIAL, spread, want_kind
from ellc.ir.types import Array, DType, TensorType


@register_op("cast")
@dataclass(frozen=True, slots=True)
class Cast(Pointwise):
    """Numbers converted to another element type; `BIT` is not supported.

    Floats are truncated toward zero to integers, and saturate; NaN gives 0. Integers keep their low
    bits. Conversion to bool is x != 0; bool gives 0 and 1. Like every reference, this one returns
    float64 for float64 operands, even if `dtype` is `F32`.
    """

    dtype: DType

    @property
    def jumps(self) -> bool:
        return not self.dtype.is_float

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("cast", inputs, 1)
        want_kind("cast", inputs[0].dtype, "fib")
        want_kind("cast", self.dtype, "fib")
        return (TensorType(self.dtype, inputs[0].shape),)

    def changes_nothing(self, operands: Types, results: Types) -> bool:
        return operands[0].dtype is self.dtype

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        if self.dtype.is_float and x.dtype == np.float64:
            return (x,)
        if x.dtype.kind == "f" and self.dtype.is_integer:
            return (_saturated(x, self.dtype.numpy),)
        return (x.astype(self.dtype.numpy),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        x = spread(rng, -300.0, 300.0, 1, 5, 7, 3)
        for dtype in (DType.I32, DType.U8, DType.I8, DType.I64, DType.F64, DType.BOOL):
            yield Case(cls(dtype), (x,), label=f"f32 to {dtype.value}")
        yield Case(cls(DType.I32), (SPECIAL.copy(),), label="special values")
        integers = rng.integers(-(2**31), 2**31, (1, 3, 5, 7), np.int32)
        for dtype in (DType.F32, DType.I8, DType.I64, DType.BOOL):
            yield Case(cls(dtype), (integers,), label=f"i32 to {dtype.value}")
        pixels = rng.integers(0, 256, (1, 5, 4, 3), np.uint8)
        yield Case(cls(DType.F32), (pixels,), label="u8 to f32")
        yield Case(cls(DType.F32), (pixels > 99,), label="bool to f32")


def _saturated(x: Array, dtype: np.dtype[np.generic]) -> Array:
    """Floats truncated to integers of `dtype`, saturated where numpy's overflow is undefined."""
    info = np.iinfo(dtype)  # type: ignore[type-var]
    truncated = np.trunc(np.nan_to_num(x, nan=0.0, posinf=np.inf, neginf=-np.inf))
    low, high = truncated <= info.min, truncated >= info.max
    inside = np.where(low | high, 0, truncated).astype(dtype)
    return np.where(low, dtype.type(info.min), np.where(high, dtype.type(info.max), inside))


@register_op("bit_cast")
@dataclass(frozen=True, slots=True)
class BitCast(Pointwise):
    """The same bit pattern as an element type of the same size; neither may be `BOOL` or `BIT`."""

    dtype: DType

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("bit_cast", inputs, 1)
        (x,) = inputs
        want_kind("bit_cast", x.dtype, "fi")
        want_kind("bit_cast", self.dtype, "fi")
        same = x.dtype.item_bytes == self.dtype.item_bytes
        require(same, f"bit_cast: {x.dtype.value} and {self.dtype.value} differ in size")
        return (TensorType(self.dtype, x.shape),)

    def reference(self, *inputs: Array) -> Arrays:
        # When graphs are compared, an F32 operand is float64: the pattern is that of its float32.
        (x,) = inputs
        narrow = x.dtype.itemsize != self.dtype.item_bytes
        stored = np.asarray(x.astype(np.float32) if narrow else x, order="C")
        return (stored.view(self.dtype.numpy).reshape(x.shape).copy(),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        yield Case(cls(DType.I32), (SPECIAL[:-1].copy(),), label="special f32 to i32")
        words = rng.integers(0, 2**30, (1, 3, 5, 7), np.int32)
        yield Case(cls(DType.U32), (-words,), label="i32 to u32")
        yield Case(cls(DType.F32), (words,), label="i32 to f32")
        octets = rng.integers(0, 256, (19,), np.uint8)
        yield Case(cls(DType.I8), (octets,), label="u8 to i8")
        wide = rng.integers(-(2**60), 2**60, (5, 3), np.int64)
        yield Case(cls(DType.F64), (wide,), label="i64 to f64")
