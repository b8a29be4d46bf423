"""Computes the expected mean and variance of a network's values, by channel, without running it.

The weights of a trained network keep its values in a reasonable range. To get this with seeded
weights, the statistics of each layer are computed from the statistics of the previous layer, as if
values were normally distributed. Biases and batch normalisation are then chosen by these
statistics. The pixels of a channel are neither equal nor independent, so half of their variance is
assumed to be common to all pixels of a window.

All arithmetic is in double precision, and weights are rounded to float32 afterwards. So the last
digits, which may differ between machines, do not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ellc.ir.types import Array

Doubles = NDArray[np.float64]

COMMON = 0.5
"""The fraction of a channel's variance that is common to all pixels of a window."""

# By n: the mean and the variance of the largest of n independent standard normal numbers.
_LARGEST = {1: (0.0, 1.0), 4: (1.02938, 0.49172), 9: (1.48501, 0.35735), 25: (1.96531, 0.25851)}
_ROWS_AT_ONCE = 64
# Points at which functions of a standard normal number are sampled, with their weights.
_POINTS = np.arange(-16, 17) / 4
_SHARES = np.exp(-(_POINTS**2) / 2) / np.exp(-(_POINTS**2) / 2).sum()


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """The mean and the variance of every channel, float64 [C].

    The methods whose descriptions begin with "After" return the moments after an operation on the
    values.
    """

    mean: Doubles
    variance: Doubles

    @staticmethod
    def of(channels: int, mean: float, deviation: float) -> Moments:
        """Moments with the same mean and standard deviation for all channels."""
        return Moments(np.full(channels, mean), np.full(channels, deviation**2))

    @property
    def power(self) -> float:
        """The mean square of the values of all channels."""
        return float(np.mean(self.mean**2 + self.variance))

    @property
    def spread(self) -> float:
        """The standard deviation of all values from the means of their channels."""
        return math.sqrt(float(np.mean(self.variance)))

    def plus(self, offset: Array) -> Moments:
        """After adding a number to each channel."""
        return Moments(self.mean + offset, self.variance)

    def times(self, scale: Array) -> Moments:
        """After multiplying each channel by a number."""
        factor = scale.astype(np.float64)
        return Moments(self.mean * factor, self.variance * factor**2)

    def rectified(self, slope: Array | float = 0.0) -> Moments:
        """After max(x, 0) + slope * min(x, 0)."""
        deviation = np.sqrt(self.variance)
        share, density = self._above_zero()
        positive = self.mean * share + deviation * density
        square = (self.mean**2 + self.variance) * share + self.mean * deviation * density
        leak = np.asarray(slope, np.float64)
        mean = positive + leak * (self.mean - positive)
        power = square + leak**2 * (self.mean**2 + self.variance - square)
        return Moments(mean, np.maximum(power - mean**2, 0.0))

    def signs(self) -> Moments:
        """After taking the signs: +1 for values above zero, otherwise -1."""
        share, _ = self._above_zero()
        mean = 2 * share - 1
        return Moments(mean, 1 - mean**2)

    def filtered(self, weights: Array, groups: int = 1) -> Moments:
        """After a convolution with weights [F, rows, columns, C / groups] (float or signs)."""
        filters = weights.shape[0]
        if not any(weights.strides):  # blank weights: see `draws.Blanks`
            return Moments.of(filters, 0.0, 1.0)
        group_of = np.arange(filters) // (filters // groups)
        mean, variance = (x.reshape(groups, -1) for x in (self.mean, self.variance))
        parts = []
        for start in range(0, filters, _ROWS_AT_ONCE):
            own = group_of[start : start + _ROWS_AT_ONCE] if groups > 1 else 0
            w = weights[start : start + _ROWS_AT_ONCE].astype(np.float64)
            sums = w.sum((1, 2))
            shared = COMMON * sums**2 + (1 - COMMON) * (w**2).sum((1, 2))
            # A matrix product would be faster, but its order of additions differs between machines.
            parts.append(((sums * mean[own]).sum(1), (shared * variance[own]).sum(1)))
        return Moments(np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]))

    def mapped(self, function: Callable[[Doubles], Doubles]) -> Moments:
        """After applying a function to each value."""
        values = function(self.mean + np.sqrt(self.variance) * _POINTS[:, None])
        mean = (values * _SHARES[:, None]).sum(0)
        return Moments(mean, (((values - mean) ** 2) * _SHARES[:, None]).sum(0))

    def summed(self, other: Moments) -> Moments:
        """After adding values that are independent of these."""
        return Moments(self.mean + other.mean, self.variance + other.variance)

    def multiplied(self, other: Moments) -> Moments:
        """After multiplying by values that are independent of these."""
        mean = self.mean * other.mean
        power = (self.mean**2 + self.variance) * (other.mean**2 + other.variance)
        return Moments(mean, np.maximum(power - mean**2, 0.0))

    def picked(self, channels: NDArray[np.intp] | slice) -> Moments:
        """The moments of the given channels, in the given order."""
        return Moments(self.mean[channels], self.variance[channels])

    @staticmethod
    def joined(parts: Sequence[Moments]) -> Moments:
        """After concatenating the channels of several values."""
        means, variances = [x.mean for x in parts], [x.variance for x in parts]
        return Moments(np.concatenate(means), np.concatenate(variances))

    def repeated(self, pixels: int) -> Moments:
        """After flattening an image with this number of pixels."""
        return Moments(np.tile(self.mean, pixels), np.tile(self.variance, pixels))

    def largest(self, cells: int) -> Moments:
        """After the maximum over this number of pixels: 1, 4, 9 or 25."""
        shift, shrink = _LARGEST[cells]
        own = 1 - COMMON
        mean = self.mean + shift * np.sqrt(own * self.variance)
        return Moments(mean, self.variance * (COMMON + own * shrink))

    def averaged(self, cells: int) -> Moments:
        """After the mean over this number of pixels."""
        return Moments(self.mean, self.variance * (COMMON + (1 - COMMON) / cells))

    def _above_zero(self) -> tuple[Doubles, Doubles]:
        """For each channel: the fraction of values above zero, and a density.

        The density is that of the standard normal distribution at mean / deviation.
        """
        ratio = self.mean / np.sqrt(np.maximum(self.variance, 1e-30))
        share = np.array([math.erfc(-r / math.sqrt(2)) / 2 for r in ratio])
        density = np.array([math.exp(-min(r * r / 2, 700)) for r in ratio]) / math.sqrt(2 * math.pi)
        return share, density
