"""Ways to choose the range of numbers that the stored integers of a value stand for.

A smaller range has smaller steps, but saturates more numbers. Each way takes a histogram of the
value and returns the lowest and the highest number of the range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from ellc.ir.types import Array
from ellc.quantise.observers import Histogram

Range = tuple[float, float]
_OUTSIDE = 1e-4
"""The fraction of numbers that `percentile` leaves outside, at both ends together."""
_SHRINKING = np.linspace(1.0, 0.1, 46)
"""The fractions of an end of the whole range that a search tries."""
_LEVELS = 255


def whole(seen: Histogram) -> Range:
    """From the smallest to the largest number."""
    return seen.low, seen.high


def percentile(seen: Histogram) -> Range:
    """Without the outermost numbers, which may be rare exceptions."""
    below = np.cumsum(seen.counts) / seen.counts.sum()
    half = seen.width / 2
    first = int(np.searchsorted(below, _OUTSIDE / 2))
    last = int(np.searchsorted(below, 1 - _OUTSIDE / 2))
    low, high = seen.centres[first] - half, seen.centres[min(last, len(below) - 1)] + half
    return max(seen.low, float(low)), min(seen.high, float(high))


def least_squares(seen: Histogram) -> Range:
    """The range with the smallest mean square of rounding and saturation."""
    return _searched(seen, _squares)


def entropy(seen: Histogram) -> Range:
    """The range whose integers tell most about the numbers: the smallest divergence of the rounded
    histogram from the original one."""
    return _searched(seen, _divergence)


METHODS: Mapping[str, Callable[[Histogram], Range]] = MappingProxyType(
    {"min-max": whole, "percentile": percentile, "mse": least_squares, "entropy": entropy}
)
"""Every way by its name on the command line."""


def _searched(seen: Histogram, cost: Callable[[Array, Array, float, float], float]) -> Range:
    """Shrink the upper end, and then the lower end, to where the cost is smallest."""
    used = np.nonzero(seen.counts)[0]
    part = slice(used[0], used[-1] + 1)
    centres, counts = seen.centres[part], seen.counts[part].astype(np.float64)
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    for _ in range(2 if low < 0 < high else 1):
        if high > 0:
            high = _best(
                [(low, max(seen.high, 0.0) * f) for f in _SHRINKING], cost, centres, counts
            )[1]
        if low < 0:
            low = _best(
                [(min(seen.low, 0.0) * f, high) for f in _SHRINKING], cost, centres, counts
            )[0]
    return low, high


def _best(
    ranges: list[Range],
    cost: Callable[[Array, Array, float, float], float],
    centres: Array,
    counts: Array,
) -> Range:
    return min(ranges, key=lambda ends: cost(centres, counts, *ends))


def _squares(centres: Array, counts: Array, low: float, high: float) -> float:
    step = (high - low) / _LEVELS
    if step <= 0:
        return np.inf
    rounded = np.clip(np.rint((centres - low) / step), 0, _LEVELS) * step + low
    return float((counts * (centres - rounded) ** 2).sum())


def _divergence(centres: Array, counts: Array, low: float, high: float) -> float:
    """Kullback and Leibler's divergence of the histogram from what its integers tell.

    Numbers outside the range count at its ends. The rounded histogram spreads the count of each
    integer evenly over the bins that have numbers.
    """
    step = (high - low) / _LEVELS
    if step <= 0:
        return np.inf
    level = np.clip(np.rint((centres - low) / step), 0, _LEVELS).astype(np.int64)
    inside = (centres >= low - step / 2) & (centres <= high + step / 2)
    wanted = np.where(inside, counts, 0.0)
    first, last = np.argmax(inside), len(inside) - 1 - np.argmax(inside[::-1])
    if not inside.any():
        return np.inf
    wanted[first] += counts[:first].sum()
    wanted[last] += counts[last + 1 :].sum()
    known = inside & (counts > 0)
    totals = np.bincount(level, np.where(known, counts, 0.0), _LEVELS + 1)
    bins = np.bincount(level, known, _LEVELS + 1)
    told = np.where(known, totals[level] / np.maximum(bins[level], 1), 0.0)
    p, q = wanted / wanted.sum(), told / max(told.sum(), 1.0)
    used = p > 0
    return float((p[used] * np.log(p[used] / np.maximum(q[used], 1e-12))).sum())
