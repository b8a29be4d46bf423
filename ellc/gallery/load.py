"""Reads result files, and reports all their problems at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ellc.gallery.rows import (
    ACCURACIES,
    COLOURS,
    FIGURES,
    FORMAT,
    PRECISIONS,
    PROVENANCES,
    Download,
    Figure,
    NetworkName,
    Result,
    Source,
    TrialFacts,
)
from ellc.ir.errors import EllcError
from ellc.ir.json_values import values_of
from ellc.pictures.pixels import PRESETS
from ellc.tables import Table

MOST_BYTES = 1 << 20
MOST_FILES = 20_000
_MOST_PROBLEMS = 40
_LEAST_SHARE = 0.1  # the least share of the picture that a drawing may fill
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_URL = re.compile(r"https?://[^\s\"'<>\\]+")


def read_results(paths: Sequence[Path], others: Iterable[Result] = ()) -> tuple[Result, ...]:
    """Read result files; a folder stands for the `.json` files in it, but not in its subfolders.

    Raises `EllcError` E780 with every problem of every file. If every file is valid by itself, the
    error lists results that contradict one another or `others`.
    """
    problems: list[str] = []
    files = _files(paths, problems)
    results = [result for file in files if (result := _result(file, problems))]
    if not problems:
        problems += _contradictions([*others, *results])
    refuse(problems)
    return tuple(results)


def refuse(problems: Sequence[str]) -> None:
    """Raise `EllcError` E780 if there are problems."""
    if not problems:
        return
    shown = list(problems[:_MOST_PROBLEMS])
    if more := len(problems) - len(shown):
        shown.append(f"and {more:,} more")
    raise EllcError(
        "results cannot be used",
        code="E780",
        hint="the page 'A gallery of models' of the documentation describes the files",
        problems=shown,
    )


def _files(paths: Sequence[Path], problems: list[str]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [p for p in path.glob("*.json") if p.is_file()]
            if not inside:
                problems.append(f"{path}: no .json file is in this folder")
            found += sorted(inside)
        else:
            found.append(path)
    unique = list(dict.fromkeys(found))
    if len(unique) > MOST_FILES:
        problems.append(f"there are {len(unique):,} files; the limit is {MOST_FILES:,}")
        return []
    return unique


def _result(path: Path, problems: list[str]) -> Result | None:
    """Read the result in a file; add the file's problems to `problems`, and return None if any."""
    before = len(problems)
    document = _document(path, problems)
    if document is None:
        return None
    table = Table(document, str(path), problems)
    table.text("format", among=(FORMAT,))
    if len(problems) > before:
        return None  # the file has another format
    model = table.text("model")
    if model and not _MODEL.fullmatch(model):
        table.problem(
            "model: a name has at most 100 letters, digits and . _ + -, and begins with a letter "
            "or a digit"
        )
    trial = _trial(table.table("try"), path.parent)
    if trial and "network" not in document:
        table.problem("try: there is no network")
    result = Result(
        model,
        table.text("precision", among=PRECISIONS),
        table.text("board"),
        table.text("engine"),
        table.wholes("input", 1 << 20, 4),
        table.text("colours", among=COLOURS),
        table.text("dataset"),
        _figures(table),
        table.whole("clock_mhz", 100_000),
        table.text("origin", needed=False),
        _network(table.table("network"), path.parent),
        trial,
        table.texts("prepare"),
        table.texts("commands"),
        tuple(_download(row, path.parent) for row in table.tables("downloads")),
        table.texts("notes"),
        table.text("machine", needed=False),
        path,
    )
    table.end()
    return result if len(problems) == before else None


def _document(path: Path, problems: list[str]) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError(f"the file has more than {MOST_BYTES:,} bytes")
        document = values_of(data, _object)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        nested = isinstance(error, RecursionError)
        text = "the JSON is nested too deeply" if nested else (reason or "")[:200]
        problems.append(f"{path}: {text}")
        return None
    if not isinstance(document, dict):
        problems.append(f"{path}: the file is not a JSON object")
        return None
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None) if _repeats(names) else ""
    if twice:
        raise ValueError(f"the key {twice[:40]!r} appears twice in an object")
    return dict(pairs)


def _repeats(names: list[str]) -> bool:
    return len(set(names)) < len(names)


