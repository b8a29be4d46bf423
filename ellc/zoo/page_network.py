"""Builds the graph of the network on a gallery page."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from ellc.ir.graph import Graph
from ellc.zoo.construction import LOGIT_SPREAD, ZooOptions
from ellc.zoo.gallery import Page, PageLayer
from ellc.zoo.layers import Chain
from ellc.zoo.widths import scaled


def at_width(page: Page, width: Fraction) -> Page:
    """The page as it would be for a narrower network, with the same image and classes."""
    weighted = [
        index
        for index, layer in enumerate(page.layers)
        if layer.kind in ("Convolution", "BinaryConvolution", "Dense")
    ]
    inner = range(weighted[0], weighted[-1])
    layers = tuple(
        replace(layer, out=(*layer.out[:2], scaled(layer.out[2], width)))
        if index in inner
        else layer
        for index, layer in enumerate(page.layers)
    )
    return replace(page, layers=layers)


def build_page(page: Page, options: ZooOptions, metadata: dict[str, str]) -> Graph:
    """Build the graph of a page: a chain of layers that an `.ell` file can hold."""
    chain = Chain(page.name, page.input, options)
    pad = 0
    for index, layer in enumerate(page.layers):
        chain.begin(layer.kind)
        _add(chain, page, index, pad)
        pad = layer.out_pad
    return chain.finish({"model.input.expectedColorChannelOrder": page.colours, **metadata})


def _add(chain: Chain, page: Page, index: int, pad: int) -> None:
    layer = page.layers[index]
    match layer.kind:
        case "Minus":
            chain.subtract(page.mean)
        case "Convolution":
            spread = _spread(page, index)
            chain.convolution(layer.out[2], layer.window, layer.stride, pad, spread=spread)
            chain.activation(layer.activation)
        case "BinaryConvolution":
            chain.binary_convolution(layer.out[2], layer.window, pad)
        case "Plus":
            chain.centre()
        case "PReLU":
            chain.parametric_relu()
        case "BatchNormalization":
            chain.batch_normalization()
        case "MaxPooling":
            chain.max_pool(layer.window, layer.stride, pad, beyond=_beyond(chain, layer, pad))
        case "AveragePooling":
            chain.mean_pool(layer.window, layer.stride)
        case "Dense":
            chain.dense(layer.out[2], _spread(page, index))
            hidden = any(later.kind == "Dense" for later in page.layers[index + 1 :])
            chain.activation(page.hidden_activation if hidden else "")
        case "ElementTimes":
            chain.temperature()
        case "Softmax":
            chain.softmax()
        case _:
            raise ValueError(f"{page.name}: no layer called {layer.kind}")


def _beyond(chain: Chain, layer: PageLayer, pad: int) -> int:
    """How many pixels the last window must reach beyond the padded image.

    It is computed from the shape of the result, which the page lists.
    """
    outputs = layer.out[0] - 2 * layer.out_pad
    return max(0, (outputs - 1) * layer.stride + layer.window - (chain.shape[0] + 2 * pad))


def _spread(page: Page, index: int) -> float:
    """The argument `spread` of a layer: `LOGIT_SPREAD` for the last layer with weights, else 0.

    It is also 0 if an `ElementTimes` follows, because that layer scales the classes.
    """
    later = page.layers[index + 1 :]
    if any(layer.kind in ("Convolution", "Dense", "ElementTimes") for layer in later):
        return 0.0
    # A mean over the last image may follow. It hardly changes the spread, because the image is
    # small and all its pixels depend on the same inputs.
    return LOGIT_SPREAD
