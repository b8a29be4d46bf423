"""Binary networks as in Larq Zoo: QuickNet in three sizes, and Bi-Real-Net with 18 layers."""

from __future__ import annotations

from functools import partial

from ellc.zoo.architecture import Architecture, NetworkFamily
from ellc.zoo.net import Net


def _quicknet(net: Net, blocks: tuple[int, ...], filters: tuple[int, ...]) -> None:
    net.conv(filters[0] // 4, 3, 2, "relu")
    net.depthwise(3, 2)
    net.conv(filters[0])
    inputs = filters[0]
    for count, outputs in zip(blocks, filters, strict=True):
        if outputs != inputs:
            net.act("relu")
            net.max(2, 1, pad="valid")
            net.blur(3, 2)
            net.conv(outputs)
        for _ in range(count):
            start = net.here
            net.binary(outputs, outside=1)
            net.act("relu")
            net.norm()
            net.add(start)
        inputs = outputs
    net.act("relu")
    net.classify(1000)


def _bi_real(net: Net) -> None:
    net.conv(64, 7, 2)
    net.max(3, 2)
    for filters in (64, 128, 256, 512):
        for index in range(4):
            down = filters > 64 and not index
            start = net.here
            if down:
                net.mean(2, 2)
                net.conv(filters)
            short = net.here
            net.at(start).binary(filters, stride=2 if down else 1)
            net.norm()
            net.add(short)
    net.classify(1000)


def _make_quicknet(
    name: str,
    blocks: tuple[int, ...] = (4, 4, 4, 4),
    filters: tuple[int, ...] = (64, 128, 256, 512),
) -> Architecture:
    layers = partial(_quicknet, blocks=blocks, filters=filters)
    return Architecture(name, (224, 224, 3), "symmetric", "Larq Zoo", layers, pad="same")


def _make_bi_real(name: str) -> Architecture:
    return Architecture(name, (224, 224, 3), "symmetric", "Larq Zoo", _bi_real, pad="same")


FAMILIES = (
    NetworkFamily(
        "quicknet_small",
        ("quicknet_small",),
        partial(_make_quicknet, filters=(32, 64, 256, 512)),
    ),
    NetworkFamily("quicknet", ("quicknet",), _make_quicknet),
    NetworkFamily(
        "quicknet_large", ("quicknet_large",), partial(_make_quicknet, blocks=(6, 8, 12, 6))
    ),
    NetworkFamily("birealnet18", ("birealnet18",), _make_bi_real),
)