def _figures(table: Table) -> tuple[Figure, ...]:
    rows = table.tables("figures")
    if not rows:
        table.problem("figures: the list is missing or empty")
    return tuple(map(_figure, rows))


def _figure(row: Table) -> Figure:
    of = row.text("of", among=tuple(FIGURES))
    low, high = FIGURES.get(of, (0.0, 1e18))
    provenance = row.text("provenance", among=PROVENANCES)
    published = provenance == "published"
    value = row.number("value", low, high, needed=published)
    command, source = row.text("command", needed=False), _source(row.table("source"))
    if published and source is None:
        row.problem("source: a published figure needs one")
    if provenance in ("measured", "modelled") and not command:
        row.problem(f"command: a {provenance} figure needs one")
    if published and command:
        row.problem("command: a published figure must not have one")
    if not published and source:
        row.problem("source: only a published figure may have one")
    threads = row.whole("threads", 1024)
    if threads and of != "ms":
        row.problem("threads: only a time (ms) may have them")
    sample = row.text("sample", needed=False)
    if sample and of not in ACCURACIES:
        row.problem("sample: only an accuracy (top1, top5) may have one")
    row.end()
    return Figure(of, value, provenance, command, source, threads, sample)


def _source(row: Table | None) -> Source | None:
    if row is None:
        return None
    source = Source(row.text("title"), row.text("url"))
    if source.url and not _URL.fullmatch(source.url):
        row.problem("url: the address must begin with https:// or http://")
    row.end()
    return source


def _network(row: Table | None, folder: Path) -> NetworkName | None:
    if row is None:
        return None
    name = row.text("zoo", needed=False)
    file = _file(row, folder, needed=not name)
    if name and file:
        row.problem("both file and zoo are given: keep one of them")
    row.end()
    return NetworkName(file, name)


def _trial(row: Table | None, folder: Path) -> TrialFacts | None:
    if row is None:
        return None
    labels = _file(row, folder, needed=False, key="labels")
    preprocess = row.text("preprocess", among=tuple(PRESETS), needed=False)
    drawing = row.number("drawing", _LEAST_SHARE, 1.0, needed=False)
    row.end()
    return TrialFacts(labels, preprocess, drawing)


def _download(row: Table, folder: Path) -> Download:
    title, file = row.text("title"), _file(row, folder, needed=True)
    row.end()
    return Download(title, file or folder)


def _file(row: Table, folder: Path, *, needed: bool, key: str = "file") -> Path | None:
    """The file that a row names; None if it is not given, missing, or outside the result's folder.

    Symbolic links are followed before the check.
    """
    text = row.text(key, needed=needed)
    if not text:
        return None
    named = PurePosixPath(text)
    if named.is_absolute() or ".." in named.parts or "\\" in text or "\0" in text:
        row.problem(f"{key}: the name must be relative to the result's folder, without ..")
        return None
    path = folder / named
    try:
        inside = path.resolve(strict=True).is_relative_to(folder.resolve())
        is_allowed = inside and path.is_file()
    except (OSError, RuntimeError):
        row.problem(f"{key}: there is no such file")
        return None
    if not is_allowed:
        row.problem(f"{key}: the name is not that of a file inside the result's folder")
    return path if is_allowed else None


def _contradictions(results: Sequence[Result]) -> Iterator[str]:
    """Problems between results: equal keys, other facts of a model, downloads with equal names."""
    by_key: dict[object, Result] = {}
    by_model: dict[str, Result] = {}
    files: dict[tuple[str, str], Path] = {}
    for result in results:
        if same := by_key.get(result.key):
            both = "has the same model, precision, board, clock and engine"
            yield f"{_where(result)}: {_where(same)} {both}"
        by_key.setdefault(result.key, result)
        first = by_model.setdefault(result.model.lower(), result)
        for download in result.downloads:
            path = download.file.resolve()
            if files.setdefault((result.model, download.file.name), path) != path:
                yield f"{_where(result)}: downloads: another file is called {download.file.name}"
        for what in ("model", "input", "colours", "dataset"):
            value, other = getattr(result, what), getattr(first, what)
            if value != other:
                yield f"{_where(result)}: {what}: {value} here, {other} in {_where(first)}"


def _where(result: Result) -> str:
    return str(result.path) if result.path else f"the published figures of {result.model}"
