"""Answers of networks: for each sample, the best classes and the rank of the right class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ellc.ir.types import Array
from ellc.pictures.images import top_scores

KEPT = 5
"""How many of the best classes an answer stores."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one subject (a network with an engine) ranks the classes of a sample.

    Classes with equal scores are ranked by their index; classes whose score is NaN come last.
    """

    best: tuple[tuple[int, float], ...]
    """The first `KEPT` classes with their scores, the best class first."""
    rank: int
    """The rank of the right class; the best class has rank 0."""

    @staticmethod
    def of(scores: Array, label: int) -> Verdict:
        """Rank the scores of all classes. A `label` that has no score ranks after all of them."""
        ranked = top_scores(scores, count=scores.size)
        order = [score.index for score in ranked]
        rank = order.index(label) if label < len(order) else len(order)
        return Verdict(tuple((s.index, s.value) for s in ranked[:KEPT]), rank)


@dataclass(frozen=True, slots=True)
class Answer:
    """The verdicts of all subjects on a sample, or the problem that made them impossible.

    `label` is the index of the right class in the numbering of the networks; it is -1 if there is a
    problem. `machine` is the name of the machine that computed the answer.
    """

    index: int
    name: str
    label: int
    verdicts: tuple[Verdict, ...] = ()
    problem: str = ""
    machine: str = ""

    @property
    def chosen(self) -> tuple[int, ...]:
        """The class that each subject ranks first."""
        return tuple(verdict.best[0][0] for verdict in self.verdicts)


@dataclass(frozen=True, slots=True)
class Inputs:
    """A prepared sample: one input for each subject, or the problem that prevented it."""

    index: int
    name: str
    label: int
    values: tuple[Array, ...] = ()
    problem: str = ""


def answered(inputs: Inputs, calls: tuple[Callable[[Array], Array], ...], machine: str) -> Answer:
    """Call every subject with its input; `machine` is the name of this machine."""
    verdicts = tuple(
        Verdict.of(np.asarray(call(values)), inputs.label)
        for call, values in zip(calls, inputs.values, strict=False)
    )
    return Answer(inputs.index, inputs.name, inputs.label, verdicts, inputs.problem, machine)
