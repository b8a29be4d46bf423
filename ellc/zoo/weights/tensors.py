"""Data types for the tensors of a file, and for the slots of a network that need them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from ellc.ir.types import Array

WEIGHT, BIAS, GAMMA, MEAN, VARIANCE = "weight", "bias", "gamma", "mean", "variance"
_ROLES = {
    "weight": GAMMA,
    "gamma": GAMMA,
    "scale": GAMMA,
    "bias": BIAS,
    "beta": BIAS,
    "offset": BIAS,
    "running_mean": MEAN,
    "moving_mean": MEAN,
    "mean": MEAN,
    "running_var": VARIANCE,
    "moving_variance": VARIANCE,
    "variance": VARIANCE,
    "var": VARIANCE,
}


@dataclass(frozen=True, slots=True, eq=False)
class NamedArray:
    """An array of a file with its name."""

    name: str
    array: Array

    @property
    def counts(self) -> bool:
        """Whether the array can be a weight; a counter of training steps, for example, cannot."""
        floating = np.issubdtype(self.array.dtype, np.floating)
        return bool(floating and self.array.ndim in (1, 2, 4))

    @property
    def role(self) -> str:
        """The role that the array's rank or name shows; empty if neither shows one."""
        if self.array.ndim > 1:
            return WEIGHT
        last = self.name.removesuffix(":0").replace("/", ".").rsplit(".", 1)[-1]
        return _ROLES.get(last, "")


@dataclass(frozen=True, slots=True)
class Slot:
    """A tensor that a network needs.

    `shape` is [filters, rows, columns, channels] or [channels]. For a dense layer, rows and columns
    are those of its input image.
    """

    role: str
    shape: tuple[int, ...]
    layer: str
    dense: bool = False

    def __str__(self) -> str:
        size = "x".join(map(str, self.shape))
        return f"{self.role} {size} of layer {self.layer}"


def natural_key(name: str) -> list[tuple[int, str]]:
    """A sort key by which numbers in names are compared by their value."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]
