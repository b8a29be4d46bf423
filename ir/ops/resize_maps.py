"""Which elements of an axis make each element of a resized one, and with what weights.

Everything that resizing does along one axis is a table: element o of the result is the sum over k
of weights[o, k] * x[indices[o, k]]. Coordinates are computed in float32, as runtimes compute them,
so that roundings which decide between neighbours fall the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from ellc.ir.types import Array

COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
)
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
FIXED_BITS = 10
"""Fraction bits of the weights with which integers are interpolated."""

_F32 = np.float32


@dataclass(frozen=True, slots=True)
class AxisRule:
    """How one axis of `extent` elements becomes one of `size`.

    `scale` is size / extent as a model states it, None if it follows from both. `region` is the
    part of the axis, from first to last element, that `tf_crop_and_resize` enlarges.
    """

    extent: int
    size: int
    scale: float | None
    coordinates: str
    region: tuple[float, float] = (0.0, 1.0)

    @property
    def stretch(self) -> float:
        """Size in units of the extent."""
        return self.size / self.extent if self.scale is None else self.scale

    def positions(self) -> Array:
        """For every element of the result the place in x, float32; it may lie outside.

        The formulas are onnxruntime's (`get_original_coordinate` in its `upsamplebase.h`), which
        are PyTorch's where both have a mode: the length of the result is its number of elements,
        also where extent x scale is not a whole number, and an axis of scale 1 stays as it is.
        """
        place = np.arange(self.size, dtype=_F32)
        if self.stretch == 1:
            return place
        extent, size, half = _F32(self.extent), _F32(self.size), _F32(0.5)
        match self.coordinates:
            case "asymmetric":
                return self._stepped(place)
            case "tf_half_pixel_for_nn":
                return self._stepped(place + half)
            case "tf_crop_and_resize":
                return self._cropped(place)
            case "align_corners" | "pytorch_half_pixel" if self.size == 1:
                return np.zeros_like(place)
            case "align_corners" if self.scale is None:
                return np.asarray(place * ((extent - 1) / (size - 1)), _F32)
            case "align_corners":
                return np.asarray(place * (extent - 1) / (size - 1), _F32)
            case "half_pixel_symmetric":
                return self._symmetric(place)
        return np.asarray(self._stepped(place + half) - half, _F32)

    def _cropped(self, place: Array) -> Array:
        """Places between the first and the last element of the region."""
        first, last = (_F32(r) for r in self.region)
        span = _F32(self.extent - 1)
        if self.size == 1:
            return np.full_like(place, (first + last) * span / 2)
        within = place * (last - first) * span / _F32(self.size - 1)
        return np.asarray(first * span + within, _F32)

    def _symmetric(self, place: Array) -> Array:
        """Half pixels, cut off on both sides where the result is shorter than extent x scale.

        The sum is in double and rounded once: that decides what is a tie.
        """
        extent, scale = _F32(self.extent), _F32(self.stretch)
        offset = extent / 2 * (1 - _F32(self.size) / (scale * extent))
        at = np.float64(offset) + (place.astype(np.float64) + 0.5) / np.float64(scale) - 0.5
        return np.asarray(at, _F32)

    def _stepped(self, place: Array) -> Array:
        """Places in units of the result as places in units of x."""
        if self.scale is None:
            return np.asarray(place * (_F32(self.extent) / _F32(self.size)), _F32)
        return np.asarray(place / _F32(self.scale), _F32)

    def outside(self) -> Array:
        """Which positions lie outside of x; only `tf_crop_and_resize` treats these differently."""
        at = self.positions()
        beyond: Array = (at < 0) | (at > self.extent - 1)
        return beyond & (self.coordinates == "tf_crop_and_resize")


@dataclass(frozen=True, slots=True)
class AxisTable:
    """`indices` and `weights`, both [size, taps]; one tap of weight 1 is a choice."""

    indices: Array
    weights: Array

    def is_identity(self, extent: int) -> bool:
        """Whether it leaves an axis of `extent` elements as it is."""
        size, taps = self.indices.shape
        same = np.arange(extent)
        one = self.weights.reshape(-1)[:1]
        return (
            taps == 1
            and size == extent
            and bool((self.indices[:, 0] == same).all() and (self.weights == one).all())
        )


def nearest(rule: AxisRule, rounding: str) -> AxisTable:
    """One element each.

    Halves are added in single precision, as in onnxruntime: 0.49999997 is then a tie for
    `round_prefer_ceil`.
    """
    at = rule.positions()
    half = _F32(0.5)
    match rounding:
        case "floor":
            chosen = np.floor(at)
        case "ceil":
            chosen = np.ceil(at)
        case "round_prefer_ceil":
            chosen = np.floor(at + half)
        case _:
            chosen = np.ceil(at - half)
    found = _clamped(chosen, rule.extent)[:, None]
    return AxisTable(found, np.ones(found.shape))


def taps(is_cubic: bool, shrink: float) -> int:
    """Elements under the kernel; one that shrinks an axis by `shrink` is as much wider."""
    return 2 * ceil((2 if is_cubic else 1) / shrink)


def interpolated(
    rule: AxisRule, cubic: float | None, *, exclude_outside: bool, antialias: bool
) -> AxisTable:
    """Linear, or with `cubic` (the coefficient a) cubic interpolation; weights are float64.

    A smoothed axis whose length does not change stays as it is, whatever scale is stated: so do
    onnxruntime (`upsample_antialias.h`) and PyTorch. A result to which no element of x
    contributes is NaN, since it is 0 / 0; a smoothed one is 0, also if its taps read only copies of
    the edge.
    """
    if antialias and rule.size == rule.extent:
        return AxisTable(np.arange(rule.size, dtype=np.int32)[:, None], np.ones((rule.size, 1)))
    at = rule.positions().astype(np.float64)
    shrink = min(1.0, rule.stretch) if antialias else 1.0
    reach = taps(cubic is not None, shrink) // 2
    base = np.floor(at)
    places = base[:, None] + np.arange(1 - reach, reach + 1)
    distance = np.abs(places - at[:, None]) * shrink
    weights = _hat(distance) if cubic is None else _cubic(distance, cubic)
    outside = (places < 0) | (places > rule.extent - 1)
    if exclude_outside:
        weights = np.where(outside, 0.0, weights)
    elif antialias:
        weights = np.where(outside.all(1, keepdims=True), 0.0, weights)
    total = weights.sum(1, keepdims=True)
    nothing = 1.0 if antialias else np.nan
    weights = weights / np.where(total == 0, nothing, total)
    return _without_zeros(_pruned(AxisTable(_clamped(places, rule.extent), weights)))


def neighbours(rule: AxisRule) -> tuple[AxisTable, AxisTable]:
    """The lower and the upper neighbour of every place with its weight, float32, as TFLite has it.

    At an edge both may be one element; the weights are then beside 0..1.
    """
    at = rule.positions()
    lower = _clamped(np.floor(at), rule.extent)
    upper = _clamped(np.ceil(at), rule.extent)
    part = np.asarray(at - lower.astype(_F32), _F32)
    first = np.asarray(_F32(1) - part, _F32)
    return AxisTable(lower[:, None], first[:, None]), AxisTable(upper[:, None], part[:, None])


def fixed_point(rule: AxisRule) -> AxisTable:
    """Linear interpolation as TFLite's reference kernel does it on integers.

    Weights are integers with `FIXED_BITS` fraction bits, and so is the step along the axis.
    """
    one = 1 << FIXED_BITS
    first, step = 0, 0
    if rule.coordinates == "align_corners" and rule.size > 1:
        step = (one * (rule.extent - 1) + (rule.size - 1) // 2) // (rule.size - 1)
    else:
        step = (one * rule.extent + rule.size // 2) // rule.size
    if rule.coordinates == "half_pixel":
        first = step // 2 - one // 2
    at = first + step * np.arange(rule.size, dtype=np.int64)
    lower = np.minimum(np.maximum(at, 0) // one, rule.extent - 1)
    upper = np.minimum(-(-at // one), rule.extent - 1)
    upper = np.maximum(upper, 0)
    part = at - one * lower
    return _pruned(AxisTable(np.stack([lower, upper], 1), np.stack([one - part, part], 1)))


def _hat(distance: Array) -> Array:
    hat: Array = np.maximum(1 - distance, 0.0)
    return hat


def _cubic(distance: Array, a: float) -> Array:
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def _clamped(indices: Array, extent: int) -> Array:
    """Positions clamped to the axis; NaN becomes 0."""
    inside: Array = np.clip(np.nan_to_num(indices), 0, extent - 1).astype(np.int32)
    return inside


def _without_zeros(table: AxisTable) -> AxisTable:
    """Taps of no weight become the heaviest again, with 2^-64 of its weight.

    Rounding to float32 or float64 loses such a product, and an infinity stays one, whereas 0 * inf
    would be NaN. So a position that lies on an element gives that element, as in onnxruntime's
    linear kernels.
    """
    heaviest = np.abs(table.weights).argmax(1)[:, None]
    index, weight = (np.take_along_axis(a, heaviest, 1) for a in (table.indices, table.weights))
    unused = table.weights == 0
    return AxisTable(
        np.where(unused, index, table.indices),
        np.where(unused, weight * 2.0**-64, table.weights),
    )


def _pruned(table: AxisTable) -> AxisTable:
    """Taps of one result that read the same element joined, and those of no weight left out."""
    taps = table.indices.shape[1]
    weights, indices = table.weights.copy(), table.indices.astype(np.int32)
    for tap in range(1, taps):
        same = indices[:, tap] == indices[:, tap - 1]
        weights[:, tap] += np.where(same, weights[:, tap - 1], 0)
        weights[:, tap - 1] = np.where(same, 0, weights[:, tap - 1])
    # Taps that count come first, the others read the first one's element.
    order = np.argsort(weights == 0, axis=1, kind="stable")
    weights = np.take_along_axis(weights, order, 1)
    indices = np.take_along_axis(indices, order, 1)
    indices = np.where(weights == 0, indices[:, :1], indices)
    used = max(1, int((weights != 0).sum(1).max(initial=1)))
    return AxisTable(np.asarray(indices[:, :used], order="C"), weights[:, :used].copy())
