"""Provides flatbuffer tables that never read beyond the file.

The generated accessors of the package `tflite` trust every offset. This module replaces their table
class by a class that checks offsets, so that the accessors are safe on damaged files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from flatbuffers import number_types
from flatbuffers.table import Table

from ellc.ir.types import Array

_WORD_BYTES = 4
# The bytes of a table without any field, which stands in for a missing table.
_NO_FIELDS = bytes([4, 0, 4, 0, 4, 0, 0, 0])


class Damaged(Exception):
    """Raised if the file is inconsistent; the message says what is wrong and where."""


class EntryBudget:
    """Counts the entries of vectors that may still be read.

    The vectors of a damaged file may overlap, so checking each length does not bound the work.
    """

    def __init__(self, entries: int) -> None:
        self._left = entries

    def spend(self, entries: int) -> None:
        """Subtract this number of entries; raise `Damaged` if there are not as many left."""
        self._left -= entries
        if self._left < 0:
            raise Damaged("its lists are longer than the file")


class CheckedTable(Table):  # type: ignore[misc]
    """A flatbuffer table whose accesses raise `Damaged` instead of reading beyond the file."""

    __slots__ = ("budget",)

    def __init__(self, data: bytes, position: int, budget: EntryBudget) -> None:
        if not 0 <= position < len(data):
            raise Damaged(f"a table at byte {position} is outside the file")
        super().__init__(data, position)
        self.budget = budget

    def Get(self, flags: Any, off: int) -> Any:
        if not 0 <= off <= len(self.Bytes) - flags.bytewidth:
            raise Damaged(f"byte {off} is outside the file")
        return super().Get(flags, off)

    def Offset(self, vtableOffset: int) -> int:
        offset: int = super().Offset(vtableOffset)
        if offset and not 0 <= self.Pos + offset < len(self.Bytes):
            raise Damaged(f"a field of the table at byte {self.Pos} is outside the file")
        return offset

    def Indirect(self, off: int) -> int:
        target: int = off + self.Get(number_types.UOffsetTFlags, off)
        if target >= len(self.Bytes):
            raise Damaged(f"byte {target} is outside the file")
        return target

    def VectorLen(self, off: int) -> int:
        start = self.Indirect(self.Pos + off)
        length: int = self.Get(number_types.UOffsetTFlags, start)
        # An entry has at least one byte, so the rest of the file bounds the number of entries.
        if length > len(self.Bytes) - start - _WORD_BYTES:
            raise Damaged(f"the list at byte {start} has {length} entries")
        return length

    def Vector(self, off: int) -> int:
        start: int = self.Indirect(self.Pos + off) + _WORD_BYTES
        return start

    def String(self, off: int) -> bytes:
        start = self.Indirect(off)
        length = self.Get(number_types.UOffsetTFlags, start)
        if length > len(self.Bytes) - start - _WORD_BYTES:
            raise Damaged(f"the text at byte {start} has {length} bytes")
        self.budget.spend(length // _WORD_BYTES)
        return bytes(self.Bytes[start + _WORD_BYTES : start + _WORD_BYTES + length])

    def GetVectorAsNumpy(self, flags: Any, off: int) -> Array:
        start, length = self.Vector(off), self.VectorLen(off)
        dtype = np.dtype(number_types.to_numpy_type(flags)).newbyteorder("<")
        if length * dtype.itemsize > len(self.Bytes) - start:
            raise Damaged(f"the list at byte {start} has {length} entries")
        return np.frombuffer(self.Bytes, dtype, length, start)


def root(kind: Any, data: bytes, budget: EntryBudget) -> Any:
    """Return the file's root table."""
    return as_table(kind, data, CheckedTable(data, 0, budget).Indirect(0), budget)


def without_fields(kind: Any) -> Any:
    """Return a table of class `kind` in which every field has its default."""
    return as_table(kind, _NO_FIELDS, _WORD_BYTES, EntryBudget(0))


def as_table(kind: Any, data: bytes, position: int, budget: EntryBudget) -> Any:
    """Return the table at a position as an object of `tflite`'s class `kind`."""
    table = kind()
    table._tab = CheckedTable(data, position, budget)
    return table


def entries(owner: Any, name: str) -> Iterator[Any]:
    """Yield the tables of a vector."""
    length = getattr(owner, f"{name}Length")()
    owner._tab.budget.spend(length)
    for index in range(length):
        yield checked(getattr(owner, name)(index), owner)


def checked(table: Any, owner: Any) -> Any:
    """Make a table from an accessor of `owner` check its accesses; None stays None."""
    if table is not None:
        inner = table._tab
        table._tab = CheckedTable(inner.Bytes, inner.Pos, owner._tab.budget)
    return table
