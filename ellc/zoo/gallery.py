"""The networks on the pages of ELL's gallery of 2017, as typed data.

`gallery.json` holds every page that lists all layers with their padded shapes. The pages do not
contain all facts. Each inferred fact is marked with its origin:

* `table`: a summary table in a later revision of the page;
* `shapes`: the only window that fits the padded shapes, by rules that hold on every page with a
  table. Convolutions have stride 1. Maxima have stride 2, and windows of 3x3 with a border or of
  2x2 without one. Means are over the whole image;
* `plot`: a plot of the graph of the same network, trained another time. It shows that hidden dense
  layers have an activation, which is assumed to be that of the convolutions. It also shows that
  float convolutions and dense layers have a bias, and that binary convolutions have none;
* `assumed`: the usual value, without a source.

The pages do not contain the slope of a leaky ReLU. It is assumed to be 0.01, the default of the
training framework.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

Shape3 = tuple[int, int, int]
LEAKY_SLOPE = 0.01


@dataclass(frozen=True, slots=True)
class PageLayer:
    """A layer as a page lists it.

    `out` is the shape of the result, [rows, columns, channels], including a border of `out_pad`
    pixels that the next layer needs. `window` and `stride` are in pixels along both axes, and 0 for
    layers without a window.
    """

    kind: str
    activation: str
    out: Shape3
    out_pad: int
    window: int = 0
    stride: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """A network of the gallery: its layers in order, and the origins of inferred facts."""

    name: str
    input: Shape3
    colours: str
    layers: tuple[PageLayer, ...]
    windows_from: str
    mean: tuple[float, ...]
    mean_from: str
    hidden_activation: str = ""
    hidden_activation_from: str = ""

    def inferred(self) -> dict[str, str]:
        """The facts that are not on the page, each with its origin."""
        leaky = any(layer.activation == "LeakyReLU" for layer in self.layers)
        facts = {"windows and strides": self.windows_from, "mean": self.mean_from, "bias": "plot"}
        if self.hidden_activation:
            facts["hidden activation"] = self.hidden_activation_from
        return facts | ({"leaky slope": "assumed"} if leaky else {})


@cache
def pages() -> tuple[Page, ...]:
    """All pages in the order of the file."""
    text = resources.files("ellc.zoo").joinpath("gallery.json").read_text(encoding="utf-8")
    return tuple(_page(entry) for entry in json.loads(text)["pages"])


def _page(entry: dict[str, Any]) -> Page:
    def shape(sizes: list[int]) -> Shape3:
        rows, columns, channels = sizes
        return rows, columns, channels

    layers = tuple(
        PageLayer(kind, activation, shape(out), out_pad, *window)
        for kind, activation, out, out_pad, *window in entry["layers"]
    )
    return Page(
        entry["name"],
        shape(entry["input"]),
        entry["colours"],
        layers,
        entry["windows_from"],
        tuple(entry["mean"]),
        entry["mean_from"],
        entry.get("hidden_activation", ""),
        entry.get("hidden_activation_from", ""),
    )
