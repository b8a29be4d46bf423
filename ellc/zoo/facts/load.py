"""Reads the files with published facts, and reports all their problems at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from ellc.ir.errors import EllcError
from ellc.tables import Table
from ellc.zoo.facts.pages import PAGES, page_tables
from ellc.zoo.facts.rows import (
    COLOURS,
    COUNTS,
    PRECISIONS,
    SIZES,
    Accuracy,
    Facts,
    Size,
    Source,
    Speed,
    WeightsFile,
)

SOURCES = "sources.toml"
Row = TypeVar("Row")


@cache
def facts() -> tuple[dict[str, Facts], dict[str, Source]]:
    """The facts of all networks by name, also of those in ELL's gallery, and sources by name."""
    with resources.as_file(resources.files("ellc.zoo.facts")) as folder:
        return load(folder)


def load(folder: Path) -> tuple[dict[str, Facts], dict[str, Source]]:
    """Read the facts of networks by name, and sources by name, from a folder of TOML files.

    The figures of ELL's gallery are in the same folder, in a file of JSON.

    Raises `EllcError` E743 with every problem in the files.
    """
    problems: list[str] = []
    sources = _sources(folder / SOURCES, problems)
    by_network = {}
    for name, entry in _pages(folder / PAGES, problems).items():
        by_network[name] = _facts(name, Table(entry, f"{PAGES}: {name}", problems), sources)
    for path in sorted(folder.glob("*.toml")):
        if path.name != SOURCES:
            table = Table(_toml(path, problems), path.name, problems)
            by_network[path.stem] = _facts(path.stem, table, sources)
    if problems:
        raise EllcError(
            "the facts of networks cannot be used",
            code="E743",
            where=folder.name,
            hint="`ellc/zoo/facts/__init__.py` describes the files",
            problems=problems,
        )
    return by_network, sources


def _pages(path: Path, problems: list[str]) -> dict[str, dict[str, Any]]:
    try:
        return page_tables(path)
    except (OSError, TypeError, ValueError) as error:
        problems.append(f"{path.name}: {error}")
        return {}


def _toml(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problems.append(f"{path.name}: {error}")
        return {}


def _sources(path: Path, problems: list[str]) -> dict[str, Source]:
    sources = {}
    for name, entry in _toml(path, problems).items():
        table = Table(entry if isinstance(entry, dict) else {}, f"{path.name}: {name}", problems)
        sources[name] = Source(table.text("title"), table.text("url"))
        if not sources[name].url.startswith("https://"):
            table.problem("url: it must begin with https://")
        table.end()
    return sources


def _facts(name: str, table: Table, sources: Mapping[str, Source]) -> Facts:
    known = tuple(sources)
    result = Facts(
        name,
        table.text("dataset"),
        table.text("colours", among=COLOURS),
        table.text("origin"),
        _rows(table, "size", _size, known),
        _rows(table, "accuracy", _accuracy, known),
        _rows(table, "speed", _speed, known),
        table.texts("notes"),
        _weights(table),
    )
    table.end()
    return result


def _weights(table: Table) -> WeightsFile | None:
    rows = table.tables("weights")
    if len(rows) > 1:
        table.problem("weights: there must be at most one")
    for row in rows:
        url, sha256 = row.text("url"), row.text("sha256")
        if not url.startswith("https://"):
            row.problem("url: it must begin with https://")
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            row.problem("sha256: it must be 64 hexadecimal digits")
        size = row.whole("bytes", 1 << 40)
        if size is None:
            row.problem("bytes: it is missing")
        found = WeightsFile(url, sha256, size or 0, row.text("member", needed=False))
        row.end()
        return found
    return None


def _rows(
    table: Table, key: str, make: Callable[[Table, str], Row], sources: tuple[str, ...]
) -> tuple[Row, ...]:
    rows = []
    for row in table.tables(key):
        rows.append(make(row, row.text("source", among=sources)))
        row.end()
    return tuple(rows)


def _size(row: Table, source: str) -> Size:
    of = row.text("of", among=SIZES)
    counts = row.text("counts", among=COUNTS, needed=of == "parameters")
    size = Size(of, row.text("published"), source, counts, row.text("difference", needed=False))
    if counts and of != "parameters":
        row.problem("counts: only a size of parameters may have it")
    try:
        _ = size.value
    except ValueError as error:
        row.problem(f"published: {error}")
    return size


def _accuracy(row: Table, source: str) -> Accuracy:
    top1, top5 = row.number("top1", 0, 100), row.number("top5", 0, 100, needed=False)
    if top1 is not None and top5 is not None and top5 < top1:
        row.problem(f"top5: {top5:g} is less than top1, {top1:g}")
    return Accuracy(row.text("precision", among=PRECISIONS), top1 or 0.0, source, top5)


def _speed(row: Table, source: str) -> Speed:
    return Speed(
        row.number("ms", 1e-6, 1e6) or 0.0,
        row.text("board"),
        row.text("precision", among=PRECISIONS),
        row.text("engine"),
        source,
        row.whole("threads", 1024),
        row.whole("clock_mhz", 100_000),
    )
