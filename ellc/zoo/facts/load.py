"""Reads the files of facts, and reports all problems in them at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from ellc.ir.errors import EllcError
from ellc.zoo.facts.pages import PAGES, page_facts
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
    """(facts by network, sources by name), including those of ELL's gallery."""
    with resources.as_file(resources.files("ellc.zoo.facts")) as folder:
        by_network, sources = load(folder)
        return {**page_facts(folder / PAGES), **by_network}, sources


def load(folder: Path) -> tuple[dict[str, Facts], dict[str, Source]]:
    """(facts by network, sources by name) from a folder of TOML files.

    Raises `EllcError` E743 with every problem in them.
    """
    problems: list[str] = []
    sources = _sources(folder / SOURCES, problems)
    by_network = {}
    for path in sorted(folder.glob("*.toml")):
        if path.name != SOURCES:
            table = _Table(_toml(path, problems), path.name, problems)
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


class _Table:
    """Reads the values of a TOML table one by one; invalid values are added to `problems`."""

    def __init__(self, table: Mapping[str, Any], where: str, problems: list[str]) -> None:
        self._left = dict(table)
        self._where = where
        self._problems = problems

    def text(self, key: str, *, among: tuple[str, ...] = (), needed: bool = True) -> str:
        """A text, one of `among` if given; empty if it is missing and not `needed`."""
        value = self._take(key, (str,), needed)
        if not isinstance(value, str):
            return ""
        if among and value not in among:
            self.problem(f"{key}: '{value}' is not one of {', '.join(among)}")
        elif not value.strip():
            self.problem(f"{key}: it is empty")
        return value

    def number(self, key: str, low: float, high: float, *, needed: bool = True) -> float | None:
        """A number from `low` to `high`, both included."""
        value = self._take(key, (int, float), needed)
        if value is None:
            return None
        if not low <= value <= high:
            self.problem(f"{key}: {value} is not between {low:g} and {high:g}")
        return float(value)

    def whole(self, key: str, high: int) -> int | None:
        """An integer from 1 to `high`; optional."""
        value = self._take(key, (int,), needed=False)
        if value is not None and not 1 <= value <= high:
            self.problem(f"{key}: {value} is not between 1 and {high}")
        return None if value is None else int(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; optional."""
        value = self._take(key, (list,), needed=False) or []
        if not all(isinstance(line, str) for line in value):
            self.problem(f"{key}: not all are texts")
        return tuple(map(str, value))

    def tables(self, key: str) -> list[_Table]:
        """The tables of an array; optional."""
        value = self._take(key, (list,), needed=False) or []
        where = f"{self._where}: {key}"
        rows = [row for row in value if isinstance(row, dict)]
        if len(rows) < len(value):
            self.problem(f"{key}: not all are tables: write [[{key}]]")
        return [_Table(row, f"{where} {i}", self._problems) for i, row in enumerate(rows, 1)]

    def end(self) -> None:
        """Report the keys that were not read, which are unknown."""
        for key in sorted(self._left):
            self.problem(f"{key}: unknown key")

    def problem(self, text: str) -> None:
        """Record a problem of this table."""
        self._problems.append(f"{self._where}: {text}")

    def _take(self, key: str, kinds: tuple[type, ...], needed: bool) -> Any:
        value = self._left.pop(key, None)
        if value is None:
            if needed:
                self.problem(f"{key}: it is missing")
            return None
        if not isinstance(value, kinds) or isinstance(value, bool):
            names = " or ".join(kind.__name__ for kind in kinds)
            self.problem(f"{key}: {value!r} is not of type {names}")
            return None
        return value


def _toml(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problems.append(f"{path.name}: {error}")
        return {}


def _sources(path: Path, problems: list[str]) -> dict[str, Source]:
    sources = {}
    for name, entry in _toml(path, problems).items():
        table = _Table(entry if isinstance(entry, dict) else {}, f"{path.name}: {name}", problems)
        sources[name] = Source(table.text("title"), table.text("url"))
        if not sources[name].url.startswith("https://"):
            table.problem("url: it does not begin with https://")
        table.end()
    return sources


def _facts(name: str, table: _Table, sources: Mapping[str, Source]) -> Facts:
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


def _weights(table: _Table) -> WeightsFile | None:
    rows = table.tables("weights")
    if len(rows) > 1:
        table.problem("weights: there is more than one")
    for row in rows:
        url, sha256 = row.text("url"), row.text("sha256")
        if not url.startswith("https://"):
            row.problem("url: it does not begin with https://")
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            row.problem("sha256: it is not 64 hexadecimal digits")
        size = row.whole("bytes", 1 << 40)
        if size is None:
            row.problem("bytes: it is missing")
        found = WeightsFile(url, sha256, size or 0, row.text("member", needed=False))
        row.end()
        return found
    return None


def _rows(
    table: _Table, key: str, make: Callable[[_Table, str], Row], sources: tuple[str, ...]
) -> tuple[Row, ...]:
    rows = []
    for row in table.tables(key):
        rows.append(make(row, row.text("source", among=sources)))
        row.end()
    return tuple(rows)


def _size(row: _Table, source: str) -> Size:
    of = row.text("of", among=SIZES)
    counts = row.text("counts", among=COUNTS, needed=of == "parameters")
    size = Size(of, row.text("published"), source, counts, row.text("difference", needed=False))
    if counts and of != "parameters":
        row.problem("counts: only parameters have it")
    try:
        _ = size.value
    except ValueError as error:
        row.problem(f"published: {error}")
    return size


def _accuracy(row: _Table, source: str) -> Accuracy:
    top1, top5 = row.number("top1", 0, 100), row.number("top5", 0, 100, needed=False)
    if top1 is not None and top5 is not None and top5 < top1:
        row.problem(f"top5: {top5:g} is less than top1, {top1:g}")
    return Accuracy(row.text("precision", among=PRECISIONS), top1 or 0.0, source, top5)


def _speed(row: _Table, source: str) -> Speed:
    return Speed(
        row.number("ms", 1e-6, 1e6) or 0.0,
        row.text("board"),
        row.text("precision", among=PRECISIONS),
        row.text("engine"),
        source,
        row.whole("threads", 1024),
        row.whole("clock_mhz", 100_000),
    )
