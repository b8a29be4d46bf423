"""MNasNet: version B1 as in torchvision, and version A1 (squeeze and excite) as in TensorFlow."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

from ellc.zoo.architecture import Architecture, NetworkFamily, divisible
from ellc.zoo.families.mobilenet import inverted_residual
from ellc.zoo.net import Net

_Block = tuple[int, int, int, int, int, bool]

# Window, expansion, filters, number of blocks, stride of the first block, squeeze and excite.
_B1: tuple[_Block, ...] = (
    (3, 3, 24, 3, 2, False),
    (5, 3, 40, 3, 2, False),
    (5, 6, 80, 3, 2, False),
    (3, 6, 96, 2, 1, False),
    (5, 6, 192, 4, 2, False),
    (3, 6, 320, 1, 1, False),
)
_A1: tuple[_Block, ...] = (
    (3, 6, 24, 2, 2, False),
    (5, 3, 40, 3, 2, True),
    (3, 6, 80, 4, 2, False),
    (3, 6, 112, 2, 1, True),
    (5, 6, 160, 3, 2, True),
    (3, 6, 320, 1, 1, False),
)


def _mnasnet(net: Net, width: Fraction, blocks: tuple[_Block, ...]) -> None:
    net.conv(divisible(32 * width), 3, 2, "relu")
    net.depthwise(3, 1, "relu")
    inputs = divisible(16 * width)
    net.conv(inputs)
    for window, expansion, filters, count, first, squeezes in blocks:
        for index in range(count):
            outputs, stride = divisible(filters * width), 1 if index else first
            squeeze = max(1, inputs // 4) if squeezes else 0
            hidden = expansion * inputs
            inverted_residual(
                net, inputs, hidden, outputs, window, stride, "relu", squeeze, "sigmoid"
            )
            inputs = outputs
    net.conv(1280, act="relu")
    net.classify(1000)


def _b1(name: str, width: Fraction) -> Architecture:
    layers = partial(_mnasnet, width=width, blocks=_B1)
    return Architecture(name, (224, 224, 3), "imagenet", "torchvision", layers)


def _a1(name: str, width: Fraction, size: int) -> Architecture:
    layers = partial(_mnasnet, width=width, blocks=_A1)
    return Architecture(
        name, (size, size, 3), "imagenet", "TensorFlow", layers, pad="same", epsilon=1e-3
    )


FAMILIES = (
    NetworkFamily("mnasnet_b1_<width>", ("mnasnet_b1_1.0", "mnasnet_b1_0.5"), _b1),
    NetworkFamily("mnasnet_a1_<width>_<size>", ("mnasnet_a1_0.75_224",), _a1),
)
