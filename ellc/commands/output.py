"""How commands print: plain aligned tables for people, one JSON document for scripts.

Everything that reaches a terminal passes `echo`: names and metadata are text from the model
file, and a terminal obeys control characters in it. (ruff refuses `click.echo` elsewhere.)
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
    """Print text, on stderr with `err`, `nl` with a line end; what is not printable is escaped.

    Line ends stay: put `visible` around a name within a line. Very long lines lose their
    middle, but for those of documents that something reads: `whole`.
    """
    shown = visible(text.expandtabs(), keep="\n") if whole else readable(text)
    click.echo(shown, err=err, nl=nl)  # noqa: TID251


def echo_made(text: str) -> None:
    """Say which files have been made: they are the result, so standard output may be closed."""
    if not isinstance(sys.stdout, ClosedOutput):
        echo(text)


def echo_json(document: object) -> None:
    """Print a JSON document on stdout, keys in the order given; NaN and infinity become null."""
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
    """Show on stderr what the reader of a model remarked (metadata `note.N`)."""
    for key, note in metadata.items():
        if key.startswith("note."):
            echo_note(note)


def echo_note(note: str) -> None:
    """Show a remark on stderr."""
    echo(f"note: {visible(note)}", err=True)


def table(header: Sequence[str], rows: Sequence[Sequence[object]], right: str = "") -> str:
    """Lay rows out in columns two blanks apart.

    `right` has one character per column, `r` to align to the right; missing ones mean left.
    Widths are counted in characters, and trailing blanks are removed.
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
    """A name for a column: some formats join those of all that they have merged."""
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"


def bytes_text(count: int) -> str:
    """A byte count for people: `512 B`, `1.4 KiB`, `244.0 MiB`."""
    if count < 1024:
        return f"{count} B"
    for unit, size in (("KiB", 1024), ("MiB", 1024**2)):
        if count < 1024 * size or unit == "MiB":
            return f"{count / size:,.1f} {unit}"
    raise AssertionError("unreachable")
