"""Counts the right answers of the float network and of quantised ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ellc.evaluate.answers import Answer
from ellc.evaluate.judging import default_jobs, in_processes
from ellc.evaluate.running import opened_task
from ellc.evaluate.samples import Data
from ellc.evaluate.subject import Subject
from ellc.evaluate.tally import tally
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.work_folders import temporary_folder
from ellc.models import ModelOptions
from ellc.pictures.pixels import PixelOptions
from ellc.progress import Progress

_MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Judge:
    """Asks networks for the classes of labelled samples.

    Pictures are cropped to the middle `crop` of each side. Class 0 of the data is class
    `first_class` of the network. There are `jobs` processes, by default one for each core.
    """

    data: Data
    indices: Sequence[int]
    crop: float
    first_class: int
    jobs: int | None
    pixels: PixelOptions
    report: Progress

    def of_model(self, path: Path, options: ModelOptions) -> list[Answer]:
        """The answers of the float network in a model file, compiled for this machine."""
        return self._answers(Subject((path,), "compiled", options))

    def of_graph(self, graph: Graph) -> list[Answer]:
        """The answers of a quantised network, compiled for this machine."""
        with temporary_folder("judge") as folder:
            save(graph, folder / "network.eir")
            options = ModelOptions(pixels=self.pixels)
            return self._answers(Subject((folder / "network.eir",), "compiled", options))

    def _answers(self, subject: Subject) -> list[Answer]:
        answers: list[Answer] = []
        with opened_task([subject], self.data, self.crop, self.first_class, self.report) as task:
            jobs = min(self.jobs or default_jobs(), len(self.indices))
            for answer in in_processes(task, self.indices, jobs):
                answers.append(answer)
                self.report("measuring accuracy", len(answers), len(self.indices))
        answers.sort(key=lambda answer: answer.index)
        problems = [f"{a.name}: {a.problem}" for a in answers if a.problem]
        if len(problems) == len(answers):
            raise EllcError(
                "no sample can be read", code="E771", problems=problems[:_MOST_PROBLEMS]
            )
        return answers


def side_by_side(first: Sequence[Answer], second: Sequence[Answer]) -> list[Answer]:
    """The answers of two networks for the same samples, as those of two subjects."""
    return [
        replace(a, verdicts=(*a.verdicts, *b.verdicts), problem=a.problem or b.problem)
        for a, b in zip(first, second, strict=True)
    ]


def drop(before: Sequence[Answer], after: Sequence[Answer]) -> float:
    """How much lower the top-1 accuracy is afterwards, as a fraction of all samples."""
    return tally(before).top1 - tally(after).top1
