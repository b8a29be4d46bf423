"""The networks on ELL's gallery pages of 2017, as typed facts.

`gallery.json` holds every page that lists all layers with their padded shapes. The pages do not
contain all facts; inferred ones are marked with their origin:

* `table`: a summary table in later revisions of the page;
* `shapes`: the only window that fits the padded shapes, by rules that hold on every page with a
  table (convolutions have stride 1; maxima are 3x3 with a border, 2x2 without one, and have
  stride 2; means are over the whole image);
* `plot`: the plotted graph of the same network after another training. It shows that hidden dense
  layers have an activation; that it is the one of the convolutions is assumed. It also shows a
  bias in every float convolution and dense layer, and none in binary ones;
* `assumed`: no source; the usual value.

The pages do not contain the slope of a leaky ReLU either: it is the training framework's 0.01.
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

    `out` is [rows, columns, channels] including a border of `out_pad` pixels for the next layer.
    `window` and `stride` (square, in pixels) are 0 if the layer has none.
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
        """Facts that are not on the page, with their origins."""
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
