"""AlexNet and CaffeNet, as published with the Caffe framework.

Both take pictures of 227x227 pixels with the channels blue, green, red, and have 60,965,224
parameters (244 MB as float32). In AlexNet the local normalisation comes before the pooling, in
CaffeNet after it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ellc.ir.graph import Graph
from ellc.zoo.construction import LOGIT_SPREAD, ZooOptions
from ellc.zoo.gallery import Shape3
from ellc.zoo.layers import Chain
from ellc.zoo.widths import scaled

IMAGE: Shape3 = (227, 227, 3)
_MEAN = (104.0, 117.0, 123.0)
_CLASSES = 1000
_HIDDEN = 4096


@dataclass(frozen=True, slots=True)
class _Conv:
    filters: int
    window: int
    stride: int = 1
    pad: int = 0
    groups: int = 1
    normalized: bool = False
    pooled: bool = False


_CONVOLUTIONS = (
    _Conv(96, 11, stride=4, normalized=True, pooled=True),
    _Conv(256, 5, pad=2, groups=2, normalized=True, pooled=True),
    _Conv(384, 3, pad=1),
    _Conv(384, 3, pad=1, groups=2),
    _Conv(256, 3, pad=1, groups=2, pooled=True),
)


def build_alexnet(
    name: str, options: ZooOptions, metadata: dict[str, str], *, pool_first: bool
) -> Graph:
    """Build AlexNet, or CaffeNet if `pool_first`; `options.width` narrows the inner layers."""
    chain, width = Chain(name, IMAGE, options), options.width
    chain.begin("Minus")
    chain.subtract(_MEAN)
    for number, conv in enumerate(_CONVOLUTIONS, 1):
        # The number of filters is even, because the next layer may have two groups, which share the
        # channels equally.
        filters = scaled(conv.filters, width, 2)
        chain.begin(f"conv{number}")
        chain.convolution(filters, conv.window, conv.stride, conv.pad, conv.groups)
        chain.activation("ReLU")
        steps = [("norm", conv.normalized), ("pool", conv.pooled)]
        for step, wanted in reversed(steps) if pool_first else steps:
            if wanted:
                chain.begin(f"{step}{number}")
                _normalize_or_pool(chain, step)
    for number in (6, 7):
        chain.begin(f"fc{number}")
        chain.dense(scaled(_HIDDEN, width))
        chain.activation("ReLU")
        chain.dropout()
    chain.begin("fc8")
    chain.dense(_CLASSES, LOGIT_SPREAD)
    chain.begin("prob")
    chain.softmax()
    return chain.finish({"model.input.expectedColorChannelOrder": "bgr", **metadata})


def _normalize_or_pool(chain: Chain, step: str) -> None:
    if step == "norm":
        chain.normalize_locally(5, 1e-4, 0.75)
    else:
        chain.max_pool(3, 2)
