"""Opens the subjects of an evaluation, and counts their answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ellc.evaluate.judging import Task
from ellc.evaluate.samples import Data
from ellc.evaluate.subject import Subject, compiled, interface
from ellc.ir.work_folders import temporary_folder
from ellc.progress import Progress


@contextmanager
def opened_task(
    subjects: Sequence[Subject], data: Data, share: float, first_class: int, report: Progress
) -> Iterator[Task]:
    """Compile the subjects; the libraries are removed when the block ends.

    Pictures are cropped to the middle `share` of each side. Class 0 of the data set is class
    `first_class` of the networks.
    """
    with temporary_folder("evaluate") as folder:
        ready = tuple(
            compiled(subject, folder / f"subject{number}", report)
            for number, subject in enumerate(subjects)
        )
        interfaces = tuple(interface(subject, share) for subject in ready)
        yield Task(data, ready, interfaces, first_class)
