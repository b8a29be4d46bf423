"""The types of values in kernel IR: scalars and vectors of an element type."""

from __future__ import annotations

import enum
import functools
from typing import Any, NamedTuple

import numpy as np

from ellc.ir.types import DType


class Elem(enum.Enum):
    """Element types. `INDEX` is as wide as a pointer; `MASK` is the result of a comparison."""

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
    INDEX = "idx"
    MASK = "mask"
    F16 = "f16"

    # Members are keys of many tables, and Enum's own hash is slow.
    __hash__ = object.__hash__

    # These are attributes, not properties, because the interpreter reads them millions of times.
    is_float: bool
    """Whether values are floating-point numbers."""
    is_signed: bool
    """Whether values are signed integers, as indices are."""
    numpy: np.dtype[Any]
    """The numpy type of these values in the interpreter."""

    def __init__(self, spelled: str) -> None:
        kind = {"f": "float", "i": "int", "u": "uint"}.get(spelled[0], "")
        self.is_float = kind == "float"
        self.is_signed = kind == "int"
        self.numpy = np.dtype({"idx": "int64", "mask": "bool"}.get(spelled) or kind + spelled[1:])
        self._bytes = int(spelled[1:]) // 8 if spelled[1:].isdigit() else 0

    @property
    def bytes(self) -> int:
        """The size in memory. Raises `ValueError` for `INDEX` and `MASK`, which have none."""
        if not self._bytes:
            raise ValueError(f"{self.value} values cannot be stored")
        return self._bytes

    @property
    def wider(self) -> Elem:
        """The integer type with twice as many bits. Raises `ValueError` if there is none."""
        if self.is_float:
            raise ValueError(f"{self.value} is not an integer")
        return Elem(f"{self.value[0]}{16 * self.bytes}")

    @staticmethod
    def of(dtype: DType) -> Elem:
        """The type in which elements of a tensor are stored; booleans and packed bits are bytes."""
        return Elem.U8 if dtype in (DType.BOOL, DType.BIT) else Elem(dtype.value)


class VType(NamedTuple):
    """A vector of `lanes` elements of one type, or a scalar if there is one lane.

    It is a tuple for speed, because every statement compares and looks up types several times.
    """

    elem: Elem
    lanes: int = 1

    def __str__(self) -> str:
        return _text(self)

    def with_elem(self, elem: Elem) -> VType:
        """This type with another element type."""
        return VType(elem, self.lanes)

    def with_lanes(self, lanes: int) -> VType:
        """This type with another number of lanes."""
        return VType(self.elem, lanes)


@functools.cache
def _text(type_: VType) -> str:
    return type_.elem.value if type_.lanes == 1 else f"{type_.elem.value}x{type_.lanes}"


INDEX = VType(Elem.INDEX)
