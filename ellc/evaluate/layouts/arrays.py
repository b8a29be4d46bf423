"""Data that are one array of samples and one of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ellc.evaluate.samples import Sample
from ellc.ir.errors import EllcError
from ellc.ir.types import Array


@dataclass(frozen=True)
class ArrayData:
    """Samples `x[i]` with labels `y[i]`."""

    where: str
    x: Array
    y: Array
    classes: Sequence[str] = ()

    def __post_init__(self) -> None:
        good = self.y.ndim == 1 and len(self.x) == len(self.y) and self.y.dtype.kind in "iu"
        if not good or (len(self.y) and int(self.y.min()) < 0):
            raise EllcError(
                f"there are {len(self.x)} samples and labels {self.y.dtype} {self.y.shape}",
                code="E771",
                where=self.where,
                hint="labels are whole numbers from 0 on, one for each sample",
            )

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> Sample:
        return Sample(f"{index}", int(self.y[index]), self.x[index])


def with_channel(pictures: Array) -> Array:
    """Grey pictures [n,rows,columns] with their one channel."""
    return pictures[..., np.newaxis] if pictures.ndim == 3 else pictures
