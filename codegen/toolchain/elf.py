"""Writes constant data, such as weights, as one object file with one symbol.

An ELF file is written directly, streamed from the arrays: a quarter of a gigabyte takes a tenth of
a second and hardly any memory. LLVM would take seconds and gigabytes. For other formats, an
assembler includes the data by `.incbin`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain import zig
from ellc.ir.work_folders import temporary_folder

BytesLike = bytes | bytearray | memoryview | np.ndarray[Any, np.dtype[Any]]
"""Types that hold bytes. From Python 3.12 on, this could be `collections.abc.Buffer`."""

SECTION_ALIGN = 64
"""The alignment of the data in memory: the size of a cache line and of the widest vector."""

_SHF_ALLOC = 2
_SHT_PROGBITS, _SHT_SYMTAB, _SHT_STRTAB = 1, 2, 3


def _view(data: BytesLike) -> memoryview:
    return data.data if isinstance(data, np.ndarray) else memoryview(data)


@dataclass(frozen=True, slots=True)
class Deferred:
    """Bytes that are computed only when they are written, so that not all exist at once."""

    bytes: int
    make: Callable[[], BytesLike]
    """A function that returns exactly `bytes` bytes, C-contiguous."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of bytes within the data."""

    alignment: int
    """The alignment of the offset: a power of two, at most `SECTION_ALIGN`."""
    data: BytesLike | Deferred
    """The bytes, C-contiguous, or a function that computes them."""

    @property
    def bytes(self) -> int:
        """The number of bytes."""
        data = self.data
        return data.bytes if isinstance(data, Deferred) else _view(data).nbytes

    def view(self) -> memoryview:
        """The bytes. Raises `ValueError` if a deferred piece differs from its announced size."""
        data = self.data.make() if isinstance(self.data, Deferred) else self.data
        view = _view(data)
        if view.nbytes != self.bytes:
            raise ValueError(f"{view.nbytes} bytes of data where {self.bytes} were announced")
        # `cast` refuses views with a zero in their shape.
        return view.cast("B") if view.nbytes else memoryview(b"")


@dataclass(frozen=True, slots=True)
class PieceOffsets:
    """The offsets of the pieces within the data, and its size."""

    offsets: tuple[int, ...]
    total_bytes: int


