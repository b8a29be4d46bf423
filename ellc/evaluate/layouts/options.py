"""The options of `ellc evaluate` that describe a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Options that the readers of layouts need.

    `truth` is a file with the classes of the pictures in a flat folder: a list, or a table that has
    them in `column`. `split` selects a part of the data set if it has parts: `test` or `train`.
    """

    truth: Path | None = None
    column: str = ""
    split: str = "test"
