"""Programs without an operating system for the boards that QEMU emulates.

Such a program consists of two start-up files, a linker script, C files and objects, without any C
library: an undefined symbol is an error of the linker. It reads the file `stdin` and writes the
file `stdout` in the folder in which the emulator runs, prints messages to the emulator's standard
error, and ends with an exit status, all by semihosting (`templates/bare/semihosting.h`).
"""

from __future__ import annotations

import importlib.resources
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ellc.codegen.languages.render import render
from ellc.codegen.machine.emulated_board import EmulatedBoard
from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain import zig
from ellc.ir.work_folders import temporary_folder

_OPTIONS = (
    *("-std=c99", "-O1", "-g0", "-ffreestanding", "-fno-builtin", "-fno-stack-protector"),
    *("-ffunction-sections", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables"),
    "-fno-sanitize=all",
)


def templates() -> Path:
    """The folder of the C files from which programs are built."""
    return Path(str(importlib.resources.files("ellc.codegen"))) / "templates"


def link(
    target: Target,
    board: EmulatedBoard,
    sources: Sequence[Path],
    objects: Sequence[Path],
    out: Path,
    options: Sequence[str] = (),
) -> None:
    """Compile C files, and link them with objects and the start-up file into a program.

    Sources in the folder of templates are compiled once, and kept. Raises `EllcError` (E610) if the
    compiler or the linker fails, for instance for an undefined symbol.
    """
    folder = out.parent
    script = folder / f"{out.name}.ld"
    script.write_text(render("bare/board.ld.j2", board=board), encoding="utf-8")
    starts = [templates() / "bare" / name for name in ("start.c", board.start_file)]
    made = [
        _compiled(target, source, folder / f"{out.name}_{source.stem}.o", options)
        for source in (*starts, *sources)
    ]
    words: list[str | Path]
    if target.calls_runtime:  # zig builds its compiler's runtime library once, in ten seconds
        words = ["cc", *_machine(target), f"-Wl,-T,{script.absolute()}", "-Wl,--gc-sections", "-g0"]
    else:
        words = ["ld.lld", "-m", target.lld_emulation, "--gc-sections", "-T", script]
    zig.build([*words, "-o", out, *made, *objects], what=_what("linking", out, target))


def _machine(target: Target) -> tuple[str, str, str]:
    return ("-target", target.c_target, f"-mcpu={target.zig_cpu}")


def _compiled(target: Target, source: Path, out: Path, options: Sequence[str]) -> Path:
    is_fixed = templates() in source.parents
    zig.run(
        ["cc", *_machine(target), *_OPTIONS, *options, "-c", str(source), "-o", str(out)],
        what=_what("compiling", source, target),
        cwd=source.parent,
        keep=is_fixed,
    )
    return out


def _what(action: str, path: Path, target: Target) -> str:
    return f"{action} {path.name} for target {target.name!r}"


def execute(
    command: Sequence[str], program: Path, stdin: bytes, limit_s: float
) -> subprocess.CompletedProcess[bytes]:
    """Run a program in an emulator, whose command this is. The result has the bytes of `stdout`.

    Raises `subprocess.TimeoutExpired` if it takes longer than `limit_s` seconds.
    """
    with temporary_folder("board") as folder:
        (folder / "stdin").write_bytes(stdin)
        stdout = folder / "stdout"
        ran = subprocess.run(
            [*command, str(program.absolute())],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
        written = stdout.read_bytes() if stdout.exists() else b""
    return subprocess.CompletedProcess(ran.args, ran.returncode, written, ran.stderr + ran.stdout)
