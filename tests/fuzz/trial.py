"""Read files in separate processes with little time and memory."""

from __future__ import annotations

import os
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from damage import Damaged

CPU_S = 2
WALL_S = 10
"""Limit for a reader that waits without using processor time; long enough for busy machines."""
MEMORY_BYTES = 512 << 20

Read = Callable[[Path], str]
"""Reads a file and returns the outcome: `graph` or the code of an error."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of a file; `failed` if it is neither a graph nor an `EllcError`."""

    label: str
    said: str
    failed: bool
    cpu_s: float
    memory_bytes: int


@dataclass(frozen=True)
class _Child:
    damaged: Damaged
    folder: Path
    answer: int  # the reading end of the pipe


def try_all(
    cases: Iterable[Damaged], suffix: str, read: Read, folder: Path, jobs: int
) -> Iterator[Verdict]:
    """Read every case in a separate process, `jobs` at a time, in no fixed order.

    Cases that exceed `WALL_S` are run again, one at a time, at the end.
    """
    running: dict[int, _Child] = {}
    late: list[Damaged] = []
    for case in cases:
        if len(running) == jobs:
            yield from _finished(running, late)
        _start(case, suffix, read, folder, running)
    while running:
        yield from _finished(running, late)
    for case in late:
        _start(case, suffix, read, folder, running)
        yield from _finished(running, None)


def _start(
    case: Damaged, suffix: str, read: Read, folder: Path, running: dict[int, _Child]
) -> None:
    reading, writing = os.pipe()
    own = folder / f"case{reading}"
    own.mkdir(exist_ok=True)
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(writing)
        running[pid] = _Child(case, own, reading)
        return
    try:
        os.close(reading)
        os.write(writing, _answer(case, suffix, read, own).encode(errors="replace")[:4000])
    finally:
        os._exit(0)


def _answer(case: Damaged, suffix: str, read: Read, folder: Path) -> str:
    """In the child process: write three lines, with status, code or error, and growth of memory."""
    path = folder / f"model{suffix}"
    path.write_bytes(case.data)
    before = _address_space_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (before + MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(WALL_S)
    warnings.simplefilter("error")
    try:
        said, good = read(path), "1"
    except BaseException as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
        said, good = f"{type(error).__name__}: {error} ({place})".replace("\n", " / "), "0"
    return f"{good}\n{_address_space_bytes(peak=True) - before}\n{said}"


def _address_space_bytes(*, peak: bool = False) -> int:
    field = "VmPeak:" if peak else "VmSize:"
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) << 10
    raise OSError(f"no {field} in /proc/self/status")


def _finished(running: dict[int, _Child], late: list[Damaged] | None) -> Iterator[Verdict]:
    """Wait for a child process. A case that exceeds `WALL_S` is added to `late`, if given."""
    pid, status, usage = os.wait4(-1, 0)
    child = running.pop(pid)
    with os.fdopen(child.answer, "rb") as pipe:
        answer = pipe.read().decode(errors="replace")
    for path in child.folder.iterdir():
        path.unlink()
    cpu_s = usage.ru_utime + usage.ru_stime
    label = child.damaged.label
    if answer:
        good, grown, said = answer.split("\n", 2)
        yield Verdict(label, said, good != "1", cpu_s, int(grown))
        return
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number == signal.SIGALRM and late is not None:
        late.append(child.damaged)
        return
    said = f"died of {signal.Signals(number).name}" if number else "died without a word"
    yield Verdict(label, said, True, cpu_s, 0)
