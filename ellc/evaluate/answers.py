"""What a network answered to one sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ellc.ir.types import Array
from ellc.pictures.images import top_scores

KEPT = 5
"""Classes that are kept of every answer."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The best classes of one subject, best first, and the rank of the right one, from 0.

    Equal scores rank by class; a score that is not a number ranks last.
    """

    best: tuple[tuple[int, float], ...]
    rank: int

    @staticmethod
    def of(scores: Array, label: int) -> Verdict:
        """Rank scores; `label` beyond them has the rank of the last class and one."""
        ranked = top_scores(scores, count=scores.size)
        order = [score.index for score in ranked]
        rank = order.index(label) if label < len(order) else len(order)
        return Verdict(tuple((s.index, s.value) for s in ranked[:KEPT]), rank)


@dataclass(frozen=True, slots=True)
class Answer:
    """All subjects' verdicts on a sample; or the problem for which there are none.

    `label` is that of the networks' classes. `machine` says which machine computed it.
    """

    index: int
    name: str
    label: int
    verdicts: tuple[Verdict, ...] = ()
    problem: str = ""
    machine: str = ""

    @property
    def chosen(self) -> tuple[int, ...]:
        """The class that each subject put first."""
        return tuple(verdict.best[0][0] for verdict in self.verdicts)


@dataclass(frozen=True, slots=True)
class Inputs:
    """A sample made ready: one input for each subject, or the problem that prevented it."""

    index: int
    name: str
    label: int
    values: tuple[Array, ...] = ()
    problem: str = ""


def answered(inputs: Inputs, calls: tuple[Callable[[Array], Array], ...], machine: str) -> Answer:
    """Ask all subjects."""
    verdicts = tuple(
        Verdict.of(np.asarray(call(values)), inputs.label)
        for call, values in zip(calls, inputs.values, strict=False)
    )
    return Answer(inputs.index, inputs.name, inputs.label, verdicts, inputs.problem, machine)
