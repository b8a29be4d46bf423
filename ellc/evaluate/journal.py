"""A journal: a file with one answer per line, from which an interrupted evaluation continues.

The first line identifies the models, the data and the options (`ellc.journal`). If the file has two
answers for a sample, the later one counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ellc.evaluate.answers import Answer, Verdict
from ellc.journal import INVALID_LINE, Lines, no_journal, open_lines

_COMMAND = "evaluate"


@dataclass(frozen=True, slots=True)
class Journal:
    """An open journal. `known` maps the indices of samples to the answers of earlier runs."""

    lines: Lines
    known: Mapping[int, Answer]

    def add(self, answer: Answer) -> None:
        """Append one answer and flush it, so that it is not lost if this process is killed."""
        self.lines.add(_document(answer))


@contextmanager
def open_journal(path: Path, identity: str, subjects: int) -> Iterator[Journal]:
    """Open a journal until the block ends; creates the file if it is missing.

    `identity` identifies the models, the data and the options. `subjects` is the number of verdicts
    in an answer. Raises `EllcError`: E775 if the file is not a journal or has another identity,
    E703 if it cannot be written.
    """
    with open_lines(path, _COMMAND, identity) as lines:
        answers = map(_read(path, subjects), lines.known)
        yield Journal(lines, {answer.index: answer for answer in answers})


def _document(answer: Answer) -> dict[str, Any]:
    return {
        "index": answer.index,
        "name": answer.name,
        "label": answer.label,
        "verdicts": [{"best": v.best, "rank": v.rank} for v in answer.verdicts],
        **({"problem": answer.problem} if answer.problem else {}),
        "machine": answer.machine,
    }


def _read(path: Path, subjects: int) -> Callable[[str], Answer]:
    """The function that parses a line of the journal `path`; an answer has `subjects` verdicts."""

    def answer_in(line: str) -> Answer:
        try:
            document = json.loads(line)
            verdicts = tuple(
                Verdict(tuple((int(c), float(s)) for c, s in v["best"]), int(v["rank"]))
                for v in document["verdicts"]
            )
            answer = Answer(
                int(document["index"]), str(document["name"]), int(document["label"]),
                verdicts, str(document.get("problem", "")), str(document["machine"]),
            )  # fmt: skip
            _check_answer(answer, subjects)
            return answer
        except INVALID_LINE as error:
            raise no_journal(
                path, _COMMAND, f"one of its lines is not an answer: {error}"
            ) from error

    return answer_in


def _check_answer(answer: Answer, subjects: int) -> None:
    """Raise `ValueError` for an answer that no evaluation with this number of subjects can give."""
    ranks = [verdict.rank for verdict in answer.verdicts]
    if len(ranks) != (0 if answer.problem else subjects):
        raise ValueError(f"the number of verdicts is {len(ranks)}")
    if not all(verdict.best for verdict in answer.verdicts):
        raise ValueError("a verdict has no class")
    classes = [number for verdict in answer.verdicts for number, _ in verdict.best]
    if min([answer.index, answer.label + bool(answer.problem), *ranks, *classes]) < 0:
        raise ValueError("a number is negative")
