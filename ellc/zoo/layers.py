"""Builds a chain of layers with seeded weights that have the scale of trained weights.

The scales are chosen by the expected statistics of the values. So the operand of every binarisation
has both signs, and the operand of a softmax gives probabilities that differ but are not close to 1.
"""

from __future__ import annotations

import math

import numpy as np

from ellc.frontends.ell.lower.buffers import FLT_MAX
from ellc.ir.ops.binary import Binarize, BinaryConv2D
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.norm import LRN, Dropout
from ellc.ir.ops.pointwise import LeakyRelu, Relu
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.reduce import Softmax
from ellc.ir.types import Array, DType, Padding
from ellc.zoo.construction import Construction
from ellc.zoo.gallery import LEAKY_SLOPE
from ellc.zoo.moments import Moments


class Chain(Construction):
    """A chain of layers; its input consists of pixels from 0 to 255."""

    def convolution(
        self,
        filters: int,
        window: int,
        stride: int = 1,
        pad: int = 0,
        groups: int = 1,
        spread: float = 0.0,
    ) -> None:
        """Add a convolution with a bias.

        Weights have He's scale. If `spread` is not 0, they are scaled so that the results have this
        standard deviation.
        """
        weights, after = self._drawn(filters, (window, window), groups)
        op = Conv2D((stride, stride), Padding.same(pad) if pad else Padding(), groups=groups)
        weights, after = _rescaled(weights, after, spread)
        self._add(op, weights)
        self._moments = after
        self.centre()

    def binary_convolution(self, filters: int, window: int, pad: int) -> None:
        """Add a convolution of the values' signs with weights +1 and -1, without scale and bias."""
        weights = self._draws.signs((filters, window, window, self.shape[2]))
        op = BinaryConv2D((1, 1), Padding.same(pad) if pad else Padding())
        self._value = self._builder.add(Binarize(), self._value, source=self._source)
        bits = self._builder.constant(weights, DType.BIT)
        self._value = self._builder.add(op, self._value, bits, source=self._source)
        self._moments = self._moments.signs().filtered(np.where(weights, 1.0, -1.0))

    def dense(self, outputs: int, spread: float = 0.0) -> None:
        """Add a dense layer on the whole image, with a bias; `spread` is as in `convolution`."""
        rows, columns, channels = self.shape
        inputs = rows * columns * channels
        weights = self._draws.normal((outputs, inputs), math.sqrt(2 / inputs))
        after = self._moments.repeated(rows * columns).filtered(weights[:, None, None])
        weights, after = _rescaled(weights, after, spread)
        self._reshape((1, inputs))
        self._add(Dense(), weights)
        self._reshape((1, 1, 1, outputs))
        self._moments = after
        self.centre()

    def activation(self, name: str) -> None:
        """Add an activation: `ReLU`, `LeakyReLU`, or nothing for an empty name."""
        match name:
            case "":
                return
            case "ReLU":
                self._add(Relu())
                self._moments = self._moments.rectified()
            case "LeakyReLU":
                slope = float(np.float32(LEAKY_SLOPE))  # `.ell` archives store float32
                self._add(LeakyRelu(slope))
                self._moments = self._moments.rectified(slope)
            case _:
                raise ValueError(f"no activation called {name}")

    def max_pool(self, window: int, stride: int, pad: int = 0, *, beyond: int = 0) -> None:
        """Add a maximum over windows, which may extend `beyond` pixels further right and down."""
        # ELL's files have this padding value, so writing and reading a network does not change it.
        padding = Padding(pad, pad, pad + beyond, pad + beyond, (-FLT_MAX,))
        self._add(MaxPool2D((window, window), (stride, stride), padding))
        self._moments = self._moments.largest(window * window)

    def mean_pool(self, window: int, stride: int) -> None:
        """Add a mean over windows inside the image."""
        self._add(AvgPool2D((window, window), (stride, stride)))
        self._moments = self._moments.averaged(window * window)

    def normalize_locally(self, size: int, alpha: float, beta: float) -> None:
        """Add local response normalisation across `size` neighbouring channels."""
        self._add(LRN(size, alpha, beta))
        self._moments = self._moments.times(
            np.full(self.shape[2], (1 + alpha * self._moments.power) ** -beta)
        )

    def dropout(self) -> None:
        """Add a dropout layer, which does nothing in inference."""
        self._add(Dropout())

    def softmax(self) -> None:
        """Add a softmax, which makes probabilities of the classes."""
        axes = tuple(axis for axis, size in enumerate(self._value.type.shape) if size > 1)
        self._add(Softmax(axes or (3,)))


def _rescaled(weights: Array, after: Moments, spread: float) -> tuple[Array, Moments]:
    """Scale weights, and the statistics of the results, to the standard deviation `spread`.

    They are unchanged if `spread` is 0.
    """
    if not spread:
        return weights, after
    factor = np.float32(spread / after.spread)
    return weights * factor, after.times(np.full(after.mean.shape, factor))
