"""The network, in PyTorch: with float convolutions, or with products of signs.

Both have the same layers. In the binary network, all convolutions except the first one multiply
signs, so that their products are bits. The first convolution, batch norms and the last layer stay
float: they have few products, and they lose most from rounding to one bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

SMALLEST = 2
"""Blocks halve the picture until it has at most this many rows."""


def sign(x: Tensor) -> Tensor:
    """1 where x is above 0, and -1 elsewhere.

    A sign has no useful gradient. In training, the gradient is that of the identity, except where
    |x| > 1 (the straight-through estimator of Hubara et al., "Binarized Neural Networks", 2016).
    """
    hard = torch.where(x > 0, 1.0, -1.0)
    if not torch.is_grad_enabled():
        return hard
    soft = x.clamp(-1.0, 1.0)
    return soft + (hard - soft).detach()


class SignConvolution(nn.Conv2d):
    """A convolution of the signs of its input with the signs of its weights; zeros around it."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve [n, channels, rows, columns]."""
        weights = sign(self.weight)
        return nn.functional.conv2d(sign(x), weights, None, self.stride, self.padding)


def network(
    shape: Sequence[int], widths: Sequence[int], classes: int, *, binary: bool
) -> nn.Module:
    """An untrained network for pictures of `shape` (channels, rows, columns).

    `widths` are the channels of the first convolution and of each block; a block halves the
    picture. Activations come before a float convolution, or are the signs of a binary one.
    """
    channels, rows, columns = shape
    first = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
    layers: list[nn.Module] = [first, nn.BatchNorm2d(widths[0])]
    for before, after in pairwise(widths):
        if not binary:
            layers.append(nn.ReLU())
        kind = SignConvolution if binary else nn.Conv2d
        layers.append(kind(before, after, 3, padding=1, bias=False))
        layers += [nn.MaxPool2d(2), nn.BatchNorm2d(after)]
        rows, columns = rows // 2, columns // 2
    return nn.Sequential(
        *layers, nn.ReLU(), nn.Flatten(), nn.Linear(widths[-1] * rows * columns, classes)
    )


def usual_widths(rows: int) -> list[int]:
    """Channels that double with every second block; the larger the picture, the more there are."""
    first = 2 * rows
    widths = [first]
    while rows > SMALLEST:
        widths.append(first << (len(widths) + 1) // 2)
        rows //= 2
    return widths
