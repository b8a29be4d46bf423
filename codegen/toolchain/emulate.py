"""Runs code for a target on this machine: directly if possible, otherwise in an emulator.

Programs for Linux run under qemu in user mode, programs for microcontrollers on a board that qemu
emulates (`bare_metal.py`), and programs for WebAssembly, with the interface WASI, in Node.

A *runner* is a static program that contains many compiled cases and runs them in one process, so
that testing a whole family of operators takes one link and one emulator start per target.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ellc.codegen.languages.render import render
from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain import bare_metal
from ellc.codegen.toolchain.elf_reader import ElfFile
from ellc.codegen.toolchain.programs import build_program
from ellc.codegen.toolchain.system_root import runs_directly, with_system_root
from ellc.ir.errors import EllcError, InternalError

Guard = Literal["start", "end"]
"""Which end of a buffer is next to a guard page, which must not be accessed."""

GUARD_BYTES = 4096
"""The size of guard pages. On machines with larger pages, weights are not guarded."""

_WARNINGS = ("-Wall", "-Wextra", "-Werror")
_KEEP_STATE, _RESET, _JUNK_SHIFT = 1, 2, 8
JUNK_KINDS = 4
"""The number of kinds of junk that can fill memory before a call: 0xFF bytes, 0x7F bytes, zeros,
irregular bytes."""
_OTHER_ABI = -5  # NAME_EABI
_STATUS_WORDS = {
    -1001: "it changed one of its inputs",
    -1002: "it wrote outside its buffers",
}


def prefix(target: Target) -> tuple[str, ...]:
    """Return the emulator's command for programs of this target; empty if they run directly.

    Raises `EllcError` (E620) if this machine cannot run such programs.
    """
    if runs_directly(target):
        return ()
    if target.emulator is None:
        raise EllcError(
            f"code for target {target.name!r} cannot be run on this machine",
            code="E620",
            hint="code can be run for targets with Linux, such as pi3 or host, for Cortex-M and "
            "for 32-bit RISC-V, and for wasm",
        )
    if shutil.which(target.emulator[0]) is None:
        raise EllcError(
            f"the emulator {target.emulator[0]!r} for target {target.name!r} is not installed",
            code="E620",
            hint=f"on Debian and Ubuntu: apt-get install {_package(target)}",
        )
    script = (str(bare_metal.templates() / "wasi" / "run.mjs"),) if target.os == "wasm" else ()
    return *target.emulator, *script


def _package(target: Target) -> str:
    if target.os == "wasm":
        return "nodejs"
    return target.board.package if target.board else "qemu-user"


def can_run(target: Target) -> bool:
    """Whether this machine can run programs of the target."""
    try:
        prefix(target)
    except EllcError:
        return False
    return True


def run(
    target: Target,
    argv: Sequence[str | Path],
    *,
    stdin: bytes = b"",
    cwd: Path | None = None,
    limit_s: float = 600.0,
) -> bytes:
    """Run a program of the target and return its standard output.

    A program for a microcontroller takes no arguments, and always runs in a folder of its own.

    Raises `EllcError`: E620 if this machine cannot run the program, E621 if the program ends with
    an error or takes longer than `limit_s` seconds.
    """
    ran = _execute(target, argv, stdin, cwd, limit_s)
    if ran.returncode != 0:
        raise EllcError(
            f"{Path(argv[0]).name} {ending(ran.returncode)} on target {target.name!r}",
            code="E621",
            problems=tuple(ran.stderr.decode(errors="replace").splitlines()[:20]),
        )
    return ran.stdout


def _execute(
    target: Target, argv: Sequence[str | Path], stdin: bytes, cwd: Path | None, limit_s: float
) -> subprocess.CompletedProcess[bytes]:
    command = _command(target, argv[0])
    try:
        if target.board:
            (program,) = argv
            return bare_metal.execute(command, Path(program), stdin, limit_s)
        return subprocess.run(
            [*command, *map(str, argv)],
            input=stdin,
            cwd=cwd,
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EllcError(
            f"{Path(argv[0]).name} took longer than {limit_s:.0f} s on target {target.name!r}",
            code="E621",
        ) from error


def _command(target: Target, program: str | Path) -> tuple[str, ...]:
    """The emulator's command for this program, with the C library that the program needs."""
    words = prefix(target)
    if words and target.os == "linux" and ElfFile.read(Path(program)).needed:
        return prefix(with_system_root(target))
    return words


def ending(returncode: int) -> str:
    """A description of how a process ended, for messages."""
    return f"was killed by signal {-returncode}" if returncode < 0 else f"failed ({returncode})"


@dataclass(frozen=True, slots=True)
class PortMemory:
    """One input or output: its size, and the alignment that the code may assume."""

    bytes: int
    align: int = 4


