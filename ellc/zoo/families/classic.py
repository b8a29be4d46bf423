"""LeNet-5 and VGG-16: convolutions and pooling, then dense layers."""

from __future__ import annotations

from ellc.zoo.architecture import Architecture, NetworkFamily
from ellc.zoo.net import Net


def _lenet5(net: Net) -> None:
    net.conv(6, 5, act="tanh", norm=False)
    net.mean(2, 2)
    net.conv(16, 5, act="tanh", norm=False, pad="valid")
    net.mean(2, 2)
    net.dense(120, "tanh")
    net.dense(84, "tanh")
    net.dense(10, unscaled=True, logits=True)
    net.softmax()


def _vgg16(net: Net) -> None:
    for filters, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            net.conv(filters, 3, act="relu", norm=False)
        net.max(2, 2, pad="valid")
    net.dense(4096, "relu")
    net.dense(4096, "relu")
    net.dense(1000, unscaled=True, logits=True)
    net.softmax()


def _lenet(name: str) -> Architecture:
    return Architecture(name, (28, 28, 1), "unit", "LeCun and others, 1998", _lenet5)


def _vgg(name: str) -> Architecture:
    return Architecture(name, (224, 224, 3), "imagenet", "torchvision", _vgg16)


FAMILIES = (NetworkFamily("lenet5", ("lenet5",), _lenet), NetworkFamily("vgg16", ("vgg16",), _vgg))
