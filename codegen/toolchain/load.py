"""Runs a shared library of any Linux target on this machine, unchanged.

A small loader program for the target, which zig builds, opens the library. If this machine cannot
run code for the target directly, the loader runs under qemu, with the C library of Debian's cross
packages.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain import emulate, zig
from ellc.codegen.toolchain.system_root import with_system_root
from ellc.ir.errors import EllcError
from ellc.ir.work_folders import temporary_folder

_SOURCE = Path(__file__).resolve().parents[1] / "templates" / "load_library.c"


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a run: the raw outputs of the first call, and times in nanoseconds.

    `load_ns` is the time from opening the library to the end of `init`, `first_ns` is the time of
    the first call, and `call_ns` lists the times of later calls. If the call was not repeated,
    nothing was timed: `load_ns` and `first_ns` are 0, and `call_ns` is empty.
    """

    outputs: tuple[bytes, ...]
    load_ns: int = 0
    first_ns: int = 0
    call_ns: tuple[int, ...] = ()


def call_library(
    target: Target,
    library: Path,
    name: str,
    inputs: Sequence[bytes],
    output_bytes: Sequence[int],
    *,
    threads: int = 0,
    repeat_ms: int = 0,
    limit_s: float = 600.0,
) -> RunResult:
    """Make an instance of the model in `library`, predict, and repeat the call for `repeat_ms`.

    If `repeat_ms` is 0, the call is not repeated. `name` is the prefix of the library's C
    functions. If `threads` is 0, the library chooses the number of threads. Raises `EllcError`:
    E620 if this machine cannot run the library (the hint says what to install), E621 with the
    message of the library or the loader if one of them fails.
    """
    _check_runnable(target)
    (answer,) = _answers(
        target, library, name, inputs, output_bytes, threads, [repeat_ms], limit_s=limit_s
    )
    return answer


def time_starts(
    target: Target,
    library: Path,
    name: str,
    inputs: Sequence[bytes],
    output_bytes: Sequence[int],
    *,
    threads: int = 0,
    starts: int = 5,
    repeat_ms: int = 1,
) -> list[RunResult]:
    """Call the library in `starts` processes, one after the other. See `call_library`.

    The last process repeats the call for `repeat_ms`, the others for one millisecond.
    """
    repeats = [1] * (starts - 1) + [repeat_ms]
    return _answers(target, library, name, inputs, output_bytes, threads, repeats)


def _answers(
    target: Target,
    library: Path,
    name: str,
    inputs: Sequence[bytes],
    output_bytes: Sequence[int],
    threads: int,
    repeats_ms: Sequence[int],
    *,
    limit_s: float = 600.0,
) -> list[RunResult]:
    """The results of one process for each of `repeats_ms`."""
    machine = _machine(target)
    with temporary_folder("load") as folder:
        loader = folder / "load_library"
        build_loader(target, loader)
        answers = []
        for repeat_ms in repeats_ms:
            numbers = loader_numbers(map(len, inputs), output_bytes, threads, repeat_ms)
            command: list[str | Path] = [loader, library.resolve(), name, *numbers]
            printed = emulate.run(machine, command, stdin=b"".join(inputs), limit_s=limit_s)
            answers.append(split_answer(printed, output_bytes))
    return answers


def loader_numbers(
    input_bytes: Iterable[int], output_bytes: Iterable[int], threads: int, repeat_ms: int
) -> tuple[str, ...]:
    """The arguments of the loader program after the library and the prefix of its functions."""
    return (
        *map(str, (threads, repeat_ms, *input_bytes)),
        ":",
        *map(str, output_bytes),
    )


