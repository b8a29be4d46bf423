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

_FORMAT = 1


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
def open_journal(path: Path, identity: str) -> Iterator[Journal]:
    """Open a journal for as long as the block lasts; creates the file if it is missing.

    `identity` identifies the models, the data and the options. Raises `EllcError` E775 if the file
    is not a journal, or has another identity.
    """
    lines = _whole_lines(path)
    known: dict[int, Answer] = {}
    if lines:
        _check_head(path, lines[0], identity)
        known = {answer.index: answer for answer in map(_read(path), lines[1:])}
    with path.open("r+" if lines else "w", encoding="utf-8") as file:
        if lines:
            file.seek(sum(len(line.encode()) + 1 for line in lines))
            file.truncate()
        else:
            file.write(json.dumps({"ellc_evaluate": _FORMAT, "identity": identity}) + "\n")
        yield Journal(file, known)


def _whole_lines(path: Path) -> list[str]:
    """The lines of a file that end in a newline, without it; none if there is no file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise _no_journal(path, str(error)) from error
    return text.split("\n")[:-1]


def _check_head(path: Path, line: str, identity: str) -> None:
    try:
        head = json.loads(line)
        version, written = head["ellc_evaluate"], head["identity"]
    except (ValueError, KeyError, TypeError) as error:
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


def _read(path: Path) -> Callable[[str], Answer]:
    """A parser of the lines of a journal; its errors name `path`."""

    def answer(line: str) -> Answer:
        try:
            document = json.loads(line)
            verdicts = tuple(
                Verdict(tuple((int(c), float(s)) for c, s in v["best"]), int(v["rank"]))
                for v in document["verdicts"]
            )
            return Answer(
                int(document["index"]), str(document["name"]), int(document["label"]),
                verdicts, str(document.get("problem", "")), str(document["machine"]),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise _no_journal(path, f"one of its lines is not an answer: {error}") from error

    return answer
