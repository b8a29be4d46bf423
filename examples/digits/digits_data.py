"""Scikit-learn's handwritten digits as 8-bit pictures, split into training and held-back digits.

    python examples/digits/digits_data.py

writes one held-back picture of each digit into `images/`, and the names of the ten classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[Any]

HELD_BACK = 360  # a fifth of 1797
SPLIT_SEED = 2016
LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# ELL's metadata for turning a picture into the network's input: black is 0, white is 1.
METADATA = {
    "labels": "\n".join(LABELS),
    "model.input.expectedPixelRangeLow": "0",
    "model.input.expectedPixelRangeHigh": "1",
}


@dataclass(frozen=True)
class Digits:
    """Pictures [n,8,8] of uint8 (0 is background) and their labels [n], 0 to 9."""

    pictures: Array
    labels: Array

    @property
    def inputs(self) -> Array:
        """The network's inputs for these pictures: float32 [n,8,8,1], between 0 and 1."""
        return (self.pictures / 255.0).astype(np.float32)[..., np.newaxis]


def load_split() -> tuple[Digits, Digits]:
    """The training digits and the held-back digits.

    The split is random, so both parts contain digits of the same 13 writers. It is the same in
    every run, because numpy promises that the sequence of a `RandomState` never changes.
    """
    from sklearn.datasets import load_digits  # imported here because the import is slow

    digits = load_digits()
    # Scale the 17 grey levels to 8 bits, so that a picture file stores the training data exactly.
    pictures = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    order = np.random.RandomState(SPLIT_SEED).permutation(len(pictures))
    held_back, train = order[:HELD_BACK], order[HELD_BACK:]
    return (
        Digits(pictures[train], digits.target[train]),
        Digits(pictures[held_back], digits.target[held_back]),
    )


def save_pictures(digits: Digits, folder: Path) -> None:
    """Write `labels.txt`, and the first picture of each digit as a PNG file named after it."""
    folder.mkdir(exist_ok=True)
    for number, label in enumerate(LABELS):
        first = int(np.argmax(digits.labels == number))
        Image.fromarray(digits.pictures[first]).save(folder / f"{label}.png")
    text = "\n".join(LABELS)
    (folder / "labels.txt").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    save_pictures(load_split()[1], Path(__file__).resolve().parent / "images")
