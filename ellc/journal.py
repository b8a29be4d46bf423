"""Journals: files with one JSON document per line, from which interrupted work continues.

The first line identifies the command and what it works on. An incomplete last line is dropped when
the file is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ellc.ir.errors import EllcError
from ellc.ir.files import cannot_write

_FORMAT = 1
INVALID_LINE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""The errors that reading a line may raise if something other than ellc wrote it."""


@dataclass(frozen=True, slots=True)
class Lines:
    """An open journal. `known` are the lines of earlier runs, without the first line."""

    file: TextIO
    known: tuple[str, ...]

    def add(self, document: dict[str, Any]) -> None:
        """Append a document and flush it, so that it is not lost if this process is killed."""
        self.file.write(json.dumps(document, separators=(",", ":")) + "\n")
        self.file.flush()


@contextmanager
def open_lines(path: Path, command: str, identity: str) -> Iterator[Lines]:
    """Open a journal of `ellc COMMAND` until the block ends; creates the file if it is missing.

    `identity` identifies all that the answers depend on. Raises `EllcError`: E775 if the file is
    not such a journal or has another identity, E703 if it cannot be written.
    """
    head = json.dumps({f"ellc_{command}": _FORMAT, "identity": identity}) + "\n"
    content = _content(path, command)
    end = content.rfind(b"\n") + 1  # drops an incomplete last line
    known: list[str] = []
    if end:
        first, *known = _decoded(path, command, content[:end])
        _check_head(path, command, first, identity)
    elif not head.encode().startswith(content):
        raise no_journal(path, command, "its first line is not the head of a journal")
    with _opened(path, "r+" if end else "w") as file:
        if end:
            file.seek(end)
            file.truncate()
        else:
            file.write(head)
        yield Lines(file, tuple(known))


def drop_journal(path: Path, command: str, unless: str = "") -> None:
    """Delete a journal of `ellc COMMAND`, unless it has the identity `unless`.

    Any other file stays. Raises `EllcError`: E775 if the file cannot be read, E703 if it cannot be
    deleted.
    """
    try:
        head = json.loads(_content(path, command).partition(b"\n")[0])
        if head[f"ellc_{command}"] != _FORMAT or head["identity"] == unless:
            return
    except INVALID_LINE:
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def no_journal(path: Path, command: str, why: str) -> EllcError:
    """The error for a file that is not a journal of `ellc COMMAND`."""
    return EllcError(
        f"this file is not a journal of `ellc {command}`: {why}",
        code="E775",
        where=str(path),
        hint="name a file that does not exist yet",
    )


def _opened(path: Path, mode: str) -> TextIO:
    try:
        return path.open(mode, encoding="utf-8", newline="\n")  # type: ignore[return-value]
    except OSError as error:
        raise cannot_write(path, error) from error


def _content(path: Path, command: str) -> bytes:
    """The bytes of a file; empty if there is no file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except (OSError, ValueError) as error:
        raise no_journal(path, command, str(error)) from error


def _decoded(path: Path, command: str, content: bytes) -> list[str]:
    """Decode bytes that end in a newline into lines."""
    try:
        return content.decode().split("\n")[:-1]
    except ValueError as error:
        raise no_journal(path, command, str(error)) from error


def _check_head(path: Path, command: str, line: str, identity: str) -> None:
    try:
        head = json.loads(line)
        version, written = head[f"ellc_{command}"], head["identity"]
    except INVALID_LINE as error:
        why = "its first line is not the head of a journal"
        raise no_journal(path, command, why) from error
    if (version, written) != (_FORMAT, identity):
        raise EllcError(
            "this journal belongs to another model, other data or other options",
            code="E775",
            where=str(path),
            hint="name another file, or delete this file to start again",
        )
