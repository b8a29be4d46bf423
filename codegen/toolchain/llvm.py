"""Compiles LLVM IR text to objects, assembly text, bitcode or optimised IR, in child processes.

By default, there are at most as many child processes as the machine has cores.

LLVM ends its process if it cannot compile a module, and llvmlite holds a lock during every call.
Child processes solve both problems: a crash becomes an `InternalError` with a file that reproduces
it, and modules are compiled in parallel. The bytes of a result depend only on the job and the
target, not on the child process or its earlier jobs.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Self, cast

from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain.llvm_worker import read_message, write_message
from ellc.ir.errors import EllcError, InternalError
from ellc.ir.installing import core_hint


class EmitKind(StrEnum):
    """The kind of output of a job."""

    OBJECT = "object"
    ASM = "asm"
    BITCODE = "bitcode"
    IR = "ir"
    """LLVM IR text after the passes."""


@dataclass(frozen=True, slots=True)
class Passes:
    """The passes that LLVM runs before instruction selection.

    The defaults suit kernels, which are already vectorised and unrolled, and in which most
    loop-invariant code is already hoisted. LLVM's own pipeline of level 3 takes five times as long
    for kernels, because it combines instructions eight times; the resulting code is no faster.
    """

    names: tuple[str, ...] = (
        "simplify_cfg",
        "loop_rotate",
        "instruction_combine",
        "new_gvn",
        "simplify_cfg",
    )
    """The passes in order, by NAME as in `add_NAME_pass` of
    `llvmlite.binding.ModulePassManager`."""
    codegen_level: int = 3
    """The effort of instruction selection, scheduling and register allocation, from 0 to 3."""


@dataclass(frozen=True, slots=True)
class IrJob:
    """One module to compile."""

    name: str
    """A name for error messages. The result does not contain it."""
    text: str
    """The LLVM IR. Triple and data layout are added if they are missing."""
    emit: EmitKind = EmitKind.OBJECT
    passes: Passes = Passes()


@dataclass(frozen=True, slots=True)
class Compiled:
    """The result of a job, and the stack frames that LLVM reported."""

    data: bytes
    frame_bytes: dict[str, int]
    """The size of each function's stack frame, without the return address."""


def compile_ir(
    jobs: Sequence[IrJob], target: Target, *, pool: LlvmPool | None = None
) -> list[bytes]:
    """Compile the jobs for the target in parallel. Return the results in the order of the jobs.

    Without `pool`, child processes are started for this call, which takes about a tenth of a
    second. Raises `InternalError` with a reproducer file if LLVM rejects a job or crashes, and
    `EllcError`: E604 if LLVM does not know the target's CPU or one of its features, E605 if
    llvmlite is missing.
    """
    if pool is not None:
        return pool.compile(jobs, target)
    with LlvmPool(min(len(jobs), usable_cores())) as own:
        return own.compile(jobs, target)


