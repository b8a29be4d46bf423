"""Quantises a model file with a data set, and measures the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ellc.evaluate.answers import Answer
from ellc.evaluate.judging import default_jobs, in_processes
from ellc.evaluate.report import Evaluation
from ellc.evaluate.running import opened_task
from ellc.evaluate.samples import Data, Preparation, is_labelled
from ellc.evaluate.subject import Subject, preparation
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.types import Array
from ellc.ir.work_folders import temporary_folder
from ellc.models import ModelOptions, read_model
from ellc.pictures.pixels import PixelOptions
from ellc.progress import Progress
from ellc.quantise.damage import measured
from ellc.quantise.quantising import Method, Quantised, Samples, quantise
from ellc.quantise.report import Outcome
from ellc.quantise.writing import write

_COMPARED = 32
"""The most samples on which all layers are compared."""


@dataclass(frozen=True)
class Request:
    """What to quantise, and how.

    The calibration uses `calibration` of the samples with the given `indices`, at equal distances.
    Accuracy is measured on all of `indices`, with `jobs` processes (by default one for each core).
    """

    model: Path
    output: Path
    options: ModelOptions
    data: Data
    data_name: str
    indices: range
    crop: float
    first_class: int
    calibration: int
    method: Method
    jobs: int | None


def run(request: Request, report: Progress) -> Outcome:
    """Quantise the model, write the result, and measure its accuracy."""
    plain = replace(request.options, pixels=PixelOptions())
    report("reading the model", 0, 0)
    graph = read_model(request.model, plain)
    subject = Subject((request.model,), "reference", request.options)
    prepare = preparation(subject, request.crop)
    chosen = spread(request.indices, request.calibration)
    with temporary_folder("quantise") as folder:
        samples = Samples(lambda: _prepared(request.data, prepare, chosen), len(chosen))
        quantised = quantise(graph, samples, folder / "calibration", report, request.method)
        few = spread(chosen, _COMPARED)
        some = _prepared(request.data, prepare, few)
        damages = measured(quantised, some, len(few), folder / "damage", report)
        report(f"writing {request.output.name}", 0, 0)
        write(quantised, request.output)
        why, evaluation = _why_not(request, graph), None
        if not why:
            evaluation = _evaluated(request, quantised, folder, report)
    return Outcome(
        str(request.output),
        request.output.stat().st_size,
        request.model.stat().st_size,
        len(chosen),
        quantised,
        damages,
        evaluation,
        why,
    )


def spread(indices: Sequence[int], count: int) -> list[int]:
    """At most `count` of the indices, at equal distances; data are often sorted by class."""
    if len(indices) <= count:
        return list(indices)
    return [indices[int(at)] for at in np.linspace(0, len(indices) - 1, count)]


def _prepared(data: Data, prepare: Preparation, indices: Sequence[int]) -> Iterator[Array]:
    for index in indices:
        yield prepare(data[index])


def _why_not(request: Request, graph: Graph) -> str:
    """Why accuracy cannot be measured; empty if it can."""
    if not is_labelled(request.data):
        return "the data have no classes (--truth names a file with classes)"
    if len(graph.outputs) != 1:
        return f"the network has {len(graph.outputs)} outputs (--outputs chooses one)"
    return ""


def _evaluated(
    request: Request, quantised: Quantised, folder: Path, report: Progress
) -> Evaluation:
    """The answers of the float network and of the quantised one, both compiled for this machine."""
    graph_file = folder / f"{request.output.stem}.eir"
    save(quantised.graph, graph_file)
    pixels = ModelOptions(pixels=request.options.pixels)
    subjects = (
        Subject((request.model,), "compiled", request.options),
        Subject((graph_file,), "compiled", pixels),
    )
    wanted = (subjects, request.data, request.crop, request.first_class, report)
    answers: list[Answer] = []
    with opened_task(*wanted) as task:
        jobs = min(request.jobs or default_jobs(), len(request.indices))
        for answer in in_processes(task, request.indices, jobs):
            answers.append(answer)
            report("measuring accuracy", len(answers), len(request.indices))
    answers.sort(key=lambda answer: answer.index)
    names = (f"{request.model.name} (float)", f"{request.output.name} (8 bits)")
    evaluation = Evaluation(request.data_name, names, answers)
    if evaluation.problems and len(evaluation.problems) == len(answers):
        raise EllcError("no sample can be read", code="E771", problems=evaluation.problems[:20])
    return evaluation
