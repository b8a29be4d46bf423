"""Reads picture files: a folder for each class, or one folder and a file with the classes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ellc.evaluate.layouts.options import DataOptions
from ellc.evaluate.samples import NO_LABEL, Sample
from ellc.ir.errors import EllcError
from ellc.ir.printable import lines_of

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm"})
_MOST_DIGITS = 9  # of a class index
_FILE_COLUMNS = ("file", "filename", "image", "path", "name")
_CLASS_COLUMNS = ("class", "label", "class_id", "class_index", "index", "target")


@dataclass(frozen=True)
class FileData:
    """Names of picture files, relative to `folder`, with the label of each."""

    folder: Path
    files: tuple[str, ...]
    labels: tuple[int, ...]
    classes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        name = self.files[index]
        return Sample(name, self.labels[index], self.folder / name)


def read(path: Path, options: DataOptions) -> FileData | None:
    """Read a folder of class folders, or a flat folder of pictures if `options.truth` is given.

    Returns `None` if the path is not a folder. Without `options.truth` it also returns `None` if
    the folder has no folders and no pictures. A flat folder without `options.truth` is read only if
    the data need no labels.
    """
    if not path.is_dir():
        return None
    if options.truth is not None:
        return _flat(path, options.truth, options.column)
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir())
    if not folders:
        pictures = _pictures(path)
        if pictures and not options.labelled:
            return FileData(path, tuple(pictures), (NO_LABEL,) * len(pictures))
        if pictures:
            raise EllcError(
                "the folder has pictures, but their classes are unknown",
                code="E770",
                where=str(path),
                hint="give --truth FILE: a table with the columns file and class, or a list that "
                "has one class per line, in the alphabetical order of the files",
            )
        return None
    pairs = [
        (f"{folder.name}/{file}", label)
        for label, folder in enumerate(folders)
        for file in _pictures(folder)
    ]
    names = tuple(folder.name for folder in folders)
    return FileData(path, tuple(f for f, _ in pairs), tuple(n for _, n in pairs), names)


def _pictures(folder: Path) -> list[str]:
    """The sorted names of the picture files in a folder.

    Only regular files count: reading a named pipe would block.
    """
    named = (entry for entry in folder.iterdir() if entry.suffix.lower() in _SUFFIXES)
    return sorted(entry.name for entry in named if entry.is_file())


def _flat(folder: Path, truth: Path, column: str) -> FileData:
    try:
        lines = lines_of(truth.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise EllcError("no such file", code="E713", where=str(truth)) from error
    except (OSError, ValueError) as error:
        raise EllcError(f"not readable: {error}", code="E771", where=str(truth)) from error
    if lines and "," in lines[0]:
        return _table(folder, truth, _rows(truth, lines), column)
    files = _pictures(folder)
    if len(lines) != len(files):
        raise EllcError(
            f"classes in the list: {len(lines)}, but pictures in the folder: {len(files)}",
            code="E771",
            where=str(truth),
        )
    return FileData(folder, tuple(files), _labels(truth, lines, 1))


def _rows(truth: Path, lines: Sequence[str]) -> list[list[str]]:
    rows = csv.reader(lines)
    try:
        return list(rows)
    except csv.Error as error:
        raise EllcError(
            f"line {rows.line_num} is not readable: {error}", code="E771", where=str(truth)
        ) from error


def _table(folder: Path, truth: Path, rows: list[list[str]], column: str) -> FileData:
    head, body = rows[0], [row for row in rows[1:] if row]
    file_at = _column(truth, head, _FILE_COLUMNS, "")
    class_at = _column(truth, head, _CLASS_COLUMNS, column)
    if short := [n for n, row in enumerate(body, 2) if len(row) <= max(file_at, class_at)]:
        raise EllcError(f"line {short[0]} has too few columns", code="E771", where=str(truth))
    files = tuple(row[file_at] for row in body)
    if missing := [name for name in files if not _is_file(folder / name)]:
        raise EllcError(
            f"pictures of the table that are not in the folder {folder}: {len(missing)}",
            code="E771",
            where=str(truth),
            problems=missing[:20],
        )
    return FileData(folder, files, _labels(truth, [row[class_at] for row in body], 2))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # the text is not a path that the system accepts
        return False


def _column(truth: Path, head: Sequence[str], usual: Sequence[str], wanted: str) -> int:
    for name in [wanted] if wanted else usual:
        if name in head:
            return head.index(name)
    raise EllcError(
        f"the table has no column named {wanted or ' or '.join(usual)}",
        code="E771",
        where=str(truth),
        hint=f"its columns are {', '.join(head)}: choose the classes with --truth-column",
    )


def _labels(truth: Path, texts: Sequence[str], first_line: int) -> tuple[int, ...]:
    wrong = [
        f"line {n}: {text!r}"
        for n, text in enumerate(texts, first_line)
        if not (text.strip().isascii() and text.strip().isdecimal())
        or len(text.strip()) > _MOST_DIGITS
    ]
    if wrong:
        raise EllcError(
            f"classes that are not integers from 0 to {10**_MOST_DIGITS - 1}: {len(wrong)}",
            code="E771",
            where=str(truth),
            problems=wrong[:20],
        )
    return tuple(int(text) for text in texts)
