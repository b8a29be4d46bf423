"""Scikit-learn's handwritten digits as 8-bit pictures, and which of them are held back.

    python examples/digits/digits_data.py

writes one held-back digit of each kind into `images/`, with the names of the ten classes.
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

# How a picture becomes the network's input, in the words of ELL's metadata: black 0, white 1.
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
        """What a network is given: float32 [n,8,8,1] between 0 and 1."""
        return (self.pictures / 255.0).astype(np.float32)[..., np.newaxis]


def load_split() -> tuple[Digits, Digits]:
    """The digits to train on, and those held back.

    The split is by chance, so both parts hold digits of the same 13 writers. It is always the same:
    numpy has promised that `RandomState` never changes.
    """
    from sklearn.datasets import load_digits  # takes a second, which only this needs

    digits = load_digits()
    # The 17 grey levels become 8-bit ones, so that a picture file holds exactly what is trained on.
    pictures = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    order = np.random.RandomState(SPLIT_SEED).permutation(len(pictures))
    held_back, train = order[:HELD_BACK], order[HELD_BACK:]
    return (
        Digits(pictures[train], digits.target[train]),
        Digits(pictures[held_back], digits.target[held_back]),
    )


def save_pictures(digits: Digits, folder: Path) -> None:
    """The first digit of each kind as a PNG file called by its name, and `labels.txt`."""
    folder.mkdir(exist_ok=True)
    for number, label in enumerate(LABELS):
        first = int(np.argmax(digits.labels == number))
        Image.fromarray(digits.pictures[first]).save(folder / f"{label}.png")
    text = "\n".join(LABELS)
    (folder / "labels.txt").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    save_pictures(load_split()[1], Path(__file__).resolve().parent / "images")