@dataclass(frozen=True, slots=True)
class Case:
    """One function or model that a runner can call.

    A plain case is a function `int SYMBOL(void *arena, const void *const *in, void *const *out)`,
    which returns 0 for success. A model case (`is_model`) is the C API of a package: SYMBOL_init,
    SYMBOL_predict_v, SYMBOL_reset, SYMBOL_destroy and, with `threads`, SYMBOL_set_threads. The
    arena is aligned to 64 bytes.
    """

    symbol: str
    inputs: tuple[PortMemory, ...]
    outputs: tuple[PortMemory, ...]
    arena_bytes: int = 0
    is_model: bool = False
    threads: int = 0
    abi: int = 0
    """The interface hash that a model must have (SYMBOL_init_abi); 0 accepts any."""
    guards: tuple[str, ...] = ()
    """The symbols of guard pages, which are `GUARD_BYTES` long and aligned to this size."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a case."""

    case: int
    """The index of the case in the runner."""
    inputs: tuple[bytes, ...]
    keep_state: bool = False
    """Whether to call the case of the previous request again, with its arena and instance
    unchanged."""
    reset: bool = False
    """Whether to reset the model before the call."""
    junk: int = 0
    """The kind of junk, below `JUNK_KINDS`, that fills the outputs and, unless the state is kept,
    all other memory before the call."""


@dataclass(frozen=True, slots=True)
class Runner:
    """A program that contains cases."""

    program: Path
    target: Target
    cases: tuple[Case, ...]


def build_runner(
    target: Target,
    objects: Sequence[Path],
    cases: Sequence[Case],
    folder: Path,
    *,
    guard: Guard = "end",
    cc: Sequence[str] = (),
) -> Runner:
    """Write, compile and link a runner in `folder` that contains all cases.

    Together, the objects define the symbols of all cases. `guard` says which end of every buffer is
    next to a guard page. `cc` is passed to `build_program`, whose errors are passed on.
    """
    source, program = folder / "runner_cases.c", folder / "runner"
    values = {
        "cases": cases,
        "junk_kinds": JUNK_KINDS,
        "guards": sorted({name for case in cases for name in case.guards}),
        "guard_bytes": GUARD_BYTES,
        "at_start": int(guard == "start"),
    }
    source.write_text(render("runner_cases.c.j2", **values))
    templates = bare_metal.templates()
    templates = bare_metal.templates()
    words, fixed = [*_WARNINGS, f"-I{templates}"], templates / "runner.c"
    build_program(target, [source, fixed], objects, program, options=words, cc=cc)
    return Runner(program, target, tuple(cases))


def run_cases(
    runner: Runner, requests: Sequence[Request], *, limit_s: float = 600.0
) -> list[tuple[bytes, ...]]:
    """Make all calls in one process, in order, and return the outputs of each.

    Every buffer lies between guard pages, and is filled with junk before a call (see `Request`).
    Raises

    * `ValueError` if a request does not fit its case;
    * `InternalError` if compiled code crashes, returns an error, changes an input, or writes
      outside its buffers;
    * `EllcError`: E620 if this machine cannot run the runner, E621 if it takes longer than
      `limit_s` seconds, E705 if a model has another interface than expected.
    """
    stdin = b"".join(_encode(runner.cases[request.case], request) for request in requests)
    ran = _execute(runner.target, [runner.program], stdin, None, limit_s)
    answers: list[tuple[bytes, ...]] = []
    at = 0
    for request in requests:
        case = runner.cases[request.case]
        if len(ran.stdout) < at + 4:
            printed = ran.stderr.decode(errors="replace").strip()
            ended = ending(ran.returncode)
            raise _failure(runner, case, f"{ended}; {printed}" if printed else ended)
        (status,) = struct.unpack_from("<i", ran.stdout, at)
        at += 4
        if status == _OTHER_ABI and case.abi:
            raise EllcError(
                f"the compiled code has another interface than expected (0x{case.abi:08x})",
                code="E705",
                where=case.symbol,
                hint="keep the files of one `ellc compile` together",
            )
        if status:
            raise _failure(runner, case, _STATUS_WORDS.get(status, f"it returned {status}"))
        outputs = []
        for buffer in case.outputs:
            outputs.append(ran.stdout[at : at + buffer.bytes])
            at += buffer.bytes
        answers.append(tuple(outputs))
    if ran.returncode != 0:
        raise _failure(runner, runner.cases[requests[-1].case], ending(ran.returncode))
    return answers


def _encode(case: Case, request: Request) -> bytes:
    got = [len(data) for data in request.inputs]
    want = [buffer.bytes for buffer in case.inputs]
    if got != want:
        raise ValueError(f"case {case.symbol!r} takes inputs of {want} bytes, not {got}")
    flags = _KEEP_STATE * request.keep_state | _RESET * request.reset
    flags |= request.junk << _JUNK_SHIFT
    return struct.pack("<II", request.case, flags) + b"".join(request.inputs)


def _failure(runner: Runner, case: Case, what: str) -> InternalError:
    return InternalError(
        f"compiled code of {case.symbol!r} for target {runner.target.name!r}: {what}",
        reproducer=str(runner.program),
    )
