"""Quantises a model file with a data set, and measures the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ellc.codegen.machine.target import Target
from ellc.evaluate.answers import Answer
from ellc.evaluate.report import Evaluation
from ellc.evaluate.samples import Data, Preparation, is_labelled
from ellc.evaluate.subject import Subject, preparation
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.types import Array
from ellc.ir.work_folders import temporary_folder
from ellc.models import ModelOptions, read_model
from ellc.pictures.pixels import PixelOptions
from ellc.progress import Progress
from ellc.quantise.accuracy import Judge, drop, side_by_side
from ellc.quantise.damage import LayerDamage, measured
from ellc.quantise.dropping import fewest, most_noise_first
from ellc.quantise.quantising import (
    Calibration,
    Method,
    Quantised,
    Samples,
    assembled,
    calibrated,
)
from ellc.quantise.report import Outcome
from ellc.quantise.speed import predicted
from ellc.quantise.writing import check_fits, write

_COMPARED = 32
"""The most samples on which all layers are compared."""


@dataclass(frozen=True)
class Request:
    """What to quantise, and how.

    The calibration uses `calibration` of the samples with the given `indices`, at equal distances.
    Accuracy is measured on all of `indices`, with `jobs` processes (by default one for each core).
    Layers that are slower with integers on `target` stay float, if it is given. Layers stay float
    until top-1 accuracy drops by at most `max_drop`, a fraction, if that is given.
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
    target: Target | None
    max_drop: float | None
    jobs: int | None


def run(request: Request, report: Progress) -> Outcome:
    """Quantise the model, write the result, and measure its accuracy.

    Raises `EllcError` as `calibrated` and `write`; E791 if accuracy must not drop, but cannot be
    measured.
    """
    report("reading the model", 0, 0)
    graph = read_model(request.model, replace(request.options, pixels=PixelOptions()))
    if (why := _why_not(request, graph)) and request.max_drop is not None:
        raise EllcError(
            f"the accuracy cannot be measured: {why}", code="E791", where=request.data_name
        )
    prepare = preparation(Subject((request.model,), "reference", request.options), request.crop)
    chosen = spread(request.indices, request.calibration)
    few = spread(chosen, _COMPARED)
    with temporary_folder("quantise") as folder:
        samples = Samples(lambda: _prepared(request.data, prepare, chosen), len(chosen))
        calibration = calibrated(graph, samples, folder / "calibration", report, request.method)
        speed = None
        if request.target is not None:
            report(f"predicting cycles for {request.target.name}", 0, 0)
            speed = predicted(calibration, request.target)
        quantised = assembled(calibration, speed.reasons if speed else {})
        check_fits(quantised, request.output)

        def damages_of(network: Quantised, name: str) -> tuple[LayerDamage, ...]:
            some = _prepared(request.data, prepare, few)
            return measured(network, some, len(few), folder / name, report)

        damages, answers = damages_of(quantised, "damage"), None
        if not why:
            judge = _judge(request, report)
            before = judge.of_model(request.model, request.options)
            after = judge.of_graph(quantised.graph)
            limit = request.max_drop
            if limit is not None and drop(before, after) > limit:
                accurate = _Accurate(calibration, quantised, damages, judge, before, limit)
                quantised, after = accurate.network(speed.reasons if speed else {})
                damages = damages_of(quantised, "mixed")
            answers = side_by_side(before, after)
    report(f"writing {request.output.name}", 0, 0)
    write(quantised, request.output)
    return Outcome(
        str(request.output),
        request.output.stat().st_size,
        request.model.stat().st_size,
        len(chosen),
        quantised,
        damages,
        _evaluation(request, answers) if answers else None,
        why,
        speed,
    )


@dataclass(frozen=True)
class _Accurate:
    """Finds how many layers must stay float so that accuracy drops by at most `limit`."""

    calibration: Calibration
    quantised: Quantised
    damages: Sequence[LayerDamage]
    judge: Judge
    before: Sequence[Answer]
    limit: float

    def network(self, reasons: Mapping[str, str]) -> tuple[Quantised, list[Answer]]:
        """The network with the fewest float layers besides those in `reasons`, and its answers."""
        order = most_noise_first(self.quantised.layers, self.damages)
        tried: dict[int, tuple[Quantised, list[Answer]]] = {}

        def with_float(count: int) -> tuple[Quantised, list[Answer]]:
            if count not in tried:
                why = f"accuracy drops by more than {self.limit:.2%} if it has 8 bits"
                left = {**reasons, **dict.fromkeys(order[:count], why)}
                network = assembled(self.calibration, left)
                tried[count] = network, self.judge.of_graph(network.graph)
            return tried[count]

        def is_enough(count: int) -> bool:
            return drop(self.before, with_float(count)[1]) <= self.limit

        return with_float(fewest(len(order), is_enough))


def _judge(request: Request, report: Progress) -> Judge:
    return Judge(
        request.data,
        request.indices,
        request.crop,
        request.first_class,
        request.jobs,
        request.options.pixels,
        report,
    )


def _evaluation(request: Request, answers: Sequence[Answer]) -> Evaluation:
    names = (f"{request.model.name} (float)", f"{request.output.name} (8 bits)")
    return Evaluation(request.data_name, names, answers)


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
