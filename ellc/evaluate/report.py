"""Shows an evaluation as text and as a JSON document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ellc.commands.output import table
from ellc.evaluate.answers import Answer
from ellc.evaluate.tally import SameAnswers, Tally, agreement, confusion, tally, worst_mistakes
from ellc.ir.printable import visible

SHOWN = 10
"""The text lists at most this many classes, mistakes and differences. The JSON document lists at
most this many mistakes."""


@dataclass(frozen=True)
class Evaluation:
    """All answers of an evaluation, in order of the samples.

    `labels` are the names of the networks' classes. If there are fewer names than classes, the
    other classes are shown by their index.
    """

    data: str
    subjects: tuple[str, ...]
    answers: Sequence[Answer]
    labels: Sequence[str] = ()

    def label(self, number: int) -> str:
        """The name of a class, or its index if it has no name."""
        return self.labels[number] if number < len(self.labels) else str(number)

    @property
    def problems(self) -> tuple[str, ...]:
        """One line for each sample that could not be answered: its name and the problem."""
        return tuple(f"{a.name}: {a.problem}" for a in self.answers if a.problem)


def text(evaluation: Evaluation) -> str:
    """The report for people."""
    return "\n".join(_lines(evaluation))


def _lines(evaluation: Evaluation) -> Iterator[str]:
    counts = [tally(evaluation.answers, n) for n, _ in enumerate(evaluation.subjects)]
    rows = [
        (visible(name), c.samples, f"{c.first} ({c.top1:.2%})", f"{c.among} ({c.top5:.2%})")
        for name, c in zip(evaluation.subjects, counts, strict=True)
    ]
    yield f"data: {visible(evaluation.data)}"
    yield table(("network", "samples", "top-1", "top-5"), rows, " rrr")
    yield ""
    yield from _classes(evaluation, counts[0])
    yield from _mistakes(evaluation)
    if len(counts) > 1:
        yield from _differences(evaluation, agreement(evaluation.answers))
    yield from _machines(evaluation.answers)


def _classes(evaluation: Evaluation, counts: Tally) -> Iterator[str]:
    worst = sorted(counts.classes, key=lambda c: (c.first / c.samples, c.label))
    rows = [
        (visible(evaluation.label(c.label)), c.samples, f"{c.first / c.samples:.1%}")
        for c in worst[:SHOWN]
    ]
    yield table((f"class (lowest of {len(worst)})", "samples", "right"), rows, " rr")
    yield ""


def _mistakes(evaluation: Evaluation) -> Iterator[str]:
    rows = [
        (
            visible(m.answer.name),
            visible(evaluation.label(m.answer.label)),
            visible(evaluation.label(m.chosen)),
            f"{m.score:.4g}",
        )
        for m in worst_mistakes(evaluation.answers, SHOWN)
    ]
    if rows:
        yield table(("worst mistakes", "right class", "classified as", "score"), rows, "   r")


def _differences(evaluation: Evaluation, both: SameAnswers) -> Iterator[str]:
    total = both.same + len(both.different)
    yield ""
    yield f"same class ranked first: {both.same} of {total} ({both.same / max(1, total):.2%})"
    rows = [
        tuple(map(visible, (a.name, *map(evaluation.label, (a.label, *a.chosen)))))
        for a in both.different[:SHOWN]
    ]
    if rows:
        yield table(("networks differ for", "right class", "first", "second"), rows)


def _machines(answers: Sequence[Answer]) -> Iterator[str]:
    machines = Counter(a.machine for a in answers if a.machine)
    if len(machines) > 1:
        yield ""
        rows = sorted(machines.items())
        yield table(("machine", "samples"), [(visible(m), n) for m, n in rows], " r")


def document(evaluation: Evaluation) -> dict[str, Any]:
    """The report for programs."""
    labels, counts = confusion(evaluation.answers)
    result: dict[str, Any] = {
        "data": evaluation.data,
        "networks": [
            _network(name, tally(evaluation.answers, n))
            for n, name in enumerate(evaluation.subjects)
        ],
        "classes": [{"class": n, "name": evaluation.label(n)} for n in labels],
        "confusion": [
            {
                "class": labels[right],
                "chosen": labels[chosen],
                "samples": int(counts[right, chosen]),
            }
            for right, chosen in np.argwhere(counts > 0).tolist()
        ],
        "worst_mistakes": [
            {
                "sample": m.answer.name,
                "class": m.answer.label,
                "chosen": m.chosen,
                "score": m.score,
            }
            for m in worst_mistakes(evaluation.answers, SHOWN)
        ],
        "machines": dict(sorted(Counter(a.machine for a in evaluation.answers).items())),
        "problems": list(evaluation.problems),
    }
    if len(evaluation.subjects) > 1:
        both = agreement(evaluation.answers)
        result["agreement"] = {"same": both.same, "different": [a.name for a in both.different]}
    return result


def _network(name: str, counts: Tally) -> dict[str, Any]:
    return {
        "name": name,
        "samples": counts.samples,
        "top1": counts.first,
        "top5": counts.among,
        "top1_percent": round(100 * counts.top1, 4),
        "top5_percent": round(100 * counts.top5, 4),
        "classes": [
            {"class": c.label, "samples": c.samples, "right": c.first} for c in counts.classes
        ],
    }
