"""The options of commands that describe a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Options that the readers of layouts need.

    `truth` is a file with the classes of the pictures in a flat folder: a list, or a table with the
    classes in `column`. `split` is `test` or `train`; data sets without these parts ignore it.
    If `labelled` is false, data without classes are accepted, too; their labels are -1.
    """

    truth: Path | None = None
    column: str = ""
    split: str = "test"
    labelled: bool = True
