"""ELL's gallery pages that show a plot of the graph or a summary table, and no list of layers.

`plots.json` holds them as short texts, one for each layer: a kind, its numbers, and the activation
that a table shows behind a convolution. A window and its step are `3/2`. A layer reads the one
before it, or those that `@` names by their places: 0 is the input, 1 the first layer.

    conv 64 7/2 bias relu     depthwise 3/1     norm     max 3/2     plus @4

What they do not say was inferred, and each page marks from where, as those of `gallery.json`:

* a plot shows no window of a pooling: the table has it (`table`), or the usual 3x3 behind a first
  convolution is taken (`assumed`); nor which function an `Activation` is;
* a table shows neither batch normalisation, which is left out, nor what is subtracted from pixels.

A softmax follows the last layer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, cast

from ellc.ir.graph import Graph
from ellc.zoo.construction import PIXEL_DEVIATION, Making
from ellc.zoo.net import Activation, Net

_CLASSES = 1000
_PIXEL_MEAN = 114.0


@dataclass(frozen=True, slots=True)
class Plot:
    """A network of the gallery as its plot or its table shows it."""

    name: str
    input: tuple[int, ...]
    colours: str
    layers: tuple[str, ...]
    inferred: dict[str, str]

    @property
    def is_chain(self) -> bool:
        """Whether every layer reads the one before it."""
        return not any("@" in layer or layer.startswith("depthwise") for layer in self.layers)


@cache
def plots() -> tuple[Plot, ...]:
    """Every page, in the order of their names."""
    return tuple(map(_plot, _document()["pages"]))


@cache
def missing() -> dict[str, str]:
    """The pages of which no network can be built, and why."""
    return dict(_document()["missing"])


@cache
def twice() -> tuple[str, ...]:
    """The networks that have an orphaned page beside their own."""
    return tuple(_document()["twice"])


@cache
def _document() -> dict[str, Any]:
    text = resources.files("ellc.zoo").joinpath("plots.json").read_text(encoding="utf-8")
    return cast(dict[str, Any], json.loads(text))


def _plot(entry: dict[str, Any]) -> Plot:
    says = {"layers": entry["from"], "windows and strides": entry["windows_from"]}
    if "activation_from" in entry:
        says["activations"] = entry["activation_from"]
    if "mean_from" in entry:
        says["mean"] = entry["mean_from"]
    if entry["from"] == "table":
        says["batch normalisation"] = "left out"
    if any("leaky_relu" in layer for layer in entry["layers"]):
        says["leaky slope"] = "assumed"
    return Plot(
        entry["name"], tuple(entry["input"]), entry["colours"], tuple(entry["layers"]), says
    )


def build_plot(plot: Plot, making: Making, metadata: dict[str, str]) -> Graph:
    """The graph of a page, from pixels 0..255."""
    # The pages' networks keep their batch normalisation, which follows a pooling as often as not.
    making = replace(making, keep_batch_norm=True)
    net = Net(plot.name, plot.input, making, middle=_PIXEL_MEAN, spread=PIXEL_DEVIATION)
    places = [net.here]
    for layer in plot.layers:
        words = layer.split()
        reads = [places[int(word[1:])] for word in words if word.startswith("@")]
        net.at(reads[0] if reads and words[0] != "plus" else places[-1])
        if words[0] == "plus":
            net.at(reads[-2] if len(reads) > 1 else places[-1]).add(reads[-1])
        else:
            own = [word for word in words if not word.startswith("@")]
            _add(net, own, scaled="scale" in plot.layers)
        places.append(net.here)
    net.softmax()
    return net.finish({"model.input.expectedColorChannelOrder": plot.colours, **metadata})


def _add(net: Net, words: list[str], *, scaled: bool) -> None:
    """Add a layer; in a network that is `scaled` before its softmax, any spread will do there."""
    match words:
        case ["conv", filters, size, *more]:
            window, stride = map(int, size.split("/"))
            count, biased, act = int(filters), "bias" in more, _activation(more)
            whole = count == _CLASSES
            logits = whole and not scaled
            net.conv(
                count, window, stride, act, norm=False, bias=biased, whole=whole, logits=logits
            )
        case ["depthwise", size, *more]:
            window, stride = map(int, size.split("/"))
            net.depthwise(window, stride, _activation(more), norm=False, bias="bias" in more)
        case ["binary", filters, size]:
            window, stride = map(int, size.split("/"))
            net.binary(int(filters), window, stride)
        case ["dense", outputs, "bias"]:
            net.dense(int(outputs), whole=int(outputs) == _CLASSES)
        case ["max", size]:
            window, stride = map(int, size.split("/"))
            # Windows of even extent begin at the image, and the last may reach beyond it.
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