def layout(pieces: Sequence[Piece]) -> PieceOffsets:
    """Return the offset of each piece, in order, and the total size including gaps.

    Raises `ValueError` if an alignment is not a power of two or exceeds `SECTION_ALIGN`.
    """
    offsets: list[int] = []
    end = 0
    for piece in pieces:
        align = piece.alignment
        if not 0 < align <= SECTION_ALIGN or align & (align - 1):
            raise ValueError(f"alignment {align} is not a power of two up to {SECTION_ALIGN}")
        start = -(-end // align) * align
        offsets.append(start)
        end = start + piece.bytes
    return PieceOffsets(tuple(offsets), end)


def write_constants(
    out: Path, symbol: str, pieces: Sequence[Piece], target: Target
) -> PieceOffsets:
    """Write an object that defines the read-only data `symbol`. Returns the offsets of the pieces.

    The symbol is hidden: the objects that are linked with this one can use the symbol, but it is
    never exported. The data is aligned to `SECTION_ALIGN`; in an ELF or WebAssembly file, its
    section is `.rodata.SYMBOL`. Raises `ValueError` for a wrong alignment (see `layout`) or a wrong
    size of a deferred piece, and `EllcError` if an object that is not ELF cannot be assembled.
    """
    placed = layout(pieces)
    if target.object_format != "elf":
        _assemble(out, symbol, pieces, placed, target)
        return placed
    with out.open("wb") as file:
        _write_elf(file, symbol, pieces, placed, target)
    return placed


def _stream(file: BinaryIO, pieces: Sequence[Piece], placed: PieceOffsets) -> None:
    """Write the pieces with zeros between them."""
    end = 0
    for piece, start in zip(pieces, placed.offsets, strict=True):
        file.write(bytes(start - end))
        file.write(piece.view())
        end = start + piece.bytes


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    align: int
    link: int = 0
    info: int = 0
    entry_size: int = 0


def _write_elf(
    file: BinaryIO, symbol: str, pieces: Sequence[Piece], placed: PieceOffsets, target: Target
) -> None:
    is_64_bit = target.word_bits == 64
    header_bytes = 64 if is_64_bit else 52
    data_at = SECTION_ALIGN  # the header of a 32-bit or 64-bit file fits before the data
    symbols = bytes(24 if is_64_bit else 16) + _symbol(is_64_bit, placed.total_bytes)
    strings = b"\0" + symbol.encode() + b"\0"
    names, name_offsets = _string_table(
        (f".rodata.{symbol}", ".symtab", ".strtab", ".shstrtab", ".note.GNU-stack")
    )
    symbols_at = -(-(data_at + placed.total_bytes) // 8) * 8
    strings_at = symbols_at + len(symbols)
    names_at = strings_at + len(strings)
    headers_at = -(-(names_at + len(names)) // 8) * 8
    sections = (
        _Section(
            f".rodata.{symbol}",
            _SHT_PROGBITS,
            _SHF_ALLOC,
            data_at,
            placed.total_bytes,
            SECTION_ALIGN,
        ),
        # `info` is the index of the first symbol that is not local. Entry 0 is empty.
        _Section(
            ".symtab",
            _SHT_SYMTAB,
            0,
            symbols_at,
            len(symbols),
            8,
            link=3,
            info=1,
            entry_size=24 if is_64_bit else 16,
        ),
        _Section(".strtab", _SHT_STRTAB, 0, strings_at, len(strings), 1),
        _Section(".shstrtab", _SHT_STRTAB, 0, names_at, len(names), 1),
        # Without this empty section, a linker would make the stack executable.
        _Section(".note.GNU-stack", _SHT_PROGBITS, 0, names_at, 0, 1),
    )
    file.write(_header(target, headers_at, section_count=len(sections) + 1, names_index=4))
    file.write(bytes(data_at - header_bytes))
    _stream(file, pieces, placed)
    file.write(bytes(symbols_at - data_at - placed.total_bytes) + symbols + strings + names)
    file.write(bytes(headers_at - names_at - len(names)))
    file.write(bytes(64 if is_64_bit else 40))
    for section in sections:
        file.write(_section_header(is_64_bit, section, name_offsets[section.name]))


def _header(target: Target, headers_at: int, *, section_count: int, names_index: int) -> bytes:
    is_64_bit = target.word_bits == 64
    identity = struct.pack("<4sBBB9x", b"\x7fELF", 2 if is_64_bit else 1, 1, 1)
    sizes = (64, 0, 0, 64) if is_64_bit else (52, 0, 0, 40)
    # Type 1 means relocatable. There is no entry point, and there are no program headers.
    return identity + struct.pack(
        "<HHIQQQIHHHHHH" if is_64_bit else "<HHIIIIIHHHHHH",
        *(1, target.elf_machine, 1, 0, 0, headers_at, target.elf_flags),
        *(*sizes, section_count, names_index),
    )


def _symbol(is_64_bit: bool, size: int) -> bytes:
    """The entry of a hidden global data object at the start of section 1, with the first name."""
    name, info, other, section = 1, 0x11, 2, 1
    if is_64_bit:
        return struct.pack("<IBBHQQ", name, info, other, section, 0, size)
    return struct.pack("<IIIBBH", name, 0, size, info, other, section)


def _section_header(is_64_bit: bool, section: _Section, name_offset: int) -> bytes:
    return struct.pack(
        "<IIQQQQIIQQ" if is_64_bit else "<IIIIIIIIII",
        *(name_offset, section.kind, section.flags, 0, section.offset, section.size),
        *(section.link, section.info, section.align, section.entry_size),
    )


def _string_table(names: Sequence[str]) -> tuple[bytes, dict[str, int]]:
    table, offsets = b"\0", {}
    for name in names:
        offsets[name] = len(table)
        table += name.encode() + b"\0"
    return table, offsets


def _assemble(
    out: Path, symbol: str, pieces: Sequence[Piece], placed: PieceOffsets, target: Target
) -> None:
    """Write the object with zig's assembler, which includes the bytes from a file."""
    with temporary_folder("data") as folder:
        with (folder / "data.bin").open("wb") as file:
            _stream(file, pieces, placed)
        source = _assembly(symbol, _digest(folder / "data.bin"), placed.total_bytes, target)
        (folder / "data.s").write_text(source)
        zig.run(
            ["cc", "-c", "-g0", "-target", target.c_target, "data.s", "-o", "data.o"],
            what=f"assembling the constants {symbol!r}",
            cwd=folder,
        )
        out.write_bytes((folder / "data.o").read_bytes())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _assembly(symbol: str, digest: str, total_bytes: int, target: Target) -> str:
    """The assembly text that defines the data, for COFF, Mach-O or WebAssembly."""
    align = SECTION_ALIGN.bit_length() - 1
    match target.object_format:
        case "macho":
            section, name = ".section __TEXT,__const", f"_{symbol}"
            marks = [f".private_extern {name}"]
        case "wasm":
            section, name = f'.section .rodata.{symbol},"",@', symbol
            marks = [f".hidden {name}", f".type {name},@object", f".size {name}, {total_bytes}"]
        case _:
            section, name = f'.section .rdata${symbol},"dr"', symbol
            marks = []
    lines = [
        # zig's cache ignores the included file. A new digest in the text makes zig assemble again.
        f"# {digest}",
        section,
        f".globl {name}",
        *marks,
        f".p2align {align}",
        f"{name}:",
        '.incbin "data.bin"',
    ]
    return "\n".join(lines) + "\n"
