"""From a page of the gallery to a graph."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from ellc.ir.graph import Graph
from ellc.zoo.construction import LOGIT_SPREAD, Making
from ellc.zoo.gallery import Page, PageLayer
from ellc.zoo.layers import Chain
from ellc.zoo.widths import scaled


def at_width(page: Page, width: Fraction) -> Page:
    """The page of a narrower network: same images, same classes, fewer channels in between."""
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


def build_page(page: Page, making: Making, metadata: dict[str, str]) -> Graph:
    """The graph of a page with seeded weights: a plain chain that `write_ell` can write."""
    chain = Chain(page.name, page.input, making)
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
    """How far the last window reaches after the padded image; the page's shape decides."""
    outputs = layer.out[0] - 2 * layer.out_pad
    return max(0, (outputs - 1) * layer.stride + layer.window - (chain.shape[0] + 2 * pad))


def _spread(page: Page, index: int) -> float:
    """The last weights of a network without a temperature decide how far its classes differ."""
    later = page.layers[index + 1 :]
    if any(layer.kind in ("Convolution", "Dense", "ElementTimes") for layer in later):
        return 0.0
    # The mean over the last, small image takes little away: its pixels depend on the same inputs.
    return LOGIT_SPREAD
