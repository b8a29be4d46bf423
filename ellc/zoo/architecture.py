"""A published network as layers: what a family of the zoo describes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ellc.ir.graph import INPUT_PREFIX, Graph
from ellc.zoo.construction import Making
from ellc.zoo.net import Net, Pad

Input = Literal["imagenet", "symmetric", "raw", "unit", "caffe", "features"]
"""What the numbers of the input are: pixels as torchvision normalises them, -1 to 1, 0 to 255,
0 to 1, blue first with Caffe's means taken away; or numbers that are no pixels."""

_METADATA: dict[Input, dict[str, str]] = {
    "imagenet": {
        "expectedColorChannelOrder": "rgb",
        "expectedPixelRangeHigh": "1",
        "redChannelMean": "0.485",
        "greenChannelMean": "0.456",
        "blueChannelMean": "0.406",
        "redChannelStdDev": "0.229",
        "greenChannelStdDev": "0.224",
        "blueChannelStdDev": "0.225",
    },
    "symmetric": {
        "expectedColorChannelOrder": "rgb",
        "expectedPixelRangeLow": "-1",
        "expectedPixelRangeHigh": "1",
    },
    "raw": {"expectedColorChannelOrder": "rgb"},
    "unit": {"expectedColorChannelOrder": "rgb", "expectedPixelRangeHigh": "1"},
    "caffe": {
        "expectedColorChannelOrder": "bgr",
        "redChannelMean": "123",
        "greenChannelMean": "117",
        "blueChannelMean": "104",
    },
    "features": {},
}
# Mean and standard deviation of photographs' pixels in each.
_NUMBERS: dict[Input, tuple[float, float]] = {
    "imagenet": (0.0, 1.0),
    "symmetric": (-0.1, 0.55),
    "raw": (114.0, 70.0),
    "unit": (0.45, 0.27),
    "caffe": (0.0, 70.0),
    "features": (0.0, 1.0),
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """One network: `layers` adds them all to a `Net` that stands at the input [1, *shape]."""

    name: str
    shape: tuple[int, ...]
    input: Input
    origin: str
    layers: Callable[[Net], None]
    pad: Pad = "centred"

    def build(self, making: Making, metadata: dict[str, str]) -> Graph:
        """The graph, with what the input's numbers are in its metadata."""
        middle, spread = _NUMBERS[self.input]
        net = Net(self.name, self.shape, making, pad=self.pad, middle=middle, spread=spread)
        self.layers(net)
        about = {f"{INPUT_PREFIX}{key}": text for key, text in _METADATA[self.input].items()}
        return net.finish({**about, **metadata})


@dataclass(frozen=True, slots=True)
class Family:
    """Networks whose names have one pattern, such as `mobilenet_v1_<width>_<size>`.

    `listed` are the names to show; `make` takes a name and the parameters in it: widths are
    fractions, sizes whole numbers.
    """

    pattern: str
    listed: tuple[str, ...]
    make: Callable[..., Architecture]

    def find(self, name: str) -> Architecture | None:
        """The network of this name, if it is one of the family's."""
        regex = re.escape(self.pattern)
        regex = regex.replace("<width>", r"(?P<width>\d(\.\d{1,3})?)")
        found = re.fullmatch(regex.replace("<size>", r"(?P<size>[1-9]\d{1,3})"), name)
        if not found:
            return None
        given: dict[str, Fraction | int] = {}
        for key, text in found.groupdict().items():
            given[key] = Fraction(text) if key == "width" else int(text)
        return None if given.get("width") == 0 else self.make(name, **given)


def divisible(filters: Fraction | int, by: int = 8) -> int:
    """The multiple nearest to a number of filters that is not more than a tenth below it."""
    rounded = max(by, int(filters + Fraction(by, 2)) // by * by)
    return rounded + by if rounded < Fraction(9, 10) * filters else rounded
