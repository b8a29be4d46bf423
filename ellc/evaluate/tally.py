"""Counts answers: accuracy, accuracy of each class, confusion, worst mistakes, agreement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ellc.evaluate.answers import KEPT, Answer
from ellc.ir.types import Array


@dataclass(frozen=True, slots=True)
class ClassTally:
    """How many samples have a class, and how many of these were classified correctly."""

    label: int
    samples: int
    first: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How often one subject ranked the right class first or among the first five."""

    samples: int
    first: int
    """Samples whose right class was ranked first."""
    among: int
    """Samples whose right class was among the first five."""
    classes: tuple[ClassTally, ...]

    @property
    def top1(self) -> float:
        """The fraction of samples whose right class was ranked first: the categorical accuracy."""
        return self.first / self.samples if self.samples else 0.0

    @property
    def top5(self) -> float:
        """The fraction of samples whose right class was among the first five."""
        return self.among / self.samples if self.samples else 0.0


@dataclass(frozen=True, slots=True)
class Mistake:
    """An answer in which a wrong class has the best score, with this class and its score."""

    answer: Answer
    chosen: int
    score: float


@dataclass(frozen=True, slots=True)
class SameAnswers:
    """The number of samples that two subjects classify equally, and the answers for the others."""

    same: int
    different: tuple[Answer, ...]


def tally(answers: Sequence[Answer], subject: int = 0) -> Tally:
    """Count the answers of one subject; samples with a problem are left out."""
    ranks = [(a.label, a.verdicts[subject].rank) for a in answers if not a.problem]
    samples = Counter(label for label, _ in ranks)
    correct = Counter(label for label, rank in ranks if rank == 0)
    classes = tuple(ClassTally(label, samples[label], correct[label]) for label in sorted(samples))
    return Tally(len(ranks), correct.total(), sum(rank < KEPT for _, rank in ranks), classes)


def confusion(answers: Sequence[Answer], subject: int = 0) -> tuple[tuple[int, ...], Array]:
    """The confusion matrix: the sorted classes that occur, and counts [right, chosen]."""
    pairs = [(a.label, a.chosen[subject]) for a in answers if not a.problem]
    labels = sorted({label for pair in pairs for label in pair})
    at = {label: index for index, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), np.int64)
    for right, chosen in pairs:
        counts[at[right], at[chosen]] += 1
    return tuple(labels), counts


def worst_mistakes(answers: Sequence[Answer], count: int, subject: int = 0) -> list[Mistake]:
    """The `count` mistakes with the highest scores, sorted by score and then by sample."""
    wrong = [a for a in answers if not a.problem and a.verdicts[subject].rank > 0]
    mistakes = [Mistake(a, *a.verdicts[subject].best[0]) for a in wrong]
    return sorted(mistakes, key=lambda m: (-m.score, m.answer.index))[:count]


def agreement(answers: Sequence[Answer]) -> SameAnswers:
    """Compare the answers of two subjects; samples with a problem are left out."""
    compared = [a for a in answers if not a.problem]
    different = tuple(a for a in compared if len(set(a.chosen)) > 1)
    return SameAnswers(len(compared) - len(different), different)
