"""Values of the kernel IR: a scalar or a vector of one element type, in one virtual register."""

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

    # Look-ups by type hash members all the time, and Enum's own hash is slow.
    __hash__ = object.__hash__

    # Attributes instead of properties: the interpreter reads them millions of times.
    is_float: bool
    """Whether values are floating point."""
    is_signed: bool
    """Whether order and right shift are those of signed integers."""
    numpy: np.dtype[Any]
    """The numpy type of such values in the interpreter."""

    def __init__(self, spelled: str) -> None:
        kind = {"f": "float", "i": "int", "u": "uint"}.get(spelled[0], "")
        self.is_float = kind == "float"
        self.is_signed = kind == "int"
        self.numpy = np.dtype({"idx": "int64", "mask": "bool"}.get(spelled) or kind + spelled[1:])
        self._bytes = int(spelled[1:]) // 8 if spelled[1:].isdigit() else 0

    @property
    def bytes(self) -> int:
        """Size in memory; `INDEX` and `MASK` are never stored (`ValueError`)."""
        if not self._bytes:
            raise ValueError(f"{self.value} has no form in memory")
        return self._bytes

    @property
    def wider(self) -> Elem:
        """The integer of twice as many bits; `ValueError` if there is none."""
        if self.is_float:
            raise ValueError(f"{self.value} is not an integer")
        return Elem(f"{self.value[0]}{16 * self.bytes}")

    @staticmethod
    def of(dtype: DType) -> Elem:
        """The type that stores a tensor's elements: booleans and packed bits are bytes."""
        return Elem.U8 if dtype in (DType.BOOL, DType.BIT) else Elem(dtype.value)


class VType(NamedTuple):
    """`lanes` elements in one virtual register; one lane is a scalar.

    A tuple, because types are compared and looked up several times for every statement.
    """

    elem: Elem
    lanes: int = 1

    def __str__(self) -> str:
        return _text(self)

    def with_elem(self, elem: Elem) -> VType:
        """Another element type, as many lanes."""
        return VType(elem, self.lanes)

    def with_lanes(self, lanes: int) -> VType:
        """The same element type, another number of lanes."""
        return VType(self.elem, lanes)


@functools.cache
def _text(type_: VType) -> str:
    return type_.elem.value if type_.lanes == 1 else f"{type_.elem.value}x{type_.lanes}"


INDEX = VType(Elem.INDEX)
