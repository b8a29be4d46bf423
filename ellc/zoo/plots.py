"""Networks on pages of ELL's gallery that have a plot or a table, but no list of layers.

`plots.json` has a short text for each layer: its kind, its numbers, `bias` if it has one, and, for
a convolution in a table, its activation. `3/2` is a 3x3 window with stride 2. A layer reads the
result of the previous layer, or of the layers whose numbers follow `@`: 0 is the input, and 1 is
the first layer. A `plus` with a single number adds that layer's result to the previous result.

    conv 64 7/2 bias relu     depthwise 3/1     norm     max 3/2     plus @4

Facts that the pages do not contain are inferred, and marked with their origin as in `gallery.json`:

* A plot does not show the window of a pooling layer. The window is taken from a table (`table`); if
  there is none, it is the usual 3x3 after the first convolution (`assumed`).
* A plot does not show the function of an `Activation`.
* A table does not show batch normalisation, which is left out.
* A table does not show the number that is subtracted from pixels.

A softmax follows the last layer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, cast

from ellc.ir.graph import Graph
from ellc.zoo.construction import PIXEL_DEVIATION, ZooOptions
from ellc.zoo.net import Activation, Net

_CLASSES = 1000
_PIXEL_MEAN = 114.0


@dataclass(frozen=True, slots=True)
class Plot:
    """A network of the gallery, as its page describes it by a plot or a table."""

    name: str
    input: tuple[int, ...]
    colours: str
    layers: tuple[str, ...]
    inferred: dict[str, str]

    @property
    def is_chain(self) -> bool:
        """Whether `.ell` files can hold the network: a chain of layers, none of them depthwise."""
        return not any("@" in layer or layer.startswith("depthwise") for layer in self.layers)


@cache
def plots() -> tuple[Plot, ...]:
    """All pages, sorted by name."""
    return tuple(map(_plot, _document()["pages"]))


@cache
def missing() -> dict[str, str]:
    """The pages whose network cannot be built, each with the reason."""
    return dict(_document()["missing"])


@cache
def twice() -> tuple[str, ...]:
    """The networks that have a second page, to which no other page links."""
    return tuple(_document()["twice"])


@cache
def _document() -> dict[str, Any]:
    text = resources.files("ellc.zoo").joinpath("plots.json").read_text(encoding="utf-8")
    return cast(dict[str, Any], json.loads(text))


def _plot(entry: dict[str, Any]) -> Plot:
    inferred = {"layers": entry["from"], "windows and strides": entry["windows_from"]}
    if "activation_from" in entry:
        inferred["activations"] = entry["activation_from"]
    if "mean_from" in entry:
        inferred["mean"] = entry["mean_from"]
    if entry["from"] == "table":
        inferred["batch normalisation"] = "left out"
    if any("leaky_relu" in layer for layer in entry["layers"]):
        inferred["leaky slope"] = "assumed"
    return Plot(
        entry["name"], tuple(entry["input"]), entry["colours"], tuple(entry["layers"]), inferred
    )


def build_plot(plot: Plot, options: ZooOptions, metadata: dict[str, str]) -> Graph:
    """Build the graph of a page; its input consists of pixels from 0 to 255."""
    # In these networks batch normalisation often follows a pooling layer, so it is not folded.
    options = replace(options, keep_batch_norm=True)
    net = Net(plot.name, plot.input, options, middle=_PIXEL_MEAN, spread=PIXEL_DEVIATION)
    values = [net.here]
    for layer in plot.layers:
        words = layer.split()
        reads = [values[int(word[1:])] for word in words if word.startswith("@")]
        net.at(reads[0] if reads and words[0] != "plus" else values[-1])
        if words[0] == "plus":
            net.at(reads[-2] if len(reads) > 1 else values[-1]).add(reads[-1])
        else:
            own = [word for word in words if not word.startswith("@")]
            _add(net, own, scaled="scale" in plot.layers)
        values.append(net.here)
    net.softmax()
    return net.finish({"model.input.expectedColorChannelOrder": plot.colours, **metadata})


def _add(net: Net, words: list[str], *, scaled: bool) -> None:
    """Add a layer. If the network is `scaled`, a layer scales the classes before the softmax."""
    match words:
        case ["conv", filters, size, *more]:
            window, stride = map(int, size.split("/"))
            count, biased, act = int(filters), "bias" in more, _activation(more)
            all_filters = count == _CLASSES
            logits = all_filters and not scaled
            net.conv(
                count,
                window,
                stride,
                act,
                norm=False,
                bias=biased,
                unscaled=all_filters,
                logits=logits,
            )
        case ["depthwise", size, *more]:
            window, stride = map(int, size.split("/"))
            net.depthwise(window, stride, _activation(more), norm=False, bias="bias" in more)
        case ["binary", filters, size]:
            window, stride = map(int, size.split("/"))
            net.binary(int(filters), window, stride)
        case ["dense", outputs, "bias"]:
            net.dense(int(outputs), unscaled=int(outputs) == _CLASSES)
        case ["max", size]:
            window, stride = map(int, size.split("/"))
            # The first window of even extent begins inside the image; the last may reach beyond it.
            even = window % 2 == 0
            net.max(window, stride, pad="valid" if even else "centred", ceil=even)
        case ["minus", means]:
            net.begin("minus")
            net.subtract(tuple(map(float, means.split(","))))
        case ["mean"]:
            net.global_mean()
        case ["norm"]:
            net.norm()
        case ["bias"]:
            net.begin("plus")
            net.centre()
        case ["prelu"]:
            net.begin("prelu")
            net.parametric_relu()
        case ["scale"]:
            net.begin("scale")
            net.temperature()
        case [name]:
            net.begin(name)
            net.act(cast(Activation, name))
        case _:
            raise ValueError(f"no layer {words}")


def _activation(words: list[str]) -> Activation:
    return cast(Activation, next((word for word in words if word != "bias"), ""))
