"""Data sets that consist of an array of samples and an array of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ellc.evaluate.samples import Sample
from ellc.ir.errors import EllcError
from ellc.ir.types import Array


@dataclass(frozen=True)
class ArrayData:
    """Samples `x[i]` of any shape and dtype, with labels `y[i]` that are integers from 0.

    If not `labelled`, all labels are `NO_LABEL`.

    `where` is the name of the data set in error messages. Raises `EllcError` E771 if the two arrays
    do not fit together, or if the samples have no values.
    """

    where: str
    x: Array
    y: Array
    classes: Sequence[str] = ()
    labelled: bool = True

    def __post_init__(self) -> None:
        fits = self.y.ndim == 1 and self.x.shape[:1] == self.y.shape and self.y.dtype.kind in "iu"
        if not fits or (self.labelled and len(self.y) and int(self.y.min()) < 0):
            raise EllcError(
                f"samples of shape {self.x.shape} do not fit labels of type {self.y.dtype} and "
                f"shape {self.y.shape}",
                code="E771",
                where=self.where,
                hint="give one label for each sample, an integer from 0",
            )
        if len(self.y) and not self.x.size:
            raise EllcError(
                f"samples of shape {self.x.shape} have no values", code="E771", where=self.where
            )

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> Sample:
        return Sample(f"{index}", int(self.y[index]), self.x[index])


def with_channel(pictures: Array) -> Array:
    """Append the channel axis to grey pictures [n,rows,columns]; other arrays stay as they are."""
    return pictures[..., np.newaxis] if pictures.ndim == 3 else pictures
