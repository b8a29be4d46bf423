"""Prints the output of commands: aligned tables for people, one JSON document for scripts.

Everything is printed with `echo`, which escapes control characters: names and metadata come from
the model file, and a terminal would obey control characters in them. ruff forbids `click.echo` in
all other modules.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence

import click

from ellc.ir.printable import readable, visible
from ellc.ir.printable import shortened as shortened_line
from ellc.streams import ClosedOutput

_LONGEST_NAME = 48
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
)


def echo(text: str, *, err: bool = False, nl: bool = True, uncut: bool = False) -> None:
    """Print a text with unprintable characters escaped.

    The text is printed on stderr if `err`, otherwise on stdout, and with a line end if `nl`. Line
    ends in the text are not escaped, so apply `visible` to a name within a line. The middle of very
    long lines is left out, unless `uncut` says that a program may read the text.
    """
    shown = visible(text.expandtabs(), keep="\n") if uncut else readable(text)
    click.echo(shown, err=err, nl=nl)  # noqa: TID251


def echo_files(text: str) -> None:
    """Print the report of a command that wrote a file.

    It is not an error if standard output is closed, because the file is the result.
    """
    if not isinstance(sys.stdout, ClosedOutput):
        echo(text)


def echo_json(document: object) -> None:
    """Print a JSON document on stdout; keys keep their order, NaN and infinity become null."""
    echo(json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False), uncut=True)


def _finite(document: object) -> object:
    match document:
        case float():
            return document if math.isfinite(document) else None
        case dict():
            return {key: _finite(value) for key, value in document.items()}
        case list() | tuple():
            return [_finite(item) for item in document]
        case _:
            return document


def echo_notes(metadata: Mapping[str, str]) -> None:
    """Print on stderr the notes that an importer left in the metadata, with the keys `note.N`."""
    for key, note in metadata.items():
        if key.startswith("note."):
            echo_note(note)


def echo_note(note: str) -> None:
    """Print a note on stderr."""
    echo(f"note: {visible(note)}", err=True)


def table(header: Sequence[str], rows: Sequence[Sequence[object]], right: str = "") -> str:
    """The rows as text in aligned columns, with two spaces between columns.

    `right` has a character for each column: `r` aligns the column to the right, any other character
    or none to the left. Widths are counted in characters; trailing spaces are removed.
    """
    cells = [[shortened_line(visible(str(cell))) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = []
    for row in cells:
        padded = [
            cell.rjust(width) if right[i : i + 1] == "r" else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def shortened(text: str) -> str:
    """Cut a name to fit a column; names of merged layers can be long."""
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"


def bytes_text(count: int) -> str:
    """A byte count in readable units: `512 B`, `1.4 KiB`, `244.0 MiB`."""
    if count < 1024:
        return f"{count} B"
    for unit, size in (("KiB", 1024), ("MiB", 1024**2)):
        if count < 1024 * size or unit == "MiB":
            return f"{count / size:,.1f} {unit}"
    raise AssertionError("unreachable")
