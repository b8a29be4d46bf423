"""Published facts, typed."""

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
"""`operations` are two for each MAC; `memory` is that of weights, signs packed; the receptive field
is that of the last layer with windows, before the image becomes one pixel."""
COUNTS = ("all", "trainable", "folded", "weights")
"""What parameters are: four numbers of batch normalisation for each channel, or the two of them
that are trained, or none, as it is folded into weights and biases; or weights without biases."""

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KB": 10**3, "MB": 10**6}
_UNITS |= {"KiB": 2**10, "MiB": 2**20}
_FIGURE = re.compile(r"(\d+(?:\.(\d+))?)(?: (K|M|G|KB|MB|KiB|MiB))?")


@dataclass(frozen=True, slots=True)
class Source:
    """Where figures were published."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Size:
    """A published size, as it was written; `difference` says why the zoo's network has another."""

    of: str
    published: str
    source: str
    counts: str = ""
    difference: str = ""

    @property
    def value(self) -> float:
        """The published number, in plain units."""
        number, _, unit = self._parts
        return float(number) * _UNITS[unit or ""]

    @property
    def step(self) -> float:
        """How fine the published number is: one of its last digit."""
        _, decimals, unit = self._parts
        return 10.0 ** -len(decimals or "") * _UNITS[unit or ""]

    @property
    def _parts(self) -> tuple[str, str | None, str | None]:
        found = _FIGURE.fullmatch(self.published)
        if not found:
            raise ValueError(f"'{self.published}' is not a number with a unit")
        return found[1], found[2], found[3]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A published accuracy, in per cent of the data set's pictures."""

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
class Facts:
    """All that is published of a network, as far as the zoo knows it."""

    name: str
    dataset: str
    colours: str
    origin: str
    sizes: tuple[Size, ...] = ()
    accuracies: tuple[Accuracy, ...] = ()
    speeds: tuple[Speed, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def sources(self) -> set[str]:
        """The names of all sources that its figures have."""
        named = {x.source for x in self.sizes} | {x.source for x in self.accuracies}
        return named | {x.source for x in self.speeds}
