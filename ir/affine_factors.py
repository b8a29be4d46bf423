"""Fixed-point factors of sums as float32 factors and offsets that give the same integers.

A requantisation is a monotone function from sums to a few integers, so its thresholds define it:
the smallest sum that gives k, for each k. A product and a sum in float32, rounded to an integer,
are monotone as well. Both give equal results for every sum of an interval if they agree at the ends
of the interval, and at each threshold in it and the sum below. So few sums have to be tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ellc.ir.types import Array

LARGEST = 2.0**21
"""The largest magnitude of a number before it is rounded; kernels may rely on it."""
_ULPS = 16
"""How far from the nearest float32 a factor is searched."""
_PLACES = (0.5, 0.3, 0.7, 0.1, 0.9)
"""Where in the interval of possible offsets an offset is tried."""
_STEPS = (0, 1, -1, 2, -2, 3, -3)
"""How far the number that is subtracted from sums is moved, which changes how products are rounded.
"""
_FIRST, _MANY = 5, 8
"""The search ends if after so many factors one in so many channels has none. MobileNet V2 with a
scale per channel is compiled in 2 s less: the layer of its 1001 classes has 1000 such channels."""
_HALF = 0.5


@dataclass(frozen=True, eq=False, slots=True)
class Sums:
    """The sums that a channel can have: `least` to `most`, int64 arrays with one per channel."""

    least: Array
    most: Array


@dataclass(frozen=True, eq=False, slots=True)
class AffineFactors:
    """Float32 factors and offsets, one per channel.

    The result is `(sum - centre) * factor + offset`, rounded to the nearest integer (halves to
    even), plus `middle`. If they are `apart`, the offset has the sign of the sum.
    """

    factor: Array
    offset: Array
    centre: Array
    middle: int
    apart: bool


@dataclass(frozen=True, eq=False, slots=True)
class _Limits:
    """Sums whose results must not be below (or above) an integer: int64 arrays [channels, sums].

    `holds` says which of them are limits. `other` has limits in the other direction.
    """

    sums: Array
    results: Array
    holds: Array


def affine_factors(
    scaled: Callable[[Array], Array],
    real: Array,
    sums: Sums,
    results: range,
    *,
    centred: bool,
    away: bool,
) -> AffineFactors | None:
    """Factors and offsets with which the clamped results are those of `scaled`, or None.

    `scaled` computes the exact results of sums [channels, n] (int32) and must not decrease; `real`
    are the factors, approximately, and at least 0. Results are clamped to `results`. If `centred`,
    a constant can be subtracted from sums of any channel, so that results are small. `away` says
    that `scaled` rounds away from zero; then sums of both signs need offsets of their own.
    """
    info = np.iinfo(np.int32)
    if (sums.least < info.min).any() or (sums.most > info.max).any() or len(results) < 2:
        return None
    apart = away and results[0] < 0
    middle = (results[0] + results[-1] + 1) // 2 if centred and not apart else 0
    centre = np.where(real > 0, np.rint(middle / np.where(real > 0, real, 1.0)), 0.0)
    is_far = (np.abs(centre) > 2**28) | (np.abs(sums.least - centre) > info.max)
    centre = np.where(is_far | (np.abs(sums.most - centre) > info.max), 0, centre).astype(np.int64)
    limits = _limits(scaled, real, sums, results)
    if limits is None:
        return None
    factor, offset = np.zeros((2, real.size), np.float32)
    open_ = np.arange(real.size)
    for step in _STEPS if centred and not apart else (0,):
        moved = centre[open_] + step
        below, above = (
            _Limits(x.sums[open_] - moved[:, None], x.results[open_] - middle, x.holds[open_])
            for x in limits
        )
        ends = np.stack([sums.least[open_], sums.most[open_]], axis=1) - moved[:, None]
        good, *pair = _searched(real[open_], below, above, ends, apart=apart)
        factor[open_[good]], offset[open_[good]] = (x[good] for x in pair)
        centre[open_[good]] = moved[good]
        open_ = open_[~good]
        if not open_.size:
            return AffineFactors(factor, offset, centre, middle, apart)
        if _are_many(open_.size, real.size):
            break
    return None


def _are_many(left: int, channels: int) -> bool:
    """Whether so many channels are left that one of them will have no factor."""
    return left > max(1, channels // _MANY)


def _searched(
    real: Array, below: _Limits, above: _Limits, ends: Array, *, apart: bool
) -> tuple[Array, Array, Array]:
    """(channels for which they are found, factors, offsets)."""
    factor, offset = np.zeros((2, real.size), np.float32)
    found = np.zeros(real.size, bool)
    for index, tried in enumerate(_near(real)):
        if index == _FIRST and _are_many(int((~found).sum()), real.size):
            break
        for place in _PLACES:
            at = np.flatnonzero(~found)
            if not at.size:
                return found, factor, offset
            first, second = (
                _Limits(x.sums[at], x.results[at], x.holds[at]) for x in (below, above)
            )
            constant = _offsets(tried[at], first, second, place, apart=apart)
            good = _agrees(tried[at], constant, first, second, ends[at], apart=apart)
            factor[at[good]], offset[at[good]] = tried[at][good], constant[good]
            found[at[good]] = True
    return found, factor, offset


def _limits(
    scaled: Callable[[Array], Array], real: Array, sums: Sums, results: range
) -> tuple[_Limits, _Limits] | None:
    """(sums whose results must not be below, sums whose results must be below) an integer."""
    whole = np.array(results[1:], np.int64)[None, :]
    info = np.iinfo(np.int32)
    wanted, factor = whole - _HALF, real[:, None]
    near = np.where(factor > 0, wanted / np.where(factor > 0, factor, 1.0), wanted * np.inf)
    # Two steps of rounding move a threshold by at most one sum.
    first = np.clip(np.rint(near), info.min + 4, info.max - 4).astype(np.int64) - 3
    threshold = first + sum(
        (scaled((first + step).astype(np.int32)) < whole).astype(np.int64) for step in range(7)
    )
    inside = (threshold > sums.least[:, None]) & (threshold <= sums.most[:, None])
    is_threshold = (scaled(threshold.astype(np.int32)) >= whole) & (
        scaled((threshold - 1).astype(np.int32)) < whole
    )
    if not (is_threshold | ~inside).all():
        return None
    low, high = (
        np.clip(scaled(x.astype(np.int32)[:, None]), results[0], results[-1]).astype(np.int64)
        for x in (sums.least, sums.most)
    )
    wide = np.broadcast_to(whole, threshold.shape)
    return (
        _Limits(
            np.hstack([threshold, sums.least[:, None]]),
            np.hstack([wide, low]),
            np.hstack([inside, low > results[0]]),
        ),
        _Limits(
            np.hstack([threshold - 1, sums.most[:, None]]),
            np.hstack([wide, high + 1]),
            np.hstack([inside, high < results[-1]]),
        ),
    )


def _near(real: Array) -> Iterator[Array]:
    """The nearest float32 numbers, then their neighbours, in the order of their distance."""
    nearest = real.astype(np.float32)
    yield nearest
    bits = nearest.view(np.int32)
    for distance in range(1, _ULPS + 1):
        for moved in (bits + distance, bits - distance):
            yield np.where(nearest > 0, moved, bits).astype(np.int32).view(np.float32)


def _offsets(factor: Array, below: _Limits, above: _Limits, place: float, *, apart: bool) -> Array:
    """Offsets in the interval that the limits leave for a factor; `place` is where in it."""
    least, most = np.full((2, factor.size), np.inf)
    least = -least
    for limit, sign in ((below, 1.0), (above, -1.0)):
        needed = limit.results - _HALF - limit.sums * factor.astype(np.float64)[:, None]
        # The offset of a negative sum is subtracted.
        mirrored = apart & (limit.sums < 0)
        value, direction = np.where(mirrored, -needed, needed), np.where(mirrored, -sign, sign)
        for way, pick in ((1.0, np.maximum), (-1.0, np.minimum)):
            held = limit.holds & (direction == way)
            bound = pick.reduce(np.where(held, value, -way * np.inf), axis=1)
            least, most = (
                (np.maximum(least, bound), most) if way > 0 else (least, np.minimum(most, bound))
            )
    # A bound itself may be a tie, so that an offset without a second bound keeps away from it.
    alone = np.where(np.isfinite(most), most - _HALF / 2, 0.0)
    low = np.where(np.isfinite(least), least, alone)
    high = np.where(np.isfinite(most), np.where(np.isfinite(least), most, alone), low + _HALF)
    return (low + (high - low) * place).astype(np.float32)


def _agrees(
    factor: Array, offset: Array, below: _Limits, above: _Limits, ends: Array, *, apart: bool
) -> Array:
    """For each channel, whether its results obey all limits, rounded once or twice."""
    good = np.ones(factor.size, bool)
    for fused in (True, False):
        pair = factor[:, None], offset[:, None]
        size = np.abs(_moved(ends, *pair, fused=fused, apart=apart))
        low = np.rint(_moved(below.sums, *pair, fused=fused, apart=apart)) < below.results
        high = np.rint(_moved(above.sums, *pair, fused=fused, apart=apart)) >= above.results
        good &= (size <= LARGEST).all(axis=1)
        good &= ~(low & below.holds).any(axis=1) & ~(high & above.holds).any(axis=1)
    return good


def _moved(sums: Array, factor: Array, offset: Array, *, fused: bool, apart: bool) -> Array:
    """`sums * factor + offset` in float32, rounded once (`fused`) or twice."""
    x = sums.astype(np.float32)
    constant = np.copysign(offset, x) if apart else offset
    if not fused:
        return np.asarray(x * factor + constant)
    product = x.astype(np.float64) * factor.astype(np.float64)
    return np.asarray((product + constant.astype(np.float64)).astype(np.float32))
