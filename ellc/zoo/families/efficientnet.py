"""EfficientNet-Lite0: inverted residuals; it has no squeeze and excite, to suit quantisation."""

from __future__ import annotations

from ellc.zoo.architecture import Architecture, NetworkFamily
from ellc.zoo.families.mobilenet import inverted_residual
from ellc.zoo.net import Net

# Window, expansion, filters, number of blocks, stride of the first block.
_BLOCKS = (
    (3, 1, 16, 1, 1),
    (3, 6, 24, 2, 2),
    (5, 6, 40, 2, 2),
    (3, 6, 80, 3, 2),
    (5, 6, 112, 3, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)


def _lite0(net: Net) -> None:
    net.conv(32, 3, 2, "relu6")
    inputs = 32
    for window, expansion, filters, count, first in _BLOCKS:
        for index in range(count):
            stride = 1 if index else first
            inverted_residual(net, inputs, expansion * inputs, filters, window, stride, "relu6")
            inputs = filters
    net.conv(1280, act="relu6")
    net.classify(1000)


def _make(name: str) -> Architecture:
    return Architecture(
        name, (224, 224, 3), "symmetric", "TensorFlow", _lite0, pad="same", epsilon=1e-3
    )


FAMILIES = (NetworkFamily("efficientnet_lite0", ("efficientnet_lite0",), _make),)
