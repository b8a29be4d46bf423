"""MobileNet V1 and V2 as in TensorFlow's model garden, and the small V1 of MLPerf Tiny."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

from ellc.zoo.architecture import Architecture, NetworkFamily, divisible
from ellc.zoo.net import Activation, Net

_BACKGROUND = 1001  # the classes of ImageNet, and one more for the background
_V1 = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)
# Expansion, filters, number of blocks, stride of the first block.
V2_BLOCKS = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


def _v1(net: Net, width: Fraction, classes: int, act: Activation, *, bias: bool | None) -> None:
    def scaled(filters: int) -> int:
        return max(8, int(filters * width))

    net.conv(scaled(32), 3, 2, act, bias=bias)
    for filters, stride in _V1:
        net.depthwise(3, stride, act, bias=bias)
        net.conv(scaled(filters), act=act, bias=bias)
    net.classify(classes)


def _v2(net: Net, width: Fraction) -> None:
    inputs = divisible(32 * width)
    net.conv(inputs, 3, 2, "relu6")
    for expansion, filters, count, first in V2_BLOCKS:
        for index in range(count):
            outputs, stride = divisible(filters * width), 1 if index else first
            inverted_residual(net, inputs, expansion * inputs, outputs, 3, stride, "relu6")
            inputs = outputs
    net.conv(divisible(1280 * max(width, Fraction(1))), act="relu6")
    net.classify(_BACKGROUND)


def inverted_residual(
    net: Net,
    inputs: int,
    hidden: int,
    outputs: int,
    window: int,
    stride: int,
    act: Activation,
    squeeze: int = 0,
    gate: Activation = "hard_sigmoid",
) -> None:
    """Add three convolutions: 1x1 to `hidden` channels, depthwise, and 1x1 to `outputs` channels.

    The first is left out if `hidden` equals `inputs`. The block's input is added to its result if
    their shapes are the same. If `squeeze` is not 0, a squeeze-and-excite layer with `squeeze`
    channels follows the depthwise convolution.
    """
    start = net.here
    if hidden != inputs:
        net.conv(hidden, act=act)
    net.depthwise(window, stride, act)
    if squeeze:
        net.squeeze_excite(squeeze, gate=gate)
    net.conv(outputs)
    if stride == 1 and inputs == outputs:
        net.add(start)


def _make_v1(name: str, width: Fraction, size: int) -> Architecture:
    layers = partial(_v1, width=width, classes=_BACKGROUND, act="relu6", bias=None)
    return Architecture(
        name, (size, size, 3), "symmetric", "TensorFlow", layers, pad="same", epsilon=1e-3
    )


def _make_v2(name: str, width: Fraction, size: int) -> Architecture:
    layers = partial(_v2, width=width)
    return Architecture(
        name, (size, size, 3), "symmetric", "TensorFlow", layers, pad="same", epsilon=1e-3
    )


def _make_vww(name: str) -> Architecture:
    layers = partial(_v1, width=Fraction(1, 4), classes=2, act="relu", bias=True)
    return Architecture(name, (96, 96, 3), "unit", "MLPerf Tiny", layers, pad="same", epsilon=1e-3)


FAMILIES = (
    NetworkFamily(
        "mobilenet_v1_<width>_<size>",
        ("mobilenet_v1_0.25_128", "mobilenet_v1_0.25_224", "mobilenet_v1_1.0_224"),
        _make_v1,
    ),
    NetworkFamily("mobilenet_v2_<width>_<size>", ("mobilenet_v2_1.0_224",), _make_v2),
    NetworkFamily("vww96", ("vww96",), _make_vww),
)
