"""Builds test programs that run on this machine, directly or in an emulator (`emulate.py`).

Most programs contain no C library, because building one for an architecture takes zig a minute: a
start-up file, which calls the system directly, defines what they need. Programs with threads need a
C library. They use that of this machine, if it has one for the target (`system_root.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain import bare_metal, zig
from ellc.codegen.toolchain.elf_reader import ElfFile
from ellc.codegen.toolchain.system_root import has_c_library
from ellc.ir.errors import EllcError
from ellc.ir.work_folders import temporary_folder

Library = Literal["none", "glibc", "static"]
"""The C library of a program: none; glibc, which must be where the program runs, at least in the
version in `Target.c_target`; or one that is part of the program."""

_C_OPTIONS = ("-std=c99", "-D_DEFAULT_SOURCE", "-O1", "-g0")
_AT_THE_START = frozenset(
    ("memcpy", "memmove", "memset", "memcmp", "read", "write", "mmap", "munmap", "mprotect")
)
"""What the start-up file defines and objects may call."""
_WITHOUT_LIBRARY = ("-fno-builtin", "-fno-stack-protector")


def build_program(
    target: Target,
    sources: Sequence[Path],
    objects: Sequence[Path],
    out: Path,
    *,
    options: Sequence[str] = (),
    library: Library = "none",
    cc: Sequence[str] = (),
) -> None:
    """Compile C sources and link them with objects into a program for the target.

    A program without a C library may call the functions that `templates/linux/start.c` defines.
    With objects that call others, such as those for threads, it gets the C library of this machine
    all the same. Programs
    for microcontrollers and WebAssembly never have a C library. `cc` may be the command of another
    compiler on this machine. That compiler gets no options for the target. Folders in `options`
    must be absolute.

    The first program with a static C library for an architecture takes up to two minutes of
    processor time, because zig builds the library. Other programs take a tenth of a second. Raises
    `EllcError`: E620 if there are no such programs for the target, E610 if the compiler or the
    linker fails.
    """
    what = f"building {out.name} for target {target.name!r}"
    words: list[str | Path] = [*_C_OPTIONS, *options, *sources, *objects, "-o", out]
    if cc:
        zig.run_tool([*cc, *map(str, words)], what=what, code="E610")
        return
    if target.board:
        bare_metal.link(target, target.board, sources, objects, out, options)
        return
    if library == "none" and target.object_format == "elf" and _call_others(objects):
        library = library_here(target)
    if library == "none" or target.os == "wasm":
        start = bare_metal.templates() / ("wasi" if target.os == "wasm" else "linux") / "start.c"
        made = [_compiled(source, target, out, options) for source in (start, *sources)]
        words = ["-nostdlib", "-static", *_machine(target), *made, *objects, "-o", out]
    elif library == "glibc":
        words += ["-target", target.c_target, f"-mcpu={target.musl_cpu}", "-lpthread"]
    else:
        words += ["-static", *_machine(target)]
    zig.build(["cc", *words], what=what)


def _compiled(source: Path, target: Target, program: Path, options: Sequence[str]) -> Path:
    """The object of a C file. zig has headers only for programs that it links with a library."""
    out = program.with_name(f"{program.name}_{source.stem}.o")
    if bare_metal.templates() in source.parents:
        out.write_bytes(_fixed(source, target))
        return out
    words = [*_machine(target), *_without_library(target), *_C_OPTIONS, *options]
    what = f"compiling {source.name} for target {target.name!r}"
    zig.run(["cc", *words, "-c", source.absolute(), "-o", out.absolute()], what=what)
    return out


def library_here(target: Target) -> Library:
    """The C library of programs that need one and run on this machine."""
    return "glibc" if has_c_library(target) else "static"


def glibc_of(target: Target) -> tuple[int, ...]:
    """The oldest version of glibc with which programs with the library `glibc` start."""
    _, version = target.c_target.split(".", 1)
    return tuple(map(int, version.split(".")))


@cache
def _fixed(source: Path, target: Target) -> bytes:
    """The object of a C file in the folder of templates, which zig keeps."""
    with temporary_folder("fixed") as folder:
        out = folder / "fixed.o"
        words = ["-Wall", "-Wextra", "-Werror", "-c", source.name, "-o", str(out)]
        options = [*_machine(target), *_without_library(target), *_C_OPTIONS]
        what = f"compiling {source.name} for target {target.name!r}"
        zig.run(["cc", *options, *words], what=what, cwd=source.parent, keep=True)
        return out.read_bytes()


def _machine(target: Target) -> tuple[str, str, str]:
    """The compiler options for static programs of the target. Raises E620 if there are none."""
    if not target.musl_target:
        raise EllcError(
            f"there are no static programs for target {target.name!r}",
            code="E620",
            hint="there are static programs for targets with Linux, for Cortex-M and for 32-bit "
            "RISC-V, and for wasm",
        )
    return "-target", target.musl_target, f"-mcpu={target.musl_cpu}"


def _without_library(target: Target) -> tuple[str, ...]:
    return (*_WITHOUT_LIBRARY, *(("-ffreestanding",) if target.os == "wasm" else ()))


def _call_others(objects: Sequence[Path]) -> bool:
    """Whether objects need symbols that neither they nor the start-up file define."""
    files = [ElfFile.read(path) for path in objects]
    defined = {s.name for file in files for s in file.symbols if s.is_defined and not s.is_local}
    return bool({name for file in files for name in file.undefined} - defined - _AT_THE_START)
