"""Computes answers on the workers of a Dask cluster: local processes, or many boards.

This process reads and prepares the samples and sends them to the workers. It also sends the models
or libraries, so a worker needs only an installed ellc. If a worker dies, another worker
repeats its calls.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

from ellc.evaluate.answers import Answer, Inputs
from ellc.evaluate.judging import CHUNK, Task, interrupts_blocked
from ellc.ir.errors import EllcError
from ellc.ir.work_folders import temporary_folder

_AHEAD = 4  # chunks in flight for each worker thread, so that no thread waits
_RETRIES = 5
_PLUGIN = "ellc-evaluate"


def in_cluster(task: Task, indices: Sequence[int], cluster: str | int) -> Iterator[Answer]:
    """Compute the answers for the samples with these indices; yields each when it is ready.

    `cluster` is the address of a scheduler, or the number of local workers to start.

    Raises `EllcError`: E773 if Dask is not installed, E774 if the cluster cannot be reached or its
    workers die repeatedly.
    """
    distributed = _distributed()
    # Dask would log an error for every lost worker, although another worker repeats its tasks.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        try:
            if isinstance(cluster, int):
                cluster = stack.enter_context(_local_cluster(distributed, cluster))
            client = stack.enter_context(distributed.Client(cluster, timeout=30))
            plugin = make_plugin(distributed, Packed.of(task))
            client.register_plugin(plugin, name=_PLUGIN)
        except (OSError, ValueError) as error:
            raise EllcError(
                f"the cluster cannot be reached: {error}",
                code="E774",
                hint="start one with `dask scheduler` and `dask worker`, or use --workers",
            ) from error
        yield from _gathered(distributed, client, task, indices)


@contextmanager
def _local_cluster(distributed: Any, workers: int) -> Iterator[Any]:
    """Start a cluster of processes on this machine.

    Ctrl-C stays blocked in these processes. If it ended workers, Dask would consider them lost and
    start new workers.
    """
    with ExitStack() as stack:
        with interrupts_blocked():
            local = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            )
            stack.enter_context(local)
        yield local


def _gathered(
    distributed: Any, client: Any, task: Task, indices: Sequence[int]
) -> Iterator[Answer]:
    """Submit chunks of samples and yield their answers.

    Only as many chunks are read ahead as the workers need, so that memory does not fill up.
    """
    chunks = (indices[at : at + CHUNK] for at in range(0, len(indices), CHUNK))

    def submit(chunk: Sequence[int]) -> Any:
        ready = [task.inputs(index) for index in chunk]
        return client.submit(_answers, ready, pure=False, retries=_RETRIES)

    room = max(2, _AHEAD * sum(client.nthreads().values()))
    running = distributed.as_completed([submit(chunk) for chunk in islice(chunks, room)])
    for future in running:
        try:
            answers = future.result()
        except distributed.KilledWorker as error:
            raise EllcError(
                f"workers died repeatedly: {error}",
                code="E774",
                hint="the machines may lack memory: use fewer workers on each machine",
            ) from error
        for chunk in islice(chunks, 1):
            running.add(submit(chunk))
        yield from answers


def _answers(inputs: Sequence[Inputs]) -> list[Answer]:
    """Answer some samples; this function runs on a worker."""
    state: WorkerState = _distributed().get_worker().plugins[_PLUGIN].state
    with state.lock:
        return [state.answer(prepared) for prepared in inputs]


@dataclass(frozen=True)
class Packed:
    """A task with the contents of its model files, for machines that do not have these files."""

    task: Task
    contents: tuple[tuple[tuple[str, bytes], ...], ...]
    """For each file of each subject: the names and bytes of the file and of its companions."""

    @staticmethod
    def of(task: Task) -> Packed:
        """Read the files of the subjects, but not the data: workers get prepared samples."""
        files = [file for subject in task.subjects for file in subject.files]
        return Packed(replace(task, data=_NOTHING), tuple(map(_with_companions, files)))

    def unpacked(self, folder: Path) -> Task:
        """Write each file into its own subfolder of `folder`; returns the task with these paths."""
        contents = enumerate(self.contents)
        subjects = []
        for subject in self.task.subjects:
            own = islice(contents, len(subject.files))
            files = tuple(_write_files(folder / f"{number}", content) for number, content in own)
            subjects.append(replace(subject, files=files))
        return replace(self.task, subjects=tuple(subjects))


_NOTHING: Any = ()


def _with_companions(file: Path) -> tuple[tuple[str, bytes], ...]:
    """Read a file; if it is a library, also its manifest and its object file."""
    name = file.name[: -len(file.suffix)].removeprefix("lib")
    companions = [file.with_name(f"{name}{suffix}") for suffix in (".json", ".o")]
    files = [file, *(companion for companion in companions if companion.is_file())]
    return tuple((needed.name, needed.read_bytes()) for needed in files)


def _write_files(folder: Path, contents: Sequence[tuple[str, bytes]]) -> Path:
    """Write names and bytes into a new folder; returns the path of the first file."""
    folder.mkdir(parents=True)
    for name, content in contents:
        (folder / name).write_bytes(content)
    return folder / contents[0][0]


@dataclass(frozen=True)
class WorkerState:
    """The opened networks of a worker.

    Threads must hold `lock` to call `answer`, because a network has only one set of states.
    """

    answer: Callable[[Inputs], Answer]
    lock: Lock = field(default_factory=Lock)


def make_plugin(distributed: Any, packed: Packed) -> Any:
    """A Dask plugin that opens the networks on every worker, including workers that join later."""

    class Networks(distributed.WorkerPlugin):  # type: ignore[misc]
        name = _PLUGIN

        def setup(self, worker: Any) -> None:
            self.stack = ExitStack()
            folder = self.stack.enter_context(temporary_folder("fleet"))
            task = packed.unpacked(folder)
            self.state = WorkerState(self.stack.enter_context(task.open()))

        def teardown(self, worker: Any) -> None:
            self.stack.close()

    return Networks()


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise EllcError(
            f"Dask's package distributed is not installed: {error}",
            code="E773",
            hint="pip install 'ellc-compiler[fleet]'",
        ) from error
    return distributed
