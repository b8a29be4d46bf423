"""SqueezeNet 1.1: layers with few channels alternate with pairs of 1x1 and 3x3 convolutions."""

from __future__ import annotations

from ellc.zoo.architecture import Architecture, NetworkFamily
from ellc.zoo.net import Net


def _squeezenet(net: Net) -> None:
    net.conv(64, 3, 2, "relu", norm=False, pad="valid")
    for thin, wide, count in ((16, 64, 2), (32, 128, 2), (48, 192, 2), (64, 256, 2)):
        if thin in (16, 32, 48):
            net.max(3, 2, pad="valid", ceil=True)
        for _ in range(count):
            _fire(net, thin, wide)
    net.conv(1000, act="relu", norm=False, unscaled=True, logits=True)
    net.global_mean()
    net.softmax()


def _fire(net: Net, squeezed: int, expanded: int) -> None:
    net.conv(squeezed, act="relu", norm=False)
    start = net.here
    net.conv(expanded, act="relu", norm=False)
    small_windows = net.here
    net.at(start).conv(expanded, 3, act="relu", norm=False)
    net.concat(small_windows, net.here)


def _make(name: str) -> Architecture:
    return Architecture(name, (224, 224, 3), "imagenet", "torchvision", _squeezenet)


FAMILIES = (NetworkFamily("squeezenet_1.1", ("squeezenet_1.1",), _make),)
