"""Reads FER2013, a table with columns for the emotion, 48x48 grey pixels and the split."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ellc.evaluate.layouts.arrays import ArrayData
from ellc.evaluate.layouts.options import DataOptions
from ellc.ir.errors import EllcError
from ellc.ir.types import Array

_SIDE = 48
_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
_PARTS = {"test": ("PrivateTest",), "train": ("Training",)}
_COLUMNS = ("emotion", "pixels", "Usage")


def read(path: Path, options: DataOptions) -> ArrayData | None:
    """Read a `.csv` file whose header is `_COLUMNS`; returns `None` for any other file.

    The split `test` is the part `PrivateTest`, which decided the contest.
    """
    if path.suffix.lower() != ".csv" or not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        try:
            if tuple(next(rows, ())) != _COLUMNS:
                return None
            wanted = (row for row in rows if len(row) == 3 and row[2] in _PARTS[options.split])
            samples = [(np.int64(int(row[0])), _picture(row[1])) for row in wanted]
        except (ValueError, OverflowError, csv.Error) as error:
            raise EllcError(
                f"line {rows.line_num} is not readable: {error}", code="E771", where=str(path)
            ) from error
    labels = np.array([label for label, _ in samples], np.int64)
    pictures = np.array([picture for _, picture in samples], np.uint8)
    return ArrayData(str(path), pictures, labels, _CLASSES)


def _picture(text: str) -> Array:
    return np.array(text.split(), np.uint8).reshape(_SIDE, _SIDE, 1)
