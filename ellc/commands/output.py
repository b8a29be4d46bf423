"""The output of commands: aligned tables for people, one JSON document for scripts.

Everything that is printed goes through `echo`: names and metadata are text from the model file, and
a terminal would obey control characters in it. (ruff forbids `click.echo` elsewhere.)
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


def echo(text: str, *, err: bool = False, nl: bool = True, whole: bool = False) -> None:
    """Print text, on stderr if `err`, with a line end if `nl`; escape unprintable characters.

    Line ends are not escaped, so apply `visible` to a name within a line. Very long lines lose
    their middle, unless `whole` says that the text is a document that a program may read.
    """
    shown = visible(text.expandtabs(), keep="\n") if whole else readable(text)
    click.echo(shown, err=err, nl=nl)  # noqa: TID251


def echo_files(text: str) -> None:
    """Print the report of a command that wrote a file.

    The file is the result, so it is not an error if standard output is closed.
    """
    if not isinstance(sys.stdout, ClosedOutput):
        echo(text)


def echo_json(document: object) -> None:
    """Print a JSON document on stdout; keys keep their order, NaN and infinity become null."""
    echo(json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False), whole=True)


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
    """Show on stderr the notes of a model's importer (metadata `note.N`)."""
    for key, note in metadata.items():
        if key.startswith("note."):
            echo_note(note)


def echo_note(note: str) -> None:
    """Show a remark on stderr."""
    echo(f"note: {visible(note)}", err=True)


def table(header: Sequence[str], rows: Sequence[Sequence[object]], right: str = "") -> str:
    """Rows in aligned columns with two spaces between them.

    `right` has one character per column: `r` aligns the column to the right. All other columns are
    aligned to the left. Widths are counted in characters; trailing spaces are removed.
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
    """A name, cut to fit a column: converters join the names of all layers that they merge."""
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"


def bytes_text(count: int) -> str:
    """A byte count in readable units: `512 B`, `1.4 KiB`, `244.0 MiB`."""
    if count < 1024:
        return f"{count} B"
    for unit, size in (("KiB", 1024), ("MiB", 1024**2)):
        if count < 1024 * size or unit == "MiB":
            return f"{count / size:,.1f} {unit}"
    raise AssertionError("unreachable")
