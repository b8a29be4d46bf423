"""ShuffleNet V2 as in torchvision: most blocks pass half of the channels through unchanged."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

from ellc.zoo.architecture import Architecture, NetworkFamily
from ellc.zoo.net import Net

# Filters of the three stages and of the last convolution, for each width.
_FILTERS = {
    Fraction(1, 2): ((48, 96, 192), 1024),
    Fraction(1): ((116, 232, 464), 1024),
    Fraction(3, 2): ((176, 352, 704), 1024),
    Fraction(2): ((244, 488, 976), 2048),
}


def _shufflenet(net: Net, filters: tuple[int, ...], last: int) -> None:
    net.conv(24, 3, 2, "relu")
    net.max(3, 2)
    for outputs, count in zip(filters, (4, 8, 4), strict=True):
        _down(net, outputs // 2)
        for _ in range(count - 1):
            unchanged, other = net.halves()
            net.at(other)
            _branch(net, outputs // 2, 1)
            net.concat(unchanged, net.here)
            net.shuffle()
    net.conv(last, act="relu")
    net.classify(1000)


def _branch(net: Net, filters: int, stride: int) -> None:
    net.conv(filters, act="relu")
    net.depthwise(3, stride)
    net.conv(filters, act="relu")


def _down(net: Net, filters: int) -> None:
    """Add a block that halves rows and columns; each of its two branches reads all channels."""
    start = net.here
    net.depthwise(3, 2)
    net.conv(filters, act="relu")
    first = net.here
    net.at(start)
    _branch(net, filters, 2)
    net.concat(first, net.here)
    net.shuffle()


def _make(name: str, width: Fraction) -> Architecture:
    filters, last = _FILTERS[width]
    layers = partial(_shufflenet, filters=filters, last=last)
    return Architecture(name, (224, 224, 3), "imagenet", "torchvision", layers)


def _family(width: str) -> NetworkFamily:
    name = f"shufflenet_v2_{width}"
    return NetworkFamily(name, (name,), partial(_make, width=Fraction(width)))


FAMILIES = tuple(_family(width) for width in ("0.5", "1.0", "1.5", "2.0"))
