"""A journal: a file with one answer per line, from which an interrupted evaluation continues.

The first line identifies the models, the data and the options. The reader drops an incomplete last
line, and counts a sample once even if the file has two answers for it.
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
_NOT_WRITTEN_SO = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""What a line raises that this module did not write."""


@dataclass(frozen=True, slots=True)
class Journal:
    """An open journal. `known` has the answers of earlier runs by index of the sample."""

    file: TextIO
    known: Mapping[int, Answer]

    def add(self, answer: Answer) -> None:
        """Append one answer; it survives if this process is killed afterwards."""
        self.file.write(json.dumps(_document(answer), separators=(",", ":")) + "\n")
        self.file.flush()


@contextmanager
def open_journal(path: Path, identity: str, subjects: int) -> Iterator[Journal]:
    """Open a journal for as long as the block lasts; creates the file if it is missing.

    `identity` identifies the models, the data and the options; an answer has the verdicts of so
    many `subjects`. Raises `EllcError`: E775 if the file is not a journal, or has another identity;
    E703 if it cannot be written.
    """
    head = json.dumps({"ellc_evaluate": _FORMAT, "identity": identity}) + "\n"
    content = _content(path)
    end = content.rfind(b"\n") + 1  # an answer that was written in part is written again
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
    """The bytes of a file; none if there is no file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except (OSError, ValueError) as error:
        raise _no_journal(path, str(error)) from error


def _lines(path: Path, content: bytes) -> list[str]:
    """The lines of some bytes that end in a newline."""
    try:
        return content.decode().split("\n")[:-1]
    except ValueError as error:
        raise _no_journal(path, str(error)) from error


def _check_head(path: Path, line: str, identity: str) -> None:
    try:
        head = json.loads(line)
        version, written = head["ellc_evaluate"], head["identity"]
    except _NOT_WRITTEN_SO as error:
        raise _no_journal(path, "its first line is not the head of a journal") from error
    if (version, written) != (_FORMAT, identity):
        raise EllcError(
            "this journal belongs to another model, other data or other options",
            code="E775",
            where=str(path),
            hint="name another file, or delete this one to start again",
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
    """A parser of the lines of a journal with so many subjects; its errors name `path`."""

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
        except _NOT_WRITTEN_SO as error:
            raise _no_journal(path, f"one of its lines is not an answer: {error}") from error

    return answer_in


def _check_answer(answer: Answer, subjects: int) -> None:
    """Raise `ValueError` for an answer that no evaluation gives."""
    ranks = [verdict.rank for verdict in answer.verdicts]
    if len(ranks) != (0 if answer.problem else subjects):
        raise ValueError(f"it has {len(ranks)} verdicts")
    if not all(verdict.best for verdict in answer.verdicts):
        raise ValueError("a verdict has no class")
    classes = [number for verdict in answer.verdicts for number, _ in verdict.best]
    if min([answer.index, answer.label + bool(answer.problem), *ranks, *classes]) < 0:
        raise ValueError("a number is negative")
