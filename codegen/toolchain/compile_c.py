"""Compiles C files, which call no library, to objects; measures the stack frames of functions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain import zig
from ellc.codegen.toolchain.elf_reader import ElfFile
from ellc.codegen.toolchain.link import BUILT_IN, Tools

_OPTIONS = (
    "-std=c99",
    "-O2",
    "-g0",
    "-Wall",
    "-Wextra",
    # The compiler must not insert calls of library functions: no memset for loops, no stack
    # protector, no unwinding.
    "-ffreestanding",
    "-fno-builtin",
    "-fno-stack-protector",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
    "-fno-exceptions",
    "-fvisibility=hidden",
)
# With -g0 alone, a Windows object contains the path of its temporary source. -s removes this path.
_ZIG_OPTIONS = ("-fno-addrsig", "-fno-sanitize=all", "-Werror", "-s")
# A user's compiler may be GCC. GCC does not know -fno-addrsig, and turns loops into memset in spite
# of -fno-builtin.
_GCC_OPTIONS = ("-fno-tree-loop-distribute-patterns",)
_STACK_SIZES = ".stack_sizes"


def compile_c(
    source: Path,
    target: Target,
    include: Sequence[Path],
    out: Path,
    tools: Tools = BUILT_IN,
    extra: Sequence[str] = (),
) -> None:
    """Compile one C file to an object.

    For Linux, Windows and macOS, zig compiles for the oldest CPU of the architecture, so that the
    code that checks the features of the CPU can run on every CPU. The options `extra` come last.
    Raises `EllcError` (E610) if the compiler fails.
    """
    words = [*_OPTIONS, *_machine_options(target)]
    words += [f"-I{folder}" for folder in include]
    ends = [*extra, "-c", str(source), "-o", str(out)]
    what = f"compiling {source.name} for target {target.name!r}"
    if tools.cc:
        zig.run_tool([*tools.cc, *words, *_GCC_OPTIONS, *ends], what=what, code="E610")
    else:
        zig.run(["cc", *_zig_words(target), *words, *ends], what=what)


def c_frames(
    source: Path, target: Target, include: Sequence[Path], work: Path, *, keep: bool = False
) -> list[int]:
    """The sizes of the stack frames of a C file's functions, in bytes, largest first.

    The functions are compiled as by `compile_c` without `tools`. The result is empty for targets
    whose objects are not ELF. `keep` is passed to `zig.run`.
    """
    if target.object_format != "elf":
        return []
    out = work / f"{source.stem}.stack.o"
    words = ["cc", *_zig_words(target), *_OPTIONS, *_machine_options(target)]
    words += [f"-I{folder}" for folder in include]
    zig.run(
        [*words, "-fstack-size-section", "-c", source, "-o", out],
        what=f"measuring the stack of {source.name}",
        keep=keep,
    )
    compiled = ElfFile.read(out)
    sizes: list[int] = []
    for section in compiled.sections:
        if section.name == _STACK_SIZES:
            data = compiled.data[section.offset : section.offset + section.size]
            sizes += _stack_sizes(data, 8 if compiled.is_64_bit else 4)
    return sorted(sizes, reverse=True)


def _zig_words(target: Target) -> list[str]:
    cpu = target.zig_cpu if target.os in ("none", "wasm") else target.musl_cpu
    return ["-target", target.c_target, f"-mcpu={cpu}", *_ZIG_OPTIONS]


def _machine_options(target: Target) -> list[str]:
    independent = ["-fPIC"] if target.os in ("linux", "macos") else []
    # A red zone below the stack pointer is not part of a frame, and would not be counted.
    exact = ["-mno-red-zone"] if target.isa.has_red_zone else []
    return independent + exact


def _stack_sizes(data: bytes, address_bytes: int) -> list[int]:
    """The sizes in a section whose entries consist of an address and a size in LEB128."""
    sizes, at = [], 0
    while at < len(data):
        at += address_bytes
        size = shift = 0
        while True:
            byte = data[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        sizes.append(size)
    return sizes
