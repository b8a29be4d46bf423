"""Values of the kernel IR: a scalar or a vector of one element type, in one virtual register."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

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

    @property
    def is_float(self) -> bool:
        """Whether values are floating point."""
        return self in (Elem.F32, Elem.F64)

    @property
    def is_signed(self) -> bool:
        """Whether order and right shift are those of signed integers."""
        return self.value[0] == "i"

    @property
    def bytes(self) -> int:
        """Size in memory; `INDEX` and `MASK` are never stored (`ValueError`)."""
        if self in (Elem.INDEX, Elem.MASK):
            raise ValueError(f"{self.value} has no form in memory")
        return int(self.value[1:]) // 8

    @property
    def numpy(self) -> np.dtype[Any]:
        """How the interpreter holds such values."""
        names = {Elem.INDEX: "int64", Elem.MASK: "bool"}
        kind = {"f": "float", "i": "int", "u": "uint"}[self.value[0]] if self not in names else ""
        return np.dtype(names.get(self) or kind + self.value[1:])

    @property
    def wider(self) -> Elem:
        """The integer of twice as many bits; `ValueError` if there is none."""
        if self.is_float:
            raise ValueError(f"{self.value} is no integer")
        return Elem(f"{self.value[0]}{16 * self.bytes}")

    @staticmethod
    def of(dtype: DType) -> Elem:
        """The element that stores a tensor's elements: booleans and packed bits are bytes."""
        return Elem.U8 if dtype in (DType.BOOL, DType.BIT) else Elem(dtype.value)


@dataclass(frozen=True, slots=True)
class VType:
    """`lanes` elements in one virtual register; one lane is a scalar."""

    elem: Elem
    lanes: int = 1

    def __str__(self) -> str:
        return self.elem.value if self.lanes == 1 else f"{self.elem.value}x{self.lanes}"

    def with_elem(self, elem: Elem) -> VType:
        """As many lanes of another element."""
        return VType(elem, self.lanes)

    def with_lanes(self, lanes: int) -> VType:
        """The same element, another number of lanes."""
        return VType(self.elem, lanes)


INDEX = VType(Elem.INDEX)
