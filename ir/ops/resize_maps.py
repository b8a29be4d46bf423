"""Tables of indices and weights for resizing along one axis.

Element o of the result is the sum over k of weights[o, k] * x[indices[o, k]]. Coordinates are
rounded to float32 (in `fixed_point`, to fixed-point integers), as in ONNX Runtime and TFLite, so
that the neighbours are the same as there.
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
"""The number of fraction bits of the weights and coordinates in `fixed_point`."""

_F32 = np.float32


@dataclass(frozen=True, slots=True)
class AxisRule:
    """The rule by which an axis of `extent` elements is resized to `size` elements.

    `scale` is size / extent as stated by the model; None if the model does not state it. `region`
    is (start, end) of the part that `tf_crop_and_resize` resizes: 0 stands for the first element
    of the axis, 1 for the last.
    """

    extent: int
    size: int
    scale: float | None
    coordinates: str
    region: tuple[float, float] = (0.0, 1.0)

    @property
    def stretch(self) -> float:
        """`scale`, or size / extent if `scale` is None."""
        return self.size / self.extent if self.scale is None else self.scale

    def positions(self) -> Array:
        """The coordinate in x of every element of the result, float32; some may be outside x.

        The formulas are those of onnxruntime (`get_original_coordinate` in `upsamplebase.h`).
        PyTorch uses the same formulas for the kinds of coordinates that it supports. The formulas
        use `size`, the number of elements of the result, even if extent x scale is not an integer.
        With the scale 1, element i of the result has the coordinate i, whatever `coordinates` is.
        """
        index = np.arange(self.size, dtype=_F32)
        if self.stretch == 1:
            return index
        extent, size, half = _F32(self.extent), _F32(self.size), _F32(0.5)
        match self.coordinates:
            case "asymmetric":
                return self._stepped(index)
            case "tf_half_pixel_for_nn":
                return self._stepped(index + half)
            case "tf_crop_and_resize":
                return self._cropped(index)
            case "align_corners" | "pytorch_half_pixel" if self.size == 1:
                return np.zeros_like(index)
            case "align_corners" if self.scale is None:
                return np.asarray(index * ((extent - 1) / (size - 1)), _F32)
            case "align_corners":
                return np.asarray(index * (extent - 1) / (size - 1), _F32)
            case "half_pixel_symmetric":
                return self._symmetric(index)
        return np.asarray(self._stepped(index + half) - half, _F32)

    def _cropped(self, index: Array) -> Array:
        """Coordinates for `tf_crop_and_resize`: from the start of the region to its end.

        A single coordinate is the middle of the region.
        """
        first, last = (_F32(r) for r in self.region)
        span = _F32(self.extent - 1)
        if self.size == 1:
            return np.full_like(index, (first + last) * span / 2)
        within = index * (last - first) * span / _F32(self.size - 1)
        return np.asarray(first * span + within, _F32)

    def _symmetric(self, index: Array) -> Array:
        """Coordinates for `half_pixel_symmetric`.

        If size is less than extent x scale, both sides are cropped equally. The sum is computed in
        float64 and rounded once, as in onnxruntime, since its rounding decides ties.
        """
        extent, scale = _F32(self.extent), _F32(self.stretch)
        offset = extent / 2 * (1 - _F32(self.size) / (scale * extent))
        at = np.float64(offset) + (index.astype(np.float64) + 0.5) / np.float64(scale) - 0.5
        return np.asarray(at, _F32)

    def _stepped(self, index: Array) -> Array:
        """Coordinates in the result converted to coordinates in x by the scale alone."""
        if self.scale is None:
            return np.asarray(index * (_F32(self.extent) / _F32(self.size)), _F32)
        return np.asarray(index / _F32(self.scale), _F32)

    def outside(self) -> Array:
        """A mask of coordinates outside x for `tf_crop_and_resize`; otherwise all false."""
        at = self.positions()
        beyond: Array = (at < 0) | (at > self.extent - 1)
        return beyond & (self.coordinates == "tf_crop_and_resize")


@dataclass(frozen=True, slots=True)
class AxisTable:
    """`indices` and `weights` of the taps, both [size, taps]."""

    indices: Array
    weights: Array

    def is_identity(self, extent: int) -> bool:
        """Whether the table leaves an axis of `extent` elements unchanged."""
        size, taps = self.indices.shape
        same = np.arange(extent)
        one = self.weights.reshape(-1)[:1]
        return (
            taps == 1
            and size == extent
            and bool((self.indices[:, 0] == same).all() and (self.weights == one).all())
        )


def nearest(rule: AxisRule, rounding: str) -> AxisTable:
    """The table that selects the nearest element.

    As in onnxruntime, 0.5 is added in float32, which rounds; so `round_prefer_ceil` rounds even
    0.49999997 up.
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
    indices = _clamped(chosen, rule.extent)[:, None]
    return AxisTable(indices, np.ones(indices.shape))


