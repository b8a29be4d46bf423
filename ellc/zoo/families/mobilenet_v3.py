"""MobileNet V3, small and large, as in torchvision."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

from ellc.zoo.architecture import Architecture, NetworkFamily, divisible
from ellc.zoo.families.mobilenet import inverted_residual
from ellc.zoo.net import Activation, Net

_Block = tuple[int, int, int, bool, Activation, int]

# Window, hidden channels, output channels, squeeze and excite, activation, stride.
_SMALL: tuple[_Block, ...] = (
    (3, 16, 16, True, "relu", 2),
    (3, 72, 24, False, "relu", 2),
    (3, 88, 24, False, "relu", 1),
    (5, 96, 40, True, "hard_swish", 2),
    (5, 240, 40, True, "hard_swish", 1),
    (5, 240, 40, True, "hard_swish", 1),
    (5, 120, 48, True, "hard_swish", 1),
    (5, 144, 48, True, "hard_swish", 1),
    (5, 288, 96, True, "hard_swish", 2),
    (5, 576, 96, True, "hard_swish", 1),
    (5, 576, 96, True, "hard_swish", 1),
)
_LARGE: tuple[_Block, ...] = (
    (3, 16, 16, False, "relu", 1),
    (3, 64, 24, False, "relu", 2),
    (3, 72, 24, False, "relu", 1),
    (5, 72, 40, True, "relu", 2),
    (5, 120, 40, True, "relu", 1),
    (5, 120, 40, True, "relu", 1),
    (3, 240, 80, False, "hard_swish", 2),
    (3, 200, 80, False, "hard_swish", 1),
    (3, 184, 80, False, "hard_swish", 1),
    (3, 184, 80, False, "hard_swish", 1),
    (3, 480, 112, True, "hard_swish", 1),
    (3, 672, 112, True, "hard_swish", 1),
    (5, 672, 160, True, "hard_swish", 2),
    (5, 960, 160, True, "hard_swish", 1),
    (5, 960, 160, True, "hard_swish", 1),
)


def _v3(net: Net, width: Fraction, blocks: tuple[_Block, ...], last: int) -> None:
    inputs = divisible(16 * width)
    net.conv(inputs, 3, 2, "hard_swish")
    for window, hidden, outputs, squeezes, act, stride in blocks:
        wide, out = divisible(hidden * width), divisible(outputs * width)
        squeeze = divisible(Fraction(wide, 4)) if squeezes else 0
        inverted_residual(net, inputs, wide, out, window, stride, act, squeeze)
        inputs = out
    net.conv(6 * inputs, act="hard_swish")
    net.global_mean()
    net.dense(divisible(last * width), "hard_swish")
    net.dense(1000, unscaled=True, logits=True)
    net.softmax()


def _make(
    name: str, blocks: tuple[_Block, ...], last: int, width: Fraction = Fraction(1), size: int = 224
) -> Architecture:
    layers = partial(_v3, width=width, blocks=blocks, last=last)
    return Architecture(name, (size, size, 3), "imagenet", "torchvision", layers, epsilon=1e-3)


_small = partial(_make, blocks=_SMALL, last=1024)
_large = partial(_make, blocks=_LARGE, last=1280)

FAMILIES = (
    NetworkFamily("mobilenet_v3_small", ("mobilenet_v3_small",), _small),
    NetworkFamily("mobilenet_v3_large", ("mobilenet_v3_large",), _large),
    NetworkFamily("mobilenet_v3_small_<width>_<size>", (), _small),
    NetworkFamily("mobilenet_v3_large_<width>_<size>", (), _large),
)
