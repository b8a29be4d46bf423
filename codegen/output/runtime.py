"""Finds the C files of `runtime_c/`, which ship inside generated packages, and compiles them."""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Sequence
from pathlib import Path

from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain import zig
from ellc.codegen.toolchain.link import BUILT_IN, Tools
from ellc.ir.errors import InternalError
from ellc.ir.work_folders import temporary_folder


@functools.cache
def runtime_dir() -> Path:
    """Return the folder of the C files, which is data of this package or a link in a checkout."""
    folder = Path(str(importlib.resources.files("ellc.codegen"))) / "runtime_c"
    if not (folder / "ellc_pool.c").is_file():
        raise InternalError(f"the C files of the runtime are not in {folder}")
    return folder


def runtime_text(name: str) -> str:
    """Return the contents of one of the C files, such as "ellc_pool.h"."""
    return (runtime_dir() / name).read_text(encoding="utf-8")


def compile_runtime(
    sources: Sequence[str], target: Target, *, tools: Tools = BUILT_IN
) -> list[bytes]:
    """Compile C files of the runtime, such as "ellc_pool.c". Return their objects in order.

    The objects call only functions that `system_libraries` lists, contain no path of this machine,
    and always have the same bytes. Raises `EllcError` (E610) if the compiler fails.
    """
    with temporary_folder("runtime") as folder:
        return [_compile(source, folder / "made.o", target, tools) for source in sources]


def _compile(source: str, out: Path, target: Target, tools: Tools) -> bytes:
    arguments = ["-c", *compile_flags(target), source, "-o", str(out)]
    what = f"compiling {source} for target {target.name!r}"
    # The compiler runs in the folder of the sources and gets a relative name: it writes this name
    # into the object, and zig's cache finds earlier results by it.
    if tools.cc:
        zig.run_tool([*tools.cc, *arguments], what=what, code="E610", cwd=runtime_dir())
    else:
        machine = ["-target", target.c_target, f"-mcpu={target.zig_cpu}", "-fno-sanitize=all"]
        machine.append("-s")  # -g0 alone leaves a path of this machine in Windows objects
        zig.run(["cc", *machine, *arguments], what=what, cwd=runtime_dir(), keep=True)
    return out.read_bytes()


def compile_flags(target: Target) -> list[str]:
    """Return the options with which GCC or Clang compiles the C code of a package."""
    flags = ["-std=c99", "-O2", "-g0", "-Wall", "-Wextra", "-Werror"]
    # The object must not need a library, so compilers must not insert calls.
    flags += ["-fno-builtin", "-fno-stack-protector", "-ffunction-sections", "-fdata-sections"]
    flags += ["-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fvisibility=hidden"]
    if target.os in ("linux", "macos"):
        flags.append("-fPIC")
    return [*flags, *target.isa.c_flags]
