"""What a user says about a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DataOptions:
    """`truth` has the classes of a flat folder's pictures, in `column` if it is a table.

    `split` is the part of the data that is wanted, where they have parts: `test` or `train`.
    """

    truth: Path | None = None
    column: str = ""
    split: str = "test"
