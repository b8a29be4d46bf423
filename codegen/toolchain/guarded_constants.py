"""Writes read-only data between guard pages, which a test program makes inaccessible."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain import zig
from ellc.codegen.toolchain.elf import SECTION_ALIGN, Piece, layout
from ellc.codegen.toolchain.emulate import GUARD_BYTES, Guard

_FILL = 0xA5  # the byte between the data and the guard pages


def guard_symbols(symbol: str) -> tuple[str, str]:
    """The symbols of the guard pages before and after the data of a symbol."""
    return f"{symbol}_page_before", f"{symbol}_page_after"


def write_guarded(
    out: Path, constants: Mapping[str, Sequence[Piece]], target: Target, guard: Guard
) -> None:
    """Write an object that defines the data of each symbol between guard pages.

    `guard` says whether the start or the end of the data is next to a guard page. The end is as
    close to the page as the alignment of the data allows. Raises `EllcError` (E610) if the
    assembler fails.
    """
    is_wasm = target.object_format == "wasm"
    section = '"",@' if is_wasm else '"a"'
    text = [f".section .rodata.guarded,{section}"]
    for symbol, pieces in constants.items():
        data = out.with_name(f"{symbol}.bin")
        with data.open("wb") as file:
            file.writelines(_contents(pieces))
        text += _guarded(symbol, data, guard)
        if is_wasm:
            text += _marks(symbol, data)
    source = out.with_suffix(".s")
    source.write_text("\n".join(text) + "\n", encoding="utf-8")
    words = ["cc", "-c", "-g0", "-target", target.musl_target, source.name, "-o", out.name]
    zig.run(words, what=f"assembling {source.name}", cwd=out.parent)


def _contents(pieces: Sequence[Piece]) -> Iterator[bytes | memoryview]:
    end = 0
    for piece, start in zip(pieces, layout(pieces).offsets, strict=True):
        yield bytes(start - end)
        yield piece.view()
        end = start + piece.bytes


def _marks(symbol: str, data: Path) -> list[str]:
    """What WebAssembly's objects have to say about symbols of data."""
    sizes = dict.fromkeys(guard_symbols(symbol), GUARD_BYTES) | {symbol: data.stat().st_size}
    return [f".type {name},@object\n.size {name}, {size}" for name, size in sizes.items()]


def _guarded(symbol: str, data: Path, guard: Guard) -> list[str]:
    before, after = guard_symbols(symbol)
    gap = -data.stat().st_size % GUARD_BYTES // SECTION_ALIGN * SECTION_ALIGN
    return [
        *(f".globl {name}\n.hidden {name}" for name in (before, symbol, after)),
        f".balign {GUARD_BYTES}",
        f"{before}: .skip {GUARD_BYTES}",
        f".skip {gap if guard == 'end' else 0}, {_FILL}",
        f'{symbol}: .incbin "{data.name}"',
        f".balign {GUARD_BYTES}, {_FILL}",
        f"{after}: .skip {GUARD_BYTES}",
    ]
