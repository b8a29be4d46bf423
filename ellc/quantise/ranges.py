"""Chooses the scale and zero point of each value and of each filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ellc.frontends.onnx.quantisation import Quantisation
from ellc.ir.types import Array, DType
from ellc.quantise.layers import Layer
from ellc.quantise.observers import Histogram

LOWEST, HIGHEST = -128, 127
"""The stored integers."""
_LEVELS = HIGHEST - LOWEST
_MOST_UNITS = 2.0**30
_SMALLEST_SCALE = 2.0**-100


def quantisation_of(low: float, high: float) -> Quantisation:
    """The scale and zero point with which stored integers cover `low` to `high`, and 0.

    Zero is exact, since padding adds zeros.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32(max((high - low) / _LEVELS, _SMALLEST_SCALE))
    zero = int(np.clip(np.rint(LOWEST - low / float(scale)), LOWEST, HIGHEST))
    return Quantisation(np.array([scale], np.float32), np.array([zero], np.int64), DType.I8)


def filter_scales(weights: Array, bias: Array | None, input_scale: float) -> Array:
    """A scale for each filter, the first axis, such that its largest weight is stored as 127.

    A filter with tiny weights and a large bias has a larger scale: its bias must fit in 32 bits.
    """
    largest = np.abs(weights.reshape(len(weights), -1)).max(1, initial=0.0).astype(np.float64)
    least = np.full(len(weights), _SMALLEST_SCALE)
    if bias is not None:
        least = np.maximum(least, np.abs(bias.astype(np.float64)) / input_scale / _MOST_UNITS)
    scales: Array = np.maximum(largest / HIGHEST, least).astype(np.float32)
    return scales


def shared(layers: Sequence[Layer]) -> Mapping[str, str]:
    """Values that must have equal scales and zero points have the same representative."""
    parents: dict[str, str] = {}

    def root(value: str) -> str:
        while (parent := parents.get(value, value)) != value:
            value = parent
        return value

    for layer in layers:
        if layer.keeps_scale:
            first, *others = (*layer.operands, *layer.results)
            for other in others:
                parents[root(other)] = root(first)
    return {v: root(v) for layer in layers for v in (*layer.operands, *layer.results)}


def joined_histograms(
    representatives: Mapping[str, str], histograms: Mapping[str, Histogram]
) -> dict[str, Histogram]:
    """For each representative, the numbers of all values that it stands for."""
    joined: dict[str, Histogram] = {}
    for value, of in representatives.items():
        own = histograms[value]
        joined[of] = joined[of].joined(own) if of in joined else own
    return joined
