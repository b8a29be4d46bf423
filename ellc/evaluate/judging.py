"""Samples to answers, in this process or in a pool of processes on this machine."""

from __future__ import annotations

import atexit
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from ellc.evaluate.answers import Answer, Inputs, answered
from ellc.evaluate.samples import Data
from ellc.evaluate.subject import Facts, Subject, opened
from ellc.ir.errors import EllcError
from ellc.ir.types import Array

CHUNK = 16
"""Samples of one task."""
_WAITING = 3  # tasks for each process that are handed out ahead
_RESTARTS = 3


@dataclass(frozen=True)
class Task:
    """Everything that answers depend on; it can be pickled.

    `first_class` is the network's class of the data's class 0.
    """

    data: Data
    subjects: tuple[Subject, ...]
    facts: tuple[Facts, ...]
    first_class: int = 0

    def inputs(self, index: int) -> Inputs:
        """A sample made ready for every subject."""
        try:
            sample = self.data[index]
            values = tuple(known.preparation(sample) for known in self.facts)
        except EllcError as error:
            return Inputs(index, f"{error.where or index}", -1, problem=error.message)
        return Inputs(index, sample.name, sample.label + self.first_class, values)

    @contextmanager
    def open(self) -> Iterator[Callable[[Inputs], Answer]]:
        """A function that answers, for as long as the block lasts."""
        machine = this_machine()
        with ExitStack() as stack:
            calls: tuple[Callable[[Array], Array], ...] = tuple(
                stack.enter_context(opened(subject, known.output))
                for subject, known in zip(self.subjects, self.facts, strict=True)
            )
            yield lambda inputs: answered(inputs, calls, machine)


def this_machine() -> str:
    """What board or computer this is, in words."""
    try:
        board = Path("/proc/device-tree/model").read_text(encoding="utf-8").strip("\0\n ")
    except (OSError, ValueError):
        board = ""
    return f"{board or platform.machine()} {platform.node()}".strip()


def in_processes(task: Task, indices: Sequence[int], jobs: int) -> Iterator[Answer]:
    """Answers in the order in which they come. A process that dies is replaced.

    Raises `EllcError` E774 if processes die again and again.
    """
    missing = dict.fromkeys(indices)
    for _ in range(_RESTARTS):
        try:
            for answer in _one_pool(task, list(missing), jobs):
                del missing[answer.index]
                yield answer
            return
        except BrokenProcessPool:
            continue
    raise EllcError(
        f"the processes that call the network died {_RESTARTS} times; {len(missing)} samples are"
        " left",
        code="E774",
        hint="memory may be short: try --jobs 1",
    )


def _one_pool(task: Task, indices: Sequence[int], jobs: int) -> Iterator[Answer]:
    chunks = (indices[at : at + CHUNK] for at in range(0, len(indices), CHUNK))
    context = get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, _start, (task,))
    try:
        running: set[Future[list[Answer]]] = set()
        while True:
            room = jobs * _WAITING - len(running)
            running |= {pool.submit(_answers, chunk) for chunk in islice(chunks, room)}
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()
    finally:
        pool.shutdown(cancel_futures=True)


class _Process:
    """What a process of the pool holds; set by its initializer, the only way in which one can.

    `error` says why the networks could not be opened: an initializer may not raise.
    """

    task: Task
    answer: Callable[[Inputs], Answer]
    error: EllcError | None = None


def _start(task: Task) -> None:
    stack = ExitStack()
    atexit.register(stack.close)
    try:
        _Process.task, _Process.answer = task, stack.enter_context(task.open())
    except EllcError as error:
        _Process.error = error


def _answers(indices: Sequence[int]) -> list[Answer]:
    if _Process.error is not None:
        raise _Process.error
    return [_Process.answer(_Process.task.inputs(index)) for index in indices]


def default_jobs() -> int:
    """A process for every core that this one may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
