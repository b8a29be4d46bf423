"""Test inputs in forked workers, with 512 MB of address space and 2 s of processor time per input.

A worker starts with all modules imported, and tests many inputs. If it ends or hangs, the input
that it was testing is known, and another worker continues after this input. A new worker also
continues if inputs have left memory allocated, since the next input would have less memory.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import select
import signal
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from findings import Finding, Findings

CPU_S = 2.0
HANG_S = 60
MEMORY_BYTES = 512 << 20
LEFT_BYTES = 64 << 20
"""Bytes that inputs may leave allocated before a new worker continues."""
_GREW = 3  # exit status of a worker in which inputs have left more than `LEFT_BYTES`
_OWN = ("ellc", "ir", "codegen")
_ROOT = Path(__file__).resolve().parents[2]

Judge = Callable[[int], str]
"""Makes the input with a number, tests it, and returns its outcome, a word."""


class TimeIsUp(BaseException):
    """Raised if an input takes more than `CPU_S` seconds of processor time."""


@dataclass
class _Worker:
    pid: int
    answers: int
    numbers: range
    at: mmap.mmap
    rest: bytes = b""
    was_at: int = -1
    since: float = 0.0

    @property
    def number(self) -> int:
        return int(struct.unpack("q", self.at[:8])[0])


def judge_all(numbers: range, judge: Judge, jobs: int, again: str) -> Findings:
    """Test the inputs with these numbers. `again` with a number for `{}` repeats that input."""
    findings = Findings()
    size = -(-len(numbers) // jobs) if numbers else 0
    waiting = [numbers[i : i + size] for i in range(0, len(numbers), size or 1)]
    running = [_start(share, judge) for share in waiting]
    while running:
        ready, _, _ = select.select([w.answers for w in running], [], [], 1.0)
        for worker in [w for w in running if w.answers in ready]:
            if not _listen(worker, findings, again):
                running.remove(worker)
                running += _after(worker, judge, findings, again)
        for worker in running:
            _watch(worker)
    return findings


def _start(numbers: range, judge: Judge) -> _Worker:
    answers, writing = os.pipe()
    at = mmap.mmap(-1, 8)
    at[:8] = struct.pack("q", -1)
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(writing)
        return _Worker(pid, answers, numbers, at, since=time.monotonic())
    try:
        os.close(answers)
        os._exit(_work(numbers, judge, at, writing))
    finally:
        os._exit(0)


def _work(numbers: range, judge: Judge, at: mmap.mmap, writing: int) -> int:
    """The main function of a worker: writes a line of JSON per input; returns the exit status."""
    first_bytes = _address_space_bytes()
    limit = first_bytes + MEMORY_BYTES + LEFT_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("error")
    for number in numbers:
        at[:8] = struct.pack("q", number)
        line = json.dumps(_judged(number, judge)).encode() + b"\n"
        while line:
            line = line[os.write(writing, line) :]
        if _address_space_bytes() > first_bytes + LEFT_BYTES:
            return _GREW
    return 0


def _judged(number: int, judge: Judge) -> tuple[int, str, str]:
    """(number, outcome, '') of a tested input; after an error (number, message, place)."""
    try:
        with _time_limit():
            return number, judge(number), ""
    except BaseException as error:
        return number, f"{type(error).__name__}: {error}"[:500], _place(error)


@contextmanager
def _time_limit() -> Iterator[None]:
    def stop(signal_number: int, frame: FrameType | None) -> None:
        raise TimeIsUp(f"more than {CPU_S} s")

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _place(error: BaseException) -> str:
    """The innermost stack frame in the project's code, and the type of the error."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        path = Path(frame.filename).resolve()
        if path.is_relative_to(_ROOT) and path.relative_to(_ROOT).parts[0] in _OWN:
            place = f"{path.relative_to(_ROOT)}:{frame.lineno} {frame.name}"
            return f"{type(error).__name__} in {place}"
    return f"{type(error).__name__} outside of ellc"


def _listen(worker: _Worker, findings: Findings, again: str) -> bool:
    """Read the output of a worker; returns False if it has ended."""
    data = os.read(worker.answers, 1 << 16)
    *lines, worker.rest = (worker.rest + data).split(b"\n")
    for line in lines:
        number, said, place = json.loads(line)
        if place:
            findings.outcomes["FAILED"] += 1
            findings.add(Finding(place, said, again.format(number)))
        else:
            findings.outcomes[said] += 1
    return bool(data)


def _after(worker: _Worker, judge: Judge, findings: Findings, again: str) -> list[_Worker]:
    """After a worker has ended: the new worker that continues, if inputs are left.

    If it was killed or died, the input that it was testing becomes a finding.
    """
    _, status = os.waitpid(worker.pid, 0)
    os.close(worker.answers)
    exit_status = os.waitstatus_to_exitcode(status)
    if exit_status == 0 and worker.number in worker.numbers[-1:]:
        return []
    if exit_status != _GREW:
        cause = signal.Signals(-exit_status).name if exit_status < 0 else "no word"
        findings.outcomes["FAILED"] += 1
        findings.add(Finding(f"dies: {cause}", "", again.format(worker.number)))
    left = worker.numbers[worker.numbers.index(worker.number) + 1 :]
    return [_start(left, judge)] if left else []


def _watch(worker: _Worker) -> None:
    """Kill a worker that has been testing the same input for more than `HANG_S` seconds."""
    now = time.monotonic()
    if worker.number != worker.was_at:
        worker.was_at, worker.since = worker.number, now
    elif now - worker.since > HANG_S:
        os.kill(worker.pid, signal.SIGKILL)
        worker.since = now


def _address_space_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[0]
    return int(pages) * mmap.PAGESIZE
