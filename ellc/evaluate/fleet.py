"""Samples to answers on the workers of a Dask cluster: processes of this machine, or many boards.

Samples are read and made ready here and sent to the workers, which need nothing but ellc and the
libraries, which are sent as well. A worker that dies loses its task, which another one repeats.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

from ellc.evaluate.answers import Answer, Inputs
from ellc.evaluate.judging import CHUNK, Task
from ellc.ir.errors import EllcError
from ellc.ir.work_folders import temporary_folder

_AHEAD = 4  # tasks for each thread of a worker that are handed out ahead
_RETRIES = 5
_PLUGIN = "ellc-evaluate"


def in_cluster(task: Task, indices: Sequence[int], cluster: str | int) -> Iterator[Answer]:
    """Answers in the order in which they come; `cluster` is an address, or a number of workers.

    Raises `EllcError`: E773 if Dask is not installed, E774 if no worker can be reached or all died.
    """
    distributed = _distributed()
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # it tells of every lost worker
    with ExitStack() as stack:
        try:
            if isinstance(cluster, int):
                local = distributed.LocalCluster(
                    n_workers=cluster,
                    threads_per_worker=1,
                    dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                )
                cluster = stack.enter_context(local)
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


def _gathered(
    distributed: Any, client: Any, task: Task, indices: Sequence[int]
) -> Iterator[Answer]:
    """Hand out chunks, only so many ahead that no worker waits."""
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
                f"workers died again and again: {error}",
                code="E774",
                hint="memory may be short: use fewer workers for each machine",
            ) from error
        for chunk in islice(chunks, 1):
            running.add(submit(chunk))
        yield from answers


def _answers(inputs: Sequence[Inputs]) -> list[Answer]:
    """Runs on a worker."""
    held: Held = _distributed().get_worker().plugins[_PLUGIN].held
    with held.lock:
        return [held.answer(one) for one in inputs]


@dataclass(frozen=True)
class Packed:
    """A task with the content of its files, for machines that have not got them."""

    task: Task
    contents: tuple[tuple[tuple[str, bytes], ...], ...]
    """For each file of all subjects, itself and the files that belong to it: names and bytes."""

    @staticmethod
    def of(task: Task) -> Packed:
        """Read the files; the data stay here."""
        files = [file for subject in task.subjects for file in subject.files]
        return Packed(replace(task, data=_NOTHING), tuple(map(_with_companions, files)))

    def unpacked(self, folder: Path) -> Task:
        """Write the files, each into a folder of its own; the task that names them."""
        contents = enumerate(self.contents)
        subjects = []
        for subject in self.task.subjects:
            files = [_written(folder / f"{n}", c) for n, c in islice(contents, len(subject.files))]
            subjects.append(replace(subject, files=tuple(files)))
        return replace(self.task, subjects=tuple(subjects))


_NOTHING: Any = ()


def _with_companions(file: Path) -> tuple[tuple[str, bytes], ...]:
    """A file, and of a library also its manifest and its object."""
    name = file.name[: -len(file.suffix)].removeprefix("lib")
    beside = [file.with_name(f"{name}{suffix}") for suffix in (".json", ".o")]
    every = [file, *(other for other in beside if other.is_file())]
    return tuple((one.name, one.read_bytes()) for one in every)


def _written(folder: Path, contents: Sequence[tuple[str, bytes]]) -> Path:
    folder.mkdir(parents=True)
    for name, content in contents:
        (folder / name).write_bytes(content)
    return folder / contents[0][0]


@dataclass(frozen=True)
class Held:
    """What a worker holds while it works for an evaluation."""

    answer: Callable[[Inputs], Answer]
    lock: Lock = field(default_factory=Lock)


def make_plugin(distributed: Any, packed: Packed) -> Any:
    """A plugin that opens the networks when a worker starts, also one that replaces another."""

    class Networks(distributed.WorkerPlugin):  # type: ignore[misc]
        name = _PLUGIN

        def setup(self, worker: Any) -> None:
            self.stack = ExitStack()
            folder = self.stack.enter_context(temporary_folder("fleet"))
            task = packed.unpacked(folder)
            self.held = Held(self.stack.enter_context(task.open()))

        def teardown(self, worker: Any) -> None:
            self.stack.close()

    return Networks()


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise EllcError(
            f"Dask's distributed is not installed: {error}",
            code="E773",
            hint="pip install 'ellc-compiler[fleet]'",
        ) from error
    return distributed
