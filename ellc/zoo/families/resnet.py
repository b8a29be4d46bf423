"""Builds residual networks: ResNet-18 and -50 as in torchvision, ResNet8 as in MLPerf Tiny."""

from __future__ import annotations

from functools import partial

from ellc.zoo.architecture import Architecture, NetworkFamily
from ellc.zoo.net import Net, Tensor


def _resnet(net: Net, counts: tuple[int, ...], *, bottleneck: bool) -> None:
    net.conv(64, 7, 2, "relu")
    net.max(3, 2)
    inputs = 64
    for stage, count in enumerate(counts):
        for index in range(count):
            filters, stride = 64 << stage, 2 if stage and not index else 1
            block = _bottleneck if bottleneck else _basic
            inputs = block(net, inputs, filters, stride)
    net.classify(1000)


def _basic(net: Net, inputs: int, filters: int, stride: int) -> int:
    start = net.here
    net.conv(filters, 3, stride, "relu")
    net.conv(filters, 3)
    _join(net, start, inputs, filters, stride)
    return filters


def _bottleneck(net: Net, inputs: int, filters: int, stride: int) -> int:
    start = net.here
    net.conv(filters, act="relu")
    net.conv(filters, 3, stride, "relu")
    net.conv(4 * filters)
    _join(net, start, inputs, 4 * filters, stride)
    return 4 * filters


def _join(net: Net, start: Tensor, inputs: int, filters: int, stride: int) -> None:
    """Add the block's input, convolved if the shapes differ, to its result, and apply a ReLU."""
    end = net.here
    net.at(start)
    if stride > 1 or inputs != filters:
        net.conv(filters, 1, stride)
    short = net.here
    net.at(end).add(short, "relu")


def _resnet8(net: Net) -> None:
    net.conv(16, 3, act="relu", bias=True)
    for filters in (16, 32, 64):
        start, stride = net.here, 1 if filters == 16 else 2
        net.conv(filters, 3, stride, "relu", bias=True)
        net.conv(filters, 3, bias=True)
        end = net.here
        net.at(start)
        if stride > 1:
            net.conv(filters, 1, stride, norm=False)
        short = net.here
        net.at(end).add(short, "relu")
    net.classify(10)


def _large(name: str, counts: tuple[int, ...], *, bottleneck: bool) -> Architecture:
    layers = partial(_resnet, counts=counts, bottleneck=bottleneck)
    return Architecture(name, (224, 224, 3), "imagenet", "torchvision", layers)


def _small(name: str) -> Architecture:
    return Architecture(name, (32, 32, 3), "raw", "MLPerf Tiny", _resnet8, pad="same", epsilon=1e-3)


FAMILIES = (
    NetworkFamily(
        "resnet18", ("resnet18",), partial(_large, counts=(2, 2, 2, 2), bottleneck=False)
    ),
    NetworkFamily("resnet50", ("resnet50",), partial(_large, counts=(3, 4, 6, 3), bottleneck=True)),
    NetworkFamily("resnet8", ("resnet8",), _small),
)
