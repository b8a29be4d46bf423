"""Reads ELF files: symbols, needed libraries, sections, segments.

Checks and reports use this, for instance to find undefined symbols or the size in flash, so that
they need no binutils for the target.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_SHT_SYMTAB, _SHT_NOBITS, _SHT_DYNSYM = 2, 8, 11
_SHF_WRITE, _SHF_ALLOC = 1, 2
_PT_LOAD, _PT_DYNAMIC, _PT_GNU_STACK = 1, 2, 0x6474E551
_DT_NEEDED, _DT_STRTAB, _DT_SONAME, _DT_TEXTREL, _DT_FLAGS = 1, 5, 14, 22, 30
_DF_TEXTREL = 4


@dataclass(frozen=True, slots=True)
class Section:
    """One section: its name, type, flags, position and size."""

    name: str
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    align: int


@dataclass(frozen=True, slots=True)
class Segment:
    """One program header."""

    kind: int
    flags: int
    offset: int
    address: int
    file_bytes: int
    memory_bytes: int
    align: int

    @property
    def executable(self) -> bool:
        """Whether the pages of the segment may be executed."""
        return bool(self.flags & 1)


@dataclass(frozen=True, slots=True)
class Symbol:
    """One entry of a symbol table."""

    name: str
    value: int
    size: int
    info: int
    visibility: int
    section: int

    @property
    def is_local(self) -> bool:
        """Whether the symbol is visible only in this file."""
        return self.info >> 4 == 0

    @property
    def is_function(self) -> bool:
        """Whether the symbol names a function."""
        return self.info & 15 == 2

    @property
    def is_defined(self) -> bool:
        """Whether this file defines the symbol."""
        return self.section != 0


@dataclass(frozen=True)
class ElfFile:
    """A little-endian ELF file: an object or a shared library.

    Raises `ValueError` if the data does not begin as a little-endian ELF file does.
    """

    data: bytes | mmap.mmap

    def __post_init__(self) -> None:
        if self.data[:4] != b"\x7fELF" or self.data[5] != 1:
            raise ValueError("not a little-endian ELF file")

    @classmethod
    def read(cls, path: Path) -> ElfFile:
        """The file at `path`, mapped into memory, because most of a large file is never read."""
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                raise ValueError("not a little-endian ELF file")
            return cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    @property
    def is_64_bit(self) -> bool:
        """Whether addresses have 64 bits."""
        return self.data[4] == 2

    @property
    def machine(self) -> int:
        """`e_machine`: 40 ARM, 62 x86-64, 183 AArch64."""
        return int.from_bytes(self.data[18:20], "little")

    @cached_property
    def _header(self) -> tuple[int, ...]:
        layout = "<HHIQQQIHHHHHH" if self.is_64_bit else "<HHIIIIIHHHHHH"
        return struct.unpack_from(layout, self.data, 16)

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """All sections. The first one is empty."""
        start, size, count, names = (self._header[i] for i in (5, 10, 11, 12))
        layout = "<IIQQQQIIQQ" if self.is_64_bit else "<IIIIIIIIII"
        raw = [struct.unpack_from(layout, self.data, start + i * size) for i in range(count)]
        name_offset = raw[names][4] if raw else 0
        return tuple(
            Section(self._string(name_offset + r[0]), r[1], r[2], r[3], r[4], r[5], r[6], r[8])
            for r in raw
        )

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """All program headers. An object has none."""
        start, size, count = (self._header[i] for i in (4, 8, 9))
        found = []
        for i in range(count):
            at = start + i * size
            if self.is_64_bit:
                kind, flags, offset, address, _, file_bytes, memory_bytes, align = (
                    struct.unpack_from("<IIQQQQQQ", self.data, at)
                )
            else:
                kind, offset, address, _, file_bytes, memory_bytes, flags, align = (
                    struct.unpack_from("<IIIIIIII", self.data, at)
                )
            found.append(Segment(kind, flags, offset, address, file_bytes, memory_bytes, align))
        return tuple(found)

    @cached_property
    def symbols(self) -> tuple[Symbol, ...]:
        """The full symbol table; empty in a stripped file."""
        return self._symbols(_SHT_SYMTAB)

    @cached_property
    def dynamic_symbols(self) -> tuple[Symbol, ...]:
        """The symbols that the dynamic linker uses."""
        return self._symbols(_SHT_DYNSYM)

    @property
    def undefined(self) -> tuple[str, ...]:
        """The names that other files must define, sorted."""
        names = {s.name for s in (*self.symbols, *self.dynamic_symbols) if not s.is_defined}
        return tuple(sorted(names - {""}))

    @property
    def exported(self) -> tuple[str, ...]:
        """The names that a shared library exports, sorted."""
        return tuple(
            sorted(s.name for s in self.dynamic_symbols if s.is_defined and not s.is_local)
        )

    @property
    def needed(self) -> tuple[str, ...]:
        """The libraries that must be loaded together with this file, in order."""
        return tuple(
            self._dynamic_string(value) for tag, value in self._dynamic if tag == _DT_NEEDED
        )

    @property
    def soname(self) -> str:
        """The name by which a shared library is loaded; empty if it has none."""
        for tag, value in self._dynamic:
            if tag == _DT_SONAME:
                return self._dynamic_string(value)
        return ""

    @property
    def has_text_relocations(self) -> bool:
        """Whether the loader must write to code pages of this file."""
        return any(
            tag == _DT_TEXTREL or (tag == _DT_FLAGS and value & _DF_TEXTREL)
            for tag, value in self._dynamic
        )

    @property
    def has_executable_stack(self) -> bool:
        """Whether the stack becomes executable if this file is loaded.

        This is also the case if the file has no program header for the stack.
        """
        stack = [segment for segment in self.segments if segment.kind == _PT_GNU_STACK]
        return not stack or stack[0].executable

    @property
    def loaded(self) -> tuple[Segment, ...]:
        """The segments that are mapped into memory."""
        return tuple(segment for segment in self.segments if segment.kind == _PT_LOAD)

    def read_only_bytes(self) -> int:
        """Return the size of code and constants, which are stored in flash."""
        return sum(
            s.size
            for s in self.sections
            if s.flags & _SHF_ALLOC and not s.flags & _SHF_WRITE and s.kind != _SHT_NOBITS
        )

    def writable_bytes(self) -> int:
        """Return the size of initialised and zeroed data."""
        both = _SHF_ALLOC | _SHF_WRITE
        return sum(s.size for s in self.sections if s.flags & both == both)

    def _string(self, at: int) -> str:
        return self.data[at : self.data.find(b"\0", at)].decode()

    def _symbols(self, kind: int) -> tuple[Symbol, ...]:
        found: list[Symbol] = []
        for section in self.sections:
            if section.kind != kind:
                continue
            strings = self.sections[section.link].offset
            layout, size = ("<IBBHQQ", 24) if self.is_64_bit else ("<IIIBBH", 16)
            for at in range(section.offset, section.offset + section.size, size):
                fields = struct.unpack_from(layout, self.data, at)
                if self.is_64_bit:
                    name, info, other, index, value, length = fields
                else:
                    name, value, length, info, other, index = fields
                text = self._string(strings + name)
                found.append(Symbol(text, value, length, info, other & 3, index))
        return tuple(found)

    @cached_property
    def _dynamic(self) -> tuple[tuple[int, int], ...]:
        found: list[tuple[int, int]] = []
        for segment in self.segments:
            if segment.kind != _PT_DYNAMIC:
                continue
            layout, size = ("<qQ", 16) if self.is_64_bit else ("<iI", 8)
            for at in range(segment.offset, segment.offset + segment.file_bytes, size):
                tag, value = struct.unpack_from(layout, self.data, at)
                if tag == 0:
                    break
                found.append((tag, value))
        return tuple(found)

    def _dynamic_string(self, offset: int) -> str:
        table = next(value for tag, value in self._dynamic if tag == _DT_STRTAB)
        segment = next(s for s in self.loaded if 0 <= table - s.address < s.file_bytes)
        return self._string(segment.offset + table - segment.address + offset)
