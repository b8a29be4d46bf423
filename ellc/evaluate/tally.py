"""Counts over all answers: accuracy, per class, confusion, worst mistakes, agreement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ellc.evaluate.answers import KEPT, Answer
from ellc.ir.types import Array


@dataclass(frozen=True, slots=True)
class ClassTally:
    """The samples of one class."""

    label: int
    samples: int
    first: int


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of one subject: samples with the right class first, and among the first five."""

    samples: int
    first: int
    among: int
    classes: tuple[ClassTally, ...]

    @property
    def top1(self) -> float:
        """The share whose right class came first: categorical accuracy."""
        return self.first / self.samples if self.samples else 0.0

    @property
    def top5(self) -> float:
        """The share whose right class was among the first five."""
        return self.among / self.samples if self.samples else 0.0


@dataclass(frozen=True, slots=True)
class Mistake:
    """A sample whose right class did not come first, with the score by which another one did."""

    answer: Answer
    chosen: int
    score: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """Samples for which two subjects put the same class first, and those for which they do not."""

    same: int
    different: tuple[Answer, ...]


def tally(answers: Sequence[Answer], subject: int = 0) -> Tally:
    """Counts of one subject over answers without a problem."""
    ranks = [(a.label, a.verdicts[subject].rank) for a in answers if not a.problem]
    samples = Counter(label for label, _ in ranks)
    right = Counter(label for label, rank in ranks if rank == 0)
    classes = tuple(ClassTally(label, samples[label], right[label]) for label in sorted(samples))
    return Tally(len(ranks), right.total(), sum(rank < KEPT for _, rank in ranks), classes)


def confusion(answers: Sequence[Answer], subject: int = 0) -> tuple[tuple[int, ...], Array]:
    """The classes that occur, and how often [right, chosen] each was chosen."""
    pairs = [(a.label, a.chosen[subject]) for a in answers if not a.problem]
    labels = sorted({label for pair in pairs for label in pair})
    at = {label: index for index, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), np.int64)
    for right, chosen in pairs:
        counts[at[right], at[chosen]] += 1
    return tuple(labels), counts


def worst_mistakes(answers: Sequence[Answer], count: int, subject: int = 0) -> list[Mistake]:
    """The mistakes with the highest scores; those of equal scores in order of the samples."""
    wrong = [a for a in answers if not a.problem and a.verdicts[subject].rank > 0]
    found = [Mistake(a, *a.verdicts[subject].best[0]) for a in wrong]
    return sorted(found, key=lambda m: (-m.score, m.answer.index))[:count]


def agreement(answers: Sequence[Answer]) -> Agreement:
    """The first two subjects compared."""
    both = [a for a in answers if not a.problem]
    different = tuple(a for a in both if len(set(a.chosen)) > 1)
    return Agreement(len(both) - len(different), different)
