"""Labelled pictures: scikit-learn's handwritten digits, or an `.npz` file such as CIFAR-10."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

HELD_BACK = 360  # a fifth of 1797
SPLIT_SEED = 2016


@dataclass(frozen=True)
class Pictures:
    """Pictures [n, rows, columns, channels] of uint8, and their classes [n]."""

    pixels: Array
    labels: Array

    @property
    def planes(self) -> Array:
        """The inputs of a network: float32 [n, channels, rows, columns] between 0 and 1."""
        return (self.pixels / 255.0).astype(np.float32).transpose(0, 3, 1, 2).copy()

    def save(self, path: Path) -> None:
        """Write an `.npz` file that `ellc evaluate` and `ellc quantize` read."""
        np.savez_compressed(path, x=self.pixels, y=self.labels)


def load(path: Path | None) -> tuple[Pictures, Pictures]:
    """The pictures for training and for the test.

    The file has the arrays `x_train`, `y_train`, `x_test` and `y_test`, as Keras names them.
    Without a file, the pictures are the digits, split at random but always in the same way.
    """
    if path is not None:
        with np.load(path) as arrays:
            train, test = (
                Pictures(_with_channels(arrays[f"x_{part}"]), arrays[f"y_{part}"].reshape(-1))
                for part in ("train", "test")
            )
        return train, test
    from sklearn.datasets import load_digits  # imported here because the import is slow

    digits = load_digits()
    pixels = _with_channels(np.rint(digits.images * (255 / 16)).astype(np.uint8))
    order = np.random.RandomState(SPLIT_SEED).permutation(len(pixels))
    test, train = (
        Pictures(pixels[part], digits.target[part])
        for part in (order[:HELD_BACK], order[HELD_BACK:])
    )
    return train, test


def _with_channels(pixels: Array) -> Array:
    return pixels if pixels.ndim == 4 else pixels[..., np.newaxis]
