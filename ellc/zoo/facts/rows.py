"""Typed data for published facts."""

from __future__ import annotations

import re
from dataclasses import dataclass

PRECISIONS = ("fp32", "int8", "binary")
COLOURS = ("rgb", "bgr", "grey", "none")
SIZES = (
    "parameters",
    "macs",
    "operations",
    "fp32 file",
    "int8 file",
    "memory",
    "receptive field",
)
"""The kinds of published sizes. A MAC counts as two `operations`. `memory` is the bytes of the
weights, with bits packed. `receptive field` is that of the last layer before the image becomes one
pixel."""
COUNTS = ("all", "trainable", "folded", "weights")
"""Which parameters are counted. `all`: also the four numbers that batch normalisation has for each
channel; `trainable`: of these four, only the two that are trained; `folded`: with batch
normalisation folded into weights and biases; `weights`: without batch normalisation."""

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KB": 10**3, "MB": 10**6}
_UNITS |= {"KiB": 2**10, "MiB": 2**20}
_FIGURE = re.compile(r"(\d+(?:\.(\d+))?)(?: (K|M|G|KB|MB|KiB|MiB))?")


@dataclass(frozen=True, slots=True)
class Source:
    """A publication of figures."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Size:
    """A published size. `published` is the number as the source writes it.

    `difference` says why the zoo's network has another size; it is empty if the sizes agree.
    """

    of: str
    published: str
    source: str
    counts: str = ""
    difference: str = ""

    @property
    def value(self) -> float:
        """The published number, multiplied by its unit."""
        number, _, unit = self._parts
        return float(number) * _UNITS[unit or ""]

    @property
    def step(self) -> float:
        """The value of one unit in the last digit of the published number."""
        _, decimals, unit = self._parts
        return 10.0 ** -len(decimals or "") * _UNITS[unit or ""]

    @property
    def _parts(self) -> tuple[str, str | None, str | None]:
        match = _FIGURE.fullmatch(self.published)
        if not match:
            raise ValueError(f"'{self.published}' is not a number with a unit")
        return match[1], match[2], match[3]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A published accuracy, in per cent of the data set's samples."""

    precision: str
    top1: float
    source: str
    top5: float | None = None


@dataclass(frozen=True, slots=True)
class Speed:
    """A published time of one prediction."""

    ms: float
    board: str
    precision: str
    engine: str
    source: str
    threads: int | None = None
    clock_mhz: int | None = None


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """Published weights: the file at `url`, or its `member` if that file is an archive.

    `sha256` and `bytes` are the hash and the size of the file at `url`.
    """

    url: str
    sha256: str
    bytes: int
    member: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """The published facts about a network."""

    name: str
    dataset: str
    colours: str
    origin: str
    sizes: tuple[Size, ...] = ()
    accuracies: tuple[Accuracy, ...] = ()
    speeds: tuple[Speed, ...] = ()
    notes: tuple[str, ...] = ()
    weights: WeightsFile | None = None

    @property
    def sources(self) -> set[str]:
        """The names of the sources of all figures."""
        named = {x.source for x in self.sizes} | {x.source for x in self.accuracies}
        return named | {x.source for x in self.speeds}
