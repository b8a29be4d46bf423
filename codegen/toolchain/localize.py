"""Makes all but a few defined symbols of an object local, like `objcopy --keep-global-symbol`.

An application that is linked with this ELF object then gets only the names of the object's API.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Collection
from pathlib import Path

from ellc.codegen.toolchain.elf_reader import ElfFile, Section
from ellc.ir.errors import InternalError

_SHT_SYMTAB, _SHT_RELA, _SHT_REL, _SHT_GROUP = 2, 4, 9, 17
_SH_INFO_AT = {True: 44, False: 28}
"""The offset of `sh_info` in a section header, by whether the file is a 64-bit file."""


def localize(path: Path, keep: Collection[str]) -> None:
    """Edit the object in place: defined symbols that are not in `keep` become local.

    Local symbols must come first in the symbol table. Therefore the table is sorted again, and
    relocations and groups get the new indices of their symbols.
    """
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        _localize(data, ElfFile(data), keep)


def _localize(data: mmap.mmap, elf: ElfFile, keep: Collection[str]) -> None:
    index, table = next((i, s) for i, s in enumerate(elf.sections) if s.kind == _SHT_SYMTAB)
    size = 24 if elf.is_64_bit else 16
    entries = [data[at : at + size] for at in range(table.offset, table.offset + table.size, size)]
    symbols = elf.symbols
    local = [s.is_local or (s.is_defined and s.name not in keep) for s in symbols]
    order = sorted(range(len(entries)), key=lambda i: not local[i])
    new_number = {old: new for new, old in enumerate(order)}
    info_at = 4 if elf.is_64_bit else 12
    for new, old in enumerate(order):
        entry = bytearray(entries[old])
        if local[old] and not symbols[old].is_local:
            entry[info_at] &= 0x0F  # binding local
            entry[info_at + 1] &= ~3 & 0xFF  # visibility default
        at = table.offset + new * size
        data[at : at + size] = bytes(entry)
    layout, headers_at = ("<Q", 40) if elf.is_64_bit else ("<I", 32)
    (headers,) = struct.unpack_from(layout, data, headers_at)
    header_size = 64 if elf.is_64_bit else 40
    for number, section in enumerate(elf.sections):
        header = headers + number * header_size + _SH_INFO_AT[elf.is_64_bit]
        if number == index:
            struct.pack_into("<I", data, header, sum(local))
        elif section.link == index:
            _renumber(data, elf, section, header, new_number)


def _renumber(
    data: mmap.mmap, elf: ElfFile, section: Section, header: int, new_number: dict[int, int]
) -> None:
    if section.kind in (_SHT_REL, _SHT_RELA):
        _renumber_relocations(data, elf, section, new_number)
    elif section.kind == _SHT_GROUP:  # the signature of a group is a symbol
        (signature,) = struct.unpack_from("<I", data, header)
        struct.pack_into("<I", data, header, new_number[signature])
    else:
        raise InternalError(f"section {section.name!r} refers to symbols in an unknown way")


def _renumber_relocations(
    data: mmap.mmap, elf: ElfFile, section: Section, new_number: dict[int, int]
) -> None:
    word = 8 if elf.is_64_bit else 4
    step = word * (3 if section.kind == _SHT_RELA else 2)
    shift, layout = (32, "<Q") if elf.is_64_bit else (8, "<I")
    for at in range(section.offset + word, section.offset + section.size, step):
        (info,) = struct.unpack_from(layout, data, at)
        kind = info & ((1 << shift) - 1)
        struct.pack_into(layout, data, at, new_number[info >> shift] << shift | kind)
