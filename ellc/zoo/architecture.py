"""Describes a published network by its layers, and families of networks by a name pattern."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ellc.ir.graph import INPUT_PREFIX, Graph
from ellc.zoo.construction import ZooOptions
from ellc.zoo.net import Net, Pad

Input = Literal["imagenet", "symmetric", "raw", "unit", "caffe", "features"]
"""What the numbers in the input mean. `imagenet`: pixels with torchvision's normalisation;
`symmetric`: pixels from -1 to 1; `raw`: from 0 to 255; `unit`: from 0 to 1; `caffe`: in the order
blue, green, red, minus Caffe's means; `features`: numbers that are not pixels."""

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
# The expected mean and standard deviation of the input's numbers; pictures count as photographs.
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
    """A published network.

    `layers` adds all layers to a `Net` whose current value is the input. `epsilon` is the number
    that batch normalisation adds to variances.
    """

    name: str
    shape: tuple[int, ...]
    input: Input
    origin: str
    layers: Callable[[Net], None]
    pad: Pad = "centred"
    epsilon: float = 1e-5

    def build(self, options: ZooOptions, metadata: dict[str, str]) -> Graph:
        """Build the graph; its metadata describe the numbers of the input."""
        middle, spread = _NUMBERS[self.input]
        net = Net(
            self.name,
            self.shape,
            options,
            pad=self.pad,
            middle=middle,
            spread=spread,
            epsilon=self.epsilon,
        )
        self.layers(net)
        about = {f"{INPUT_PREFIX}{key}": text for key, text in _METADATA[self.input].items()}
        return net.finish({**about, **metadata})


@dataclass(frozen=True, slots=True)
class NetworkFamily:
    """Networks whose names match a pattern, such as `mobilenet_v1_<width>_<size>`.

    `listed` are the names that lists of networks show. `make` takes a name and the parameters in
    it: a width as a fraction, a size as an integer.
    """

    pattern: str
    listed: tuple[str, ...]
    make: Callable[..., Architecture]

    def find(self, name: str) -> Architecture | None:
        """The network with this name; None if the pattern does not match or the width is 0."""
        regex = re.escape(self.pattern)
        regex = regex.replace("<width>", r"(?P<width>\d(\.\d{1,3})?)")
        match = re.fullmatch(regex.replace("<size>", r"(?P<size>[1-9]\d{1,3})"), name)
        if not match:
            return None
        parameters: dict[str, Fraction | int] = {}
        for key, text in match.groupdict().items():
            parameters[key] = Fraction(text) if key == "width" else int(text)
        return None if parameters.get("width") == 0 else self.make(name, **parameters)


def divisible(filters: Fraction | int, by: int = 8) -> int:
    """A multiple of `by`, close to `filters`.

    It is the nearest multiple (at least `by` itself), or the next larger one if the nearest is less
    than 9/10 of `filters`.
    """
    rounded = max(by, int(filters + Fraction(by, 2)) // by * by)
    return rounded + by if rounded < Fraction(9, 10) * filters else rounded