@contextmanager
def open_session(
    target: Target,
    library: Path,
    name: str,
    input_bytes: Sequence[int],
    output_bytes: Sequence[int],
    *,
    threads: int = 0,
) -> Iterator[Session]:
    """Context manager: an instance of the model in `library`, for many calls.

    States are reset before each call. `input_bytes` and `output_bytes` are the sizes of the inputs
    and outputs; the other arguments and the errors are those of `call_library`. The process ends
    after the `with` block.
    """
    _check_runnable(target)
    machine = _machine(target)
    with temporary_folder("load") as folder:
        loader = folder / "load_library"
        build_loader(target, loader)
        numbers = [threads, "calls", *input_bytes, ":", *output_bytes]
        words = [*emulate.prefix(machine), loader, library.resolve(), name, *numbers]
        with (folder / "errors").open("w+b") as errors:
            process = subprocess.Popen(
                [str(word) for word in words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
            try:
                yield Session(process, tuple(output_bytes), errors)
            finally:
                process.kill()
                process.communicate()


def _check_runnable(target: Target) -> None:
    if not target.c_target or target.os != "linux":
        raise EllcError(
            f"libraries for target {target.name!r} cannot be run on this machine", code="E620"
        )


def _machine(target: Target) -> Target:
    """The target with an emulator, if it needs one, that finds the C library."""
    emulate.prefix(target)
    return with_system_root(target)


@dataclass(frozen=True, slots=True)
class Session:
    """A process with one instance of a model."""

    process: subprocess.Popen[bytes]
    output_bytes: tuple[int, ...]
    errors: IO[bytes]

    def call(self, inputs: Sequence[bytes]) -> tuple[bytes, ...]:
        """The outputs of one call. Raises `EllcError` (E621) if the process has ended."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        try:
            for data in inputs:
                stdin.write(data)
            stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        outputs = []
        for size in self.output_bytes:
            outputs.append(stdout.read(size))
            if len(outputs[-1]) != size:
                raise self._ended()
        return tuple(outputs)

    def _ended(self) -> EllcError:
        status = self.process.wait()
        self.errors.seek(0)
        printed = self.errors.read(4096).decode(errors="replace").splitlines()
        return EllcError(
            f"the library's process {emulate.ending(status)}", code="E621", problems=tuple(printed)
        )


def library_abi(target: Target, library: Path, name: str) -> int:
    """The result of a library's function `NAME_abi`. Raises `EllcError` as `call_library` does."""
    machine = _machine(target)
    with temporary_folder("load") as folder:
        loader = folder / "load_library"
        build_loader(target, loader)
        printed = emulate.run(machine, [loader, library.resolve(), name], limit_s=60.0)
    if not printed.strip().isdigit():
        raise EllcError("the library has no interface hash", code="E621", where=str(library))
    return int(printed)


def build_loader(target: Target, loader: Path, glibc: Sequence[int] = ()) -> None:
    """Build the loader program for libraries of the target.

    The program needs at least the glibc version `glibc`; the default is the version in
    `Target.c_target`. The first program for a version takes seconds to build.
    """
    platform = target.c_target
    if glibc:
        platform = f"{platform.partition('.')[0]}.{'.'.join(map(str, glibc))}"
    words = ["cc", "-target", platform, f"-mcpu={target.musl_cpu}", "-std=c99", "-O1", "-s"]
    zig.build(
        [*words, "-D_POSIX_C_SOURCE=200112L", _SOURCE, "-ldl", "-o", loader],
        what=f"building the library loader for target {target.name!r}",
    )


def split_answer(answer: bytes, sizes: Sequence[int]) -> RunResult:
    """The result in the answer of the loader program, for outputs of these sizes.

    Raises `EllcError` (E621) if the answer does not have the right size.
    """
    rest = len(answer) - sum(sizes)
    if rest < 0 or rest % 8 or rest == 8:
        raise EllcError(
            f"the library returned {len(answer)} bytes instead of {sum(sizes)}", code="E621"
        )
    parts, at = [], 0
    for size in sizes:
        parts.append(answer[at : at + size])
        at += size
    loaded, first, *calls = struct.unpack_from(f"<{rest // 8}Q", answer, at) or (0, 0)
    return RunResult(tuple(parts), loaded, first, tuple(calls))