def taps(is_cubic: bool, shrink: float) -> int:
    """The number of elements in the interpolation kernel after widening it by 1 / `shrink`."""
    return 2 * ceil((2 if is_cubic else 1) / shrink)


def interpolated(
    rule: AxisRule, cubic: float | None, *, exclude_outside: bool, antialias: bool
) -> AxisTable:
    """The table for linear interpolation, or for cubic with the coefficient a = `cubic`; float64.

    With `antialias`, an axis whose extent does not change is not interpolated, even if `scale` is
    not 1, as in onnxruntime (`upsample_antialias.h`) and PyTorch. A result whose taps are all
    outside x is 0 with `antialias`, otherwise NaN (0 / 0) with `exclude_outside`.
    """
    if antialias and rule.size == rule.extent:
        return AxisTable(np.arange(rule.size, dtype=np.int32)[:, None], np.ones((rule.size, 1)))
    at = rule.positions().astype(np.float64)
    shrink = min(1.0, rule.stretch) if antialias else 1.0
    reach = taps(cubic is not None, shrink) // 2
    base = np.floor(at)
    indices = base[:, None] + np.arange(1 - reach, reach + 1)
    distance = np.abs(indices - at[:, None]) * shrink
    weights = _hat(distance) if cubic is None else _cubic(distance, cubic)
    outside = (indices < 0) | (indices > rule.extent - 1)
    if exclude_outside:
        weights = np.where(outside, 0.0, weights)
    elif antialias:
        weights = np.where(outside.all(1, keepdims=True), 0.0, weights)
    total = weights.sum(1, keepdims=True)
    nothing = 1.0 if antialias else np.nan
    weights = weights / np.where(total == 0, nothing, total)
    return _without_zeros(_pruned(AxisTable(_clamped(indices, rule.extent), weights)))


def neighbours(rule: AxisRule) -> tuple[AxisTable, AxisTable]:
    """Two tables, as in TFLite: the lower and the upper neighbour of every coordinate, float32.

    At an edge, both may be the same element, with weights outside 0..1.
    """
    at = rule.positions()
    lower = _clamped(np.floor(at), rule.extent)
    upper = _clamped(np.ceil(at), rule.extent)
    part = np.asarray(at - lower.astype(_F32), _F32)
    first = np.asarray(_F32(1) - part, _F32)
    return AxisTable(lower[:, None], first[:, None]), AxisTable(upper[:, None], part[:, None])


def fixed_point(rule: AxisRule) -> AxisTable:
    """The table for linear interpolation of integers, as in TFLite's reference kernel.

    Weights are fixed-point integers with `FIXED_BITS` fraction bits, and so is the step from one
    coordinate to the next.
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
    """Coordinates converted to indices and clamped to the axis; NaN becomes 0."""
    inside: Array = np.clip(np.nan_to_num(indices), 0, extent - 1).astype(np.int32)
    return inside


def _without_zeros(table: AxisTable) -> AxisTable:
    """Let taps of weight 0 read the element of the heaviest tap, with 2^-64 of its weight.

    Rounding removes such a product, unless the element is infinite; then the product is infinite,
    too, whereas 0 times infinity would be NaN. So a coordinate exactly at an element gives that
    element, as in onnxruntime's linear kernels.
    """
    heaviest = np.abs(table.weights).argmax(1)[:, None]
    index, weight = (np.take_along_axis(a, heaviest, 1) for a in (table.indices, table.weights))
    unused = table.weights == 0
    return AxisTable(
        np.where(unused, index, table.indices),
        np.where(unused, weight * 2.0**-64, table.weights),
    )


def _pruned(table: AxisTable) -> AxisTable:
    """Merge adjacent taps that read the same element, and drop taps of weight 0.

    Results with fewer taps than others keep taps of weight 0 at the end.
    """
    taps = table.indices.shape[1]
    weights, indices = table.weights.copy(), table.indices.astype(np.int32)
    for tap in range(1, taps):
        same = indices[:, tap] == indices[:, tap - 1]
        weights[:, tap] += np.where(same, weights[:, tap - 1], 0)
        weights[:, tap - 1] = np.where(same, 0, weights[:, tap - 1])
    # Put taps of weight 0 last, and let them read the first tap's element.
    order = np.argsort(weights == 0, axis=1, kind="stable")
    weights = np.take_along_axis(weights, order, 1)
    indices = np.take_along_axis(indices, order, 1)
    indices = np.where(weights == 0, indices[:, :1], indices)
    used = max(1, int((weights != 0).sum(1).max(initial=1)))
    return AxisTable(np.asarray(indices[:, :used], order="C"), weights[:, :used].copy())
