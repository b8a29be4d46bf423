"""GoogLeNet as published with the Caffe framework, without the classifiers used in training."""

from __future__ import annotations

from ellc.zoo.architecture import Architecture, NetworkFamily
from ellc.zoo.net import Net

# The numbers of filters in each module, by branch: a 1x1 convolution; a 1x1 and a 3x3 convolution;
# a 1x1 and a 5x5 convolution; a 1x1 convolution after a maximum.
_THIRD = ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64))
_FOURTH = (
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
)
_FIFTH = ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128))


def _googlenet(net: Net) -> None:
    _conv(net, 64, 7, 2)
    net.max(3, 2, pad="valid", ceil=True)
    net.normalise_locally()
    _conv(net, 64)
    _conv(net, 192, 3)
    net.normalise_locally()
    for modules in (_THIRD, _FOURTH, _FIFTH):
        net.max(3, 2, pad="valid", ceil=True)
        for filters in modules:
            _inception(net, filters)
    net.classify(1000)


def _conv(net: Net, filters: int, window: int = 1, stride: int = 1) -> None:
    net.conv(filters, window, stride, "relu", norm=False)


def _inception(net: Net, filters: tuple[int, int, int, int, int, int]) -> None:
    one, thin, three, thinner, five, last = filters
    start = net.here
    _conv(net, one)
    branches = [net.here]
    for before, after, window in ((thin, three, 3), (thinner, five, 5)):
        net.at(start)
        _conv(net, before)
        _conv(net, after, window)
        branches.append(net.here)
    net.at(start).max(3, 1)
    _conv(net, last)
    net.concat(*branches, net.here)


def _make(name: str) -> Architecture:
    return Architecture(name, (224, 224, 3), "caffe", "Caffe", _googlenet)


FAMILIES = (NetworkFamily("googlenet", ("googlenet",), _make),)
