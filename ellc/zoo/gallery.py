"""What ELL's gallery pages of 2017 say about their networks, as typed facts.

`gallery.json` holds every page that listed all layers with their padded shapes. A page does not say
everything; what had to be inferred is marked with where it was taken from:

* `table`: a summary table that later revisions of the page show;
* `shapes`: the only window that fits the padded shapes, by the rules that hold on every page that
  has a table (convolutions step by 1; maxima are over 3x3 where there is a border, over 2x2 where
  there is none, and step by 2; means are over the whole image);
* `plot`: the plotted graph of the same network trained again. It shows that there is an activation
  after hidden dense layers; that it is the one of the convolutions is assumed. It also shows a
  bias in every float convolution and dense layer, and none in the binary ones;
* `assumed`: nothing says it, the usual value is taken.

A leaky ReLU's slope is not on the pages either: it is the training framework's 0.01.
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
    """One line of a page.

    `out` is [rows, columns, channels] including the border of `out_pad` pixels that the layer
    leaves for the next one. `window` and `stride` (square, pixels) are 0 where the layer has none.
    """

    kind: str
    activation: str
    out: Shape3
    out_pad: int
    window: int = 0
    stride: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """A network of the gallery: its layers in order, and where the inferred facts come from."""

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
        """What is not on the page, and where it was taken from."""
        leaky = any(layer.activation == "LeakyReLU" for layer in self.layers)
        facts = {"windows and strides": self.windows_from, "mean": self.mean_from, "bias": "plot"}
        if self.hidden_activation:
            facts["hidden activation"] = self.hidden_activation_from
        return facts | ({"leaky slope": "assumed"} if leaky else {})


@cache
def pages() -> tuple[Page, ...]:
    """Every page, in the order of the file."""
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