def usable_cores() -> int:
    """Return how many processes can run at the same time on this machine."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


class LlvmPool:
    """Child processes that compile. As a context manager, the pool ends them on exit.

    A process starts with its first job. Several threads may use the pool.
    """

    def __init__(self, processes: int | None = None, *, job_limit_s: float = 600.0) -> None:
        """Make a pool of `processes` children; the default is one for each usable core.

        A job that takes longer than `job_limit_s` seconds counts as crashed.
        """
        count = max(1, usable_cores() if processes is None else processes)
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="ellc-llvm")
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._workers = [_Worker(job_limit_s) for _ in range(count)]
        for worker in self._workers:
            self._idle.put(worker)

    def compile(self, jobs: Sequence[IrJob], target: Target) -> list[bytes]:
        """See `compile_ir`."""
        return [compiled.data for compiled in self.compile_measured(jobs, target)]

    def compile_measured(self, jobs: Sequence[IrJob], target: Target) -> list[Compiled]:
        """Like `compile`, but also returns stack frames.

        They are known for functions with the attribute `"warn-stack-size"="0"`, which does not
        change the code.
        """
        # The longest job starts first. If it started last, the other cores would be idle meanwhile.
        order = sorted(range(len(jobs)), key=lambda index: -len(jobs[index].text))
        futures = {
            index: self._executor.submit(self._compile_one, jobs[index], target) for index in order
        }
        outcomes = [futures[index].result() for index in range(len(jobs))]
        unknown = [outcome for outcome in outcomes if isinstance(outcome, EllcError)]
        if unknown:
            raise unknown[0]
        failed = [outcome for outcome in outcomes if isinstance(outcome, _Failure)]
        if failed:
            raise _internal_error(failed, target)
        return [outcome for outcome in outcomes if isinstance(outcome, Compiled)]

    def _compile_one(self, job: IrJob, target: Target) -> Compiled | _Failure | EllcError:
        worker = self._idle.get()
        try:
            return worker.compile(job, target)
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """End all processes."""
        self._executor.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _Failure:
    job: IrJob
    message: str


class _Worker:
    """One child process. It starts with its first job, and again after a crash."""

    def __init__(self, job_limit_s: float) -> None:
        self._job_limit_s = job_limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._as_written = False
        self._stderr: IO[bytes] | None = None

    def compile(self, job: IrJob, target: Target) -> Compiled | _Failure | EllcError:
        if self._process is not None and self._as_written is not target.as_written:
            self.stop()  # a process can set this LLVM option only once
        self._as_written = target.as_written
        process = self._process or self._start()
        # The child stops reading only when it ends, so a write cannot block for ever.
        timer = threading.Timer(self._job_limit_s, process.kill)
        timer.start()
        try:
            stdin = cast(BinaryIO, process.stdin)
            write_message(stdin, json.dumps(worker_request(job, target)).encode())
            write_message(stdin, job.text.encode())
            stdout = cast(BinaryIO, process.stdout)
            answer = read_message(stdout)
            remarks = read_message(stdout) if answer is not None and answer[:1] == b"R" else b""
        except OSError:
            answer = remarks = None
        finally:
            timer.cancel()
        if answer is None or remarks is None:
            return _Failure(job, self._autopsy())
        kind, body = answer[:1], answer[1:]
        match kind:
            case b"R":
                return Compiled(body, _frames(remarks.decode(errors="replace")))
            case b"C":
                return _unknown_cpu(target, body.decode(errors="replace"))
            case _:
                return _Failure(job, body.decode(errors="replace"))

    def _start(self) -> subprocess.Popen[bytes]:
        self._stderr = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - open as long as the process
        # With -I -S, the working directory, PYTHON* variables and site hooks do not affect the
        # child. It needs only the standard library and llvmlite's folder.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", _worker_file(), *_llvmlite_folders()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        return self._process

    def _autopsy(self) -> str:
        """Return how the process ended and what it printed, and discard the process."""
        process, stderr = self._process, self._stderr
        assert process is not None and stderr is not None
        status = process.wait()
        stderr.seek(0)
        printed = stderr.read().decode(errors="replace").strip()
        self.stop()
        if status == -9:
            return f"killed after more than {self._job_limit_s:.0f} s, or by the system\n{printed}"
        ended = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"the LLVM process {ended}\n{printed}"

    def stop(self) -> None:
        """End the process and release its pipes."""
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._stderr is not None:
            self._stderr.close()
        self._process = self._stderr = None


def _frames(remarks: str) -> dict[str, int]:
    found = re.findall(r"stack frame size \((\d+)\) exceeds limit .* in function '(\S+)'", remarks)
    return {name: int(size) for size, name in found}


def _worker_file() -> str:
    return str(Path(__file__).with_name("llvm_worker.py"))


def _llvmlite_folders() -> list[str]:
    spec = importlib.util.find_spec("llvmlite")
    if spec is None or not spec.submodule_search_locations:
        raise EllcError(
            "the Python package llvmlite is missing",
            code="E605",
            hint=core_hint("llvmlite"),
        )
    return [str(Path(folder).resolve().parent) for folder in spec.submodule_search_locations]


def worker_request(job: IrJob, target: Target) -> dict[str, str | int | bool]:
    """What the worker is told about a job, besides the text of its module."""
    return {
        "triple": target.triple,
        "cpu": target.cpu,
        "features": target.llvm_features,
        "abi": target.llvm_abi,
        # An operating system may load code at any address: the code must be position-independent.
        "reloc": "pic" if target.has_os else "static",
        "codegen_level": job.passes.codegen_level,
        "passes": " ".join(job.passes.names),
        "as_written": target.as_written,
        "emit": job.emit.value,
    }


def _unknown_cpu(target: Target, complaint: str) -> EllcError:
    return EllcError(
        f"LLVM does not know the CPU {target.cpu!r} with features {target.llvm_features!r}",
        code="E604",
        where=target.triple,
        hint="the names are those of `clang -mcpu=help`, such as cortex-a53 and +dotprod",
        problems=tuple(sorted(set(complaint.splitlines()))),
    )


def _internal_error(failed: Sequence[_Failure], target: Target) -> InternalError:
    first = failed[0]
    path = _write_reproducer(first, target)
    others = len(failed) - 1
    more = f" and {others} other module{'s' if others > 1 else ''}" if others else ""
    return InternalError(
        f"LLVM failed on {_failed_functions(first)}{first.job.name!r}{more} "
        f"for target {target.name!r}: {_summary(first.message)}\nreproducer: {path}",
        reproducer=str(path),
    )


def _failed_functions(failure: _Failure) -> str:
    """The function that LLVM named, or else those that the module defines, followed by "of"."""
    named = re.search(r"In function: (\S+)", failure.message)
    if named:
        return f"function {named[1]!r} of "
    defined = re.findall(r"^define [^@]*@\"?([\w.$]+)", failure.job.text, re.MULTILINE)
    listed = ", ".join(repr(name) for name in defined[:8])
    word = "function" if len(defined) == 1 else "functions"
    return f"{word} {listed}{', ...' if len(defined) > 8 else ''} of " if defined else ""


def _summary(message: str) -> str:
    """The lines before LLVM's stack dump, which does not help a user."""
    kept = []
    for line in message.splitlines():
        if line.startswith(("Stack dump", "PLEASE submit")) or re.match(r"\s*#\d+ ", line):
            break
        kept.append(line)
    return "\n".join(kept[:20])


def _write_reproducer(failure: _Failure, target: Target) -> Path:
    """Write a file with the IR and all that is needed to compile it again. Return its path."""
    request = worker_request(failure.job, target)
    comments = [f"{name}: {value}" for name, value in request.items()]
    comments += ["", *failure.message.splitlines()]
    text = "".join(f"; {line}".rstrip() + "\n" for line in comments) + failure.job.text
    stem = re.sub(r"[^\w.-]+", "_", failure.job.name)[:60]
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    path = Path(tempfile.gettempdir()) / f"ellc-llvm-{stem}-{digest}.ll"
    path.write_text(text, encoding="utf-8")
    return path
