"""A journal: a file with one answer per line, from which an interrupted evaluation continues.

The first line identifies the models, the data and the options. An incomplete last line is dropped
when the file is read. If the file has two answers for a sample, the later one counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ellc.evaluate.answers import Answer, Verdict
from ellc.ir.errors import EllcError
from ellc.ir.files import cannot_write

_FORMAT = 1
_INVALID_LINE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""The errors that reading a line may raise if something other than this module wrote it."""


@dataclass(frozen=True, slots=True)
class Journal:
    """An open journal. `known` maps the indices of samples to the answers of earlier runs."""

    file: TextIO
    known: Mapping[int, Answer]

    def add(self, answer: Answer) -> None:
        """Append one answer and flush it, so that it is not lost if this process is killed."""
        self.file.write(json.dumps(_document(answer), separators=(",", ":")) + "\n")
        self.file.flush()


@contextmanager
def open_journal(path: Path, identity: str, subjects: int) -> Iterator[Journal]:
    """Open a journal until the block ends; creates the file if it is missing.

    `identity` identifies the models, the data and the options. `subjects` is the number of verdicts
    in an answer. Raises `EllcError`: E775 if the file is not a journal or has another identity,
    E703 if it cannot be written.
    """
    head = json.dumps({"ellc_evaluate": _FORMAT, "identity": identity}) + "\n"
    content = _content(path)
    end = content.rfind(b"\n") + 1  # drops an incomplete last line
    known: dict[int, Answer] = {}
    if end:
        first, *rest = _lines(path, content[:end])
        _check_head(path, first, identity)
        known = {answer.index: answer for answer in map(_read(path, subjects), rest)}
    elif not head.encode().startswith(content):
        raise _no_journal(path, "its first line is not the head of a journal")
    with _opened(path, "r+" if end else "w") as file:
        if end:
            file.seek(end)
            file.truncate()
        else:
            file.write(head)
        yield Journal(file, known)


def _opened(path: Path, mode: str) -> TextIO:
    try:
        return path.open(mode, encoding="utf-8", newline="\n")  # type: ignore[return-value]
    except OSError as error:
        raise cannot_write(path, error) from error


def _content(path: Path) -> bytes:
    """The bytes of a file; empty if there is no file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except (OSError, ValueError) as error:
        raise _no_journal(path, str(error)) from error


def _lines(path: Path, content: bytes) -> list[str]:
    """Decode bytes that end in a newline into lines."""
    try:
        return content.decode().split("\n")[:-1]
    except ValueError as error:
        raise _no_journal(path, str(error)) from error


def _check_head(path: Path, line: str, identity: str) -> None:
    try:
        head = json.loads(line)
        version, written = head["ellc_evaluate"], head["identity"]
    except _INVALID_LINE as error:
        raise _no_journal(path, "its first line is not the head of a journal") from error
    if (version, written) != (_FORMAT, identity):
        raise EllcError(
            "this journal belongs to another model, other data or other options",
            code="E775",
            where=str(path),
            hint="name another file, or delete this file to start again",
        )


def _no_journal(path: Path, why: str) -> EllcError:
    return EllcError(
        f"this file is not a journal of `ellc evaluate`: {why}",
        code="E775",
        where=str(path),
        hint="name a file that does not exist yet",
    )


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
        except _INVALID_LINE as error:
            raise _no_journal(path, f"one of its lines is not an answer: {error}") from error

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
