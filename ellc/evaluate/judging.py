"""Computes the answers for samples in a process pool here; `fleet` also uses `Task`."""

from __future__ import annotations

import atexit
import os
import platform
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import wait as wait_for
from pathlib import Path

from ellc.evaluate.answers import Answer, Inputs, answered
from ellc.evaluate.samples import Data
from ellc.evaluate.subject import Interface, Subject, opened
from ellc.ir.errors import EllcError
from ellc.ir.types import Array

CHUNK = 16
"""The number of samples that a process or a worker gets at a time."""
_WAITING = 3  # chunks in flight for each process, so that no process waits
_RESTARTS = 3


@dataclass(frozen=True)
class Task:
    """The data set and the subjects of an evaluation; it can be pickled.

    Class 0 of the data set is class `first_class` of the networks.
    """

    data: Data
    subjects: tuple[Subject, ...]
    interfaces: tuple[Interface, ...]
    first_class: int = 0

    def inputs(self, index: int) -> Inputs:
        """Read a sample and prepare it for every subject.

        If that fails, nothing is raised: the result has the problem as text.
        """
        try:
            sample = self.data[index]
            values = tuple(i.preparation(sample) for i in self.interfaces)
        except EllcError as error:
            return Inputs(index, f"{error.where or index}", -1, problem=error.message)
        return Inputs(index, sample.name, sample.label + self.first_class, values)

    @contextmanager
    def open(self) -> Iterator[Callable[[Inputs], Answer]]:
        """Open the subjects; the block gets a function that turns prepared samples into answers."""
        machine = this_machine()
        with ExitStack() as stack:
            calls: tuple[Callable[[Array], Array], ...] = tuple(
                stack.enter_context(opened(subject, interface.output))
                for subject, interface in zip(self.subjects, self.interfaces, strict=True)
            )
            yield lambda inputs: answered(inputs, calls, machine)


def this_machine() -> str:
    """The name of this machine: its model or instruction set, then its host name."""
    try:
        board = Path("/proc/device-tree/model").read_text(encoding="utf-8").strip("\0\n ")
    except (OSError, ValueError):
        board = ""
    return f"{board or platform.machine()} {platform.node()}".strip()


def in_processes(task: Task, indices: Sequence[int], jobs: int) -> Iterator[Answer]:
    """Compute the answers for the samples with these indices; yields each when it is ready.

    If one of the `jobs` processes dies, a new pool computes the missing answers. Raises `EllcError`
    E774 if `_RESTARTS` pools died.
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
        f"the processes that call the network died {_RESTARTS} times; samples without an "
        f"answer: {len(missing)}",
        code="E774",
        hint="the machine may lack memory: try --jobs 1",
    )


def _one_pool(task: Task, indices: Sequence[int], jobs: int) -> Iterator[Answer]:
    starts = range(0, len(indices), CHUNK)
    chunks = (indices[at : at + CHUNK] for at in starts)
    # Every process of the pool starts with the first chunk, and takes a second to import ellc.
    jobs = min(jobs, max(1, len(starts)))
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _start, (task,))
    try:
        running: set[Future[list[Answer]]] = set()
        while True:
            room = jobs * _WAITING - len(running)
            with interrupts_blocked():  # `submit` starts processes
                running |= {pool.submit(_answers, chunk) for chunk in islice(chunks, room)}
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C in this thread; threads and processes that start in the block inherit this.

    A terminal interrupts all processes of a command. A Python process that is interrupted while it
    starts prints a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # The resource tracker unblocks Ctrl-C in the thread that starts it. So start it before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Process:
    """The state of a process in the pool. It is global, because an initializer cannot return it.

    `error` is the error of opening the networks. The initializer stores it and does not raise it,
    because that would break the pool and hide the error.
    """

    task: Task
    answer: Callable[[Inputs], Answer]
    error: EllcError | None = None
    in_use: threading.Lock
    interrupted = False
    is_answering = False


def _start(task: Task) -> None:
    signal.signal(signal.SIGINT, _interrupt)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    stack = ExitStack()
    atexit.register(stack.close)
    _Process.in_use = threading.Lock()
    threading.Thread(target=_end_after_parent, args=(stack,), daemon=True).start()
    try:
        with _Process.in_use:
            _Process.task, _Process.answer = task, stack.enter_context(task.open())
    except EllcError as error:
        _Process.error = error


def _interrupt(_number: int, _frame: object) -> None:
    """Stop computing answers. Elsewhere in the process, an exception would print a traceback."""
    _Process.interrupted = True
    if _Process.is_answering:
        raise KeyboardInterrupt


def _end_after_parent(stack: ExitStack) -> None:
    """Wait until the parent process has ended, close the networks, and end this process.

    A parent that was killed does not shut its pool down, and the pool's pipes stay open, because
    the processes of the pool have both ends of the pipes. Without this function, the processes
    would wait for work forever.
    """
    parent = parent_process()
    assert parent is not None
    wait_for([parent.sentinel])
    with _Process.in_use:
        try:
            stack.close()
        finally:
            os._exit(1)


def _answers(indices: Sequence[int]) -> list[Answer]:
    if _Process.error is not None:
        raise _Process.error
    with _Process.in_use:
        _Process.is_answering = True
        try:
            if _Process.interrupted:
                raise KeyboardInterrupt
            return [_Process.answer(_Process.task.inputs(index)) for index in indices]
        finally:
            _Process.is_answering = False


def default_jobs() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
