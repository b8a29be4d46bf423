"""Seeded random numbers that are the same on every machine and with every version of numpy.

numpy guarantees that the raw bits of its generators stay the same, but not its distributions. So
normally distributed numbers are computed here, each as the sum of four random 16-bit numbers. The
distribution of such a sum is close to a normal distribution within +-3.5 standard deviations. The
sum of integers is exact, and scaling it needs only one rounding.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
from numpy.typing import NDArray

from ellc.ir.types import Array
from ellc.ir.weights import KEY_BYTES, WeightPool

_CHUNK = 1 << 20
_TERMS = 4
_CENTRE = _TERMS * 0xFFFF // 2
_DEVIATION = math.sqrt(_TERMS * (0x10000**2 - 1) / 12)


class Draws:
    """A stream of random numbers, which depends on a seed, a network and a layer."""

    def __init__(self, seed: int, network: str) -> None:
        self._seed = seed
        self._network = zlib.crc32(network.encode())
        self.restart(0)

    def restart(self, layer: int) -> None:
        """Begin the stream of a layer, which does not depend on numbers that were drawn before."""
        key = (self._network, layer)
        self._bits = np.random.PCG64(np.random.SeedSequence(self._seed, spawn_key=key))

    def normal(self, shape: tuple[int, ...], deviation: float, mean: float = 0.0) -> Array:
        """Draw normally distributed float32 numbers."""
        count = math.prod(shape)
        numbers = np.empty(count, np.float32)
        scale = np.float32(deviation / _DEVIATION)
        for start in range(0, count, _CHUNK):
            size = min(_CHUNK, count - start)
            parts = self._raw(size).view("<u2").reshape(size, _TERMS)
            # The terms are added one by one, because numpy is slow at summing a short axis.
            total = parts[:, 0].astype(np.int32)
            for term in range(1, _TERMS):
                total += parts[:, term]
            numbers[start : start + size] = (total - _CENTRE).astype(np.float32) * scale
        if mean:
            numbers += np.float32(mean)
        return numbers.reshape(shape)

    def signs(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Draw signs with equal probability; True stands for +1."""
        count = math.prod(shape)
        octets = self._raw(-(-count // 64)).view(np.uint8)
        return np.unpackbits(octets, count=count).astype(np.bool_).reshape(shape)

    def _raw(self, count: int) -> NDArray[np.uint64]:
        raw: NDArray[np.uint64] = np.asarray(self._bits.random_raw(count), "<u8")
        return raw


class Blanks(Draws):
    """Weights of the right shapes without random numbers, for inspecting a network quickly.

    Every array is a view of a single zero: all its strides are 0.
    """

    def normal(self, shape: tuple[int, ...], deviation: float, mean: float = 0.0) -> Array:
        """An array of zeros: a view of a single zero."""
        return np.broadcast_to(np.float32(0), shape)

    def signs(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """An array of signs -1: a view of a single False."""
        return np.broadcast_to(np.False_, shape)


class BlankPool(WeightPool):
    """A weight pool that never merges equal arrays, since all blank arrays of a shape are equal."""

    def add(self, array: Array) -> str:
        """Add an array under a new key, even if the pool already has an equal array."""
        key = f"{len(self):0{2 * KEY_BYTES}x}"
        self._arrays[key] = array
        return key
