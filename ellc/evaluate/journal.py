"""Answers on disk, one a line, so that work which was interrupted goes on where it stopped.

The first line says what the answers are of. A line that was not written whole is dropped, and an
answer that is there twice counts once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ellc.evaluate.answers import Answer, Verdict
from ellc.ir.errors import EllcError

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Journal:
    """An open file of answers, and those that it held already, by index of the sample."""

    file: TextIO
    known: Mapping[int, Answer]

    def add(self, answer: Answer) -> None:
        """Write one answer; it stays even if this process is killed."""
        self.file.write(json.dumps(_document(answer), separators=(",", ":")) + "\n")
        self.file.flush()


@contextmanager
def open_journal(path: Path, identity: str) -> Iterator[Journal]:
    """Go on with the answers of a file, or begin one.

    Raises `EllcError` E775 for a file that is no journal, or of another model or other data.
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
        raise _no_journal(path, "its first line is not one of a journal") from error
    if (version, written) != (_FORMAT, identity):
        raise EllcError(
            "this journal has answers of another model, other data or other options",
            code="E775",
            where=str(path),
            hint="give another file, or remove it to begin again",
        )


def _no_journal(path: Path, why: str) -> EllcError:
    return EllcError(
        f"this is no journal of answers: {why}",
        code="E775",
        where=str(path),
        hint="give a file that is not there yet",
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


def _read(path: Path) -> Any:
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
            raise _no_journal(path, f"a line cannot be read: {error}") from error

    return answer
