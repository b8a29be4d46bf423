"""Tensor types: element type, static shape, border and quantisation."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class DType(enum.Enum):
    """Element types. A `BIT` is a sign: 1 stands for +1, 0 for -1. Bits are in `bool` arrays."""

    F32 = "f32"
    F64 = "f64"
    I8 = "i8"
    U8 = "u8"
    I16 = "i16"
    U16 = "u16"
    I32 = "i32"
    U32 = "u32"
    I64 = "i64"
    U64 = "u64"
    BOOL = "bool"
    BIT = "bit"
    F16 = "f16"

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy type that the reference uses for this element type."""
        return _NUMPY[self]

    @property
    def is_float(self) -> bool:
        """Whether elements are floating-point numbers."""
        return self in (DType.F32, DType.F64, DType.F16)

    @property
    def is_integer(self) -> bool:
        """Whether elements are integers (neither floats, booleans nor bits)."""
        return not self.is_float and self not in (DType.BOOL, DType.BIT)

    @property
    def item_bytes(self) -> int:
        """Bytes of an element in memory; raises `ValueError` for `BIT`, since bits are packed."""
        if self is DType.BIT:
            raise ValueError("bits are stored in packed words")
        return self.numpy.itemsize

    @staticmethod
    def of(dtype: npt.DTypeLike) -> DType:
        """The element type for a numpy dtype; raises `KeyError` if there is none."""
        return _FROM_NUMPY[np.dtype(dtype)]


_NUMPY: dict[DType, np.dtype[Any]] = {
    DType.F32: np.dtype(np.float32),
    DType.F64: np.dtype(np.float64),
    DType.I8: np.dtype(np.int8),
    DType.U8: np.dtype(np.uint8),
    DType.I16: np.dtype(np.int16),
    DType.U16: np.dtype(np.uint16),
    DType.I32: np.dtype(np.int32),
    DType.U32: np.dtype(np.uint32),
    DType.I64: np.dtype(np.int64),
    DType.U64: np.dtype(np.uint64),
    DType.BOOL: np.dtype(np.bool_),
    DType.BIT: np.dtype(np.bool_),
    DType.F16: np.dtype(np.float16),
}
_FROM_NUMPY = {v: k for k, v in _NUMPY.items() if k is not DType.BIT}


@dataclass(frozen=True, slots=True)
class Padding:
    """Constant pixels around the rows and columns of an NHWC tensor.

    `values` holds one number for all channels, or one per channel. As an attribute of a convolution
    or pool, it gives the values that the window finds outside the image; they need not be in
    memory. As `TensorType.border`, it says that the buffer holds these pixels around the image.
    """

    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0
    values: tuple[float, ...] = (0.0,)

    @staticmethod
    def same(amount: int, value: float = 0.0) -> Padding:
        """Padding of the same width on all four sides."""
        return Padding(amount, amount, amount, amount, (value,))

    @staticmethod
    def of(amounts: tuple[int, int, int, int], values: Iterable[float]) -> Padding:
        """Padding in a normal form, in which paddings with the same meaning are equal.

        It has a single value if the values of all channels are equal, and no negative zero. It is
        `Padding()` if all amounts are 0.
        """
        if not any(amounts):
            return Padding()
        plain = tuple(float(v) + 0.0 for v in values)
        return Padding(*amounts, plain[:1] if len(set(plain)) == 1 else plain)

    @property
    def is_empty(self) -> bool:
        """Whether all four widths are 0."""
        return not (self.top or self.left or self.bottom or self.right)

    @property
    def amounts(self) -> tuple[int, int, int, int]:
        """The widths (top, left, bottom, right) in pixels."""
        return (self.top, self.left, self.bottom, self.right)

    @property
    def is_zero(self) -> bool:
        """Whether every value is 0."""
        return all(v == 0 for v in self.values)

    def covers(self, other: Padding) -> bool:
        """Whether a kernel that needs the border `other` can read a buffer with this border."""
        return other.is_empty or (
            all(a >= b for a, b in zip(self.amounts, other.amounts, strict=True))
            and self.agrees(other)
        )

    def of_sizes(self) -> Padding:
        """The same widths with the absolute values."""
        return Padding(*self.amounts, tuple(abs(v) for v in self.values))

    def of_errors(self) -> Padding:
        """The padding for an array of rounding errors: the values are 0, since padding is exact."""
        return Padding(*self.amounts)

    def widened(self, inner: Padding) -> tuple[int, int, int, int]:
        """The widths (top, left, bottom, right) of this padding plus those of an inner one."""
        top, left, bottom, right = (a + b for a, b in zip(self.amounts, inner.amounts, strict=True))
        return top, left, bottom, right

    def around(self, inner: Padding) -> Padding | None:
        """The single padding that equals this one around `inner`; None if their values differ."""
        if inner.is_empty:
            return self
        if self.is_empty:
            return inner
        if Padding.of(self.amounts, self.values).values != inner.values:
            return None
        return Padding.of(self.widened(inner), inner.values)

    def agrees(self, other: Padding) -> bool:
        """Whether both have the same value for every channel."""
        if len(self.values) == len(other.values):
            return self.values == other.values
        return len({*self.values, *other.values}) == 1


@dataclass(frozen=True, slots=True)
class Quant:
    """Affine quantisation, per tensor or along `axis`: real = scale * (stored - zero_point)."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None


@dataclass(frozen=True, slots=True)
class TensorType:
    """A static tensor type. Four-dimensional tensors are NHWC.

    `border` belongs to the storage, not to the meaning: the buffer holds these pixels around the
    rows and columns.
    """

    dtype: DType
    shape: tuple[int, ...]
    border: Padding | None = None
    quant: Quant | None = None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def meaning(self) -> TensorType:
        """This type without its border, which only affects storage."""
        return self if self.border is None else replace(self, border=None)

    def with_shape(self, *shape: int) -> TensorType:
        """The same element type and quantisation with another shape and no border.

        A quantisation along an axis is kept only if that axis is unchanged.
        """
        quant, axis = self.quant, None if self.quant is None else self.quant.axis
        if axis is not None and (len(shape) != self.rank or shape[axis] != self.shape[axis]):
            quant = None
        return TensorType(self.dtype, tuple(shape), quant=quant)

    def with_border(self, border: Padding | None) -> TensorType:
        """The same type with this border, or without a border if it is None."""
        return replace(self, border=border)

    def with_dtype(self, dtype: DType) -> TensorType:
        """The same shape with another element type, no border and no quantisation."""
        return TensorType(dtype, self.shape)


def type_of(array: Array, dtype: DType | None = None) -> TensorType:
    """The type of a numpy array; bits need `dtype`, since their arrays are of booleans."""
    return TensorType(dtype or DType.of(array.dtype), tuple(int(d) for d in array.shape))
