"""Resizing with every rule for coordinates, compared with a formula for single elements.

The formula is onnxruntime's, and onnxruntime also computed the few stored results.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest

from ellc.ir.ops.resize import Resize
from ellc.ir.ops.resize_maps import COORDINATES, ROUNDINGS, AxisRule

F = np.float32
SCALES = (0.4, 0.5, 0.75, 1.0, 1.25, 10 / 7, 1.5, 2.0, 2.31)
EXTENTS = (1, 2, 3, 5, 7, 10)
REGION = (0.13, 0.81)


def place(rule: AxisRule, index: int) -> np.float32:
    """The coordinate in x of element `index` of the result, as in onnxruntime."""
    o, scale = F(index), F(rule.stretch)
    extent, size = F(rule.extent), F(rule.size)
    if scale == 1:
        return o
    match rule.coordinates:
        case "asymmetric":
            return o / scale
        case "tf_half_pixel_for_nn":
            return (o + F(0.5)) / scale
        case "pytorch_half_pixel" if rule.size == 1:
            return F(0)
        case "align_corners":
            return F(0) if rule.size == 1 else o * (extent - F(1)) / (size - F(1))
        case "half_pixel_symmetric":
            offset = float(extent / F(2) * (F(1) - size / (scale * extent)))
            return F(offset + (index + 0.5) / float(scale) - 0.5)
        case "tf_crop_and_resize":
            first, last = map(F, rule.region)
            if rule.size == 1:
                return F(0.5 * float(first + last) * float(extent - F(1)))
            step = o * (last - first) * (extent - F(1)) / (size - F(1))
            return first * (extent - F(1)) + step
    return (o + F(0.5)) / scale - F(0.5)


def chosen(at: float, rounding: str, extent: int) -> int:
    """The index of the nearest element; 0.5 is added in float32."""
    found = {
        "floor": math.floor(at),
        "ceil": math.ceil(at),
        "round_prefer_floor": math.ceil(F(at) - F(0.5)),
        "round_prefer_ceil": math.floor(F(at) + F(0.5)),
    }[rounding]
    return min(max(found, 0), extent - 1)


def blended(x: list[float], at: float) -> float:
    """Linear interpolation at a coordinate, which is first clamped to the axis."""
    at = min(max(at, 0.0), len(x) - 1.0)
    lower = min(int(at), len(x) - 1)
    upper = min(lower + 1, len(x) - 1)
    return x[lower] * (1 - (at - lower)) + x[upper] * (at - lower)


def curved(x: list[float], at: float, a: float, exclude: bool) -> float:
    """Cubic interpolation of four neighbours; those outside are copies of the edge, or left out."""
    total = weights = 0.0
    for tap in range(math.floor(at) - 1, math.floor(at) + 3):
        d = abs(at - tap)
        near, far = (a + 2) * d**3 - (a + 3) * d**2 + 1, a * (d**3 - 5 * d**2 + 8 * d - 4)
        weight = near if d <= 1 else far if d < 2 else 0.0
        if exclude and not 0 <= tap < len(x):
            continue
        total += weight * x[min(max(tap, 0), len(x) - 1)]
        weights += weight
    if exclude:
        return total / weights if weights else math.nan
    return total


def rules() -> Iterator[AxisRule]:
    """Rules with every kind of coordinates, with integer or fractional scales, or with sizes."""
    for coordinates, extent in itertools.product(COORDINATES, EXTENTS):
        region = REGION if "crop" in coordinates else (0.0, 1.0)
        for scale in SCALES:
            cut = int(np.floor(F(extent) * F(scale)))
            rounded = math.floor(extent * scale + 0.5)  # under `keep_aspect_ratio_policy`
            for size in {cut, rounded} - {0}:
                yield AxisRule(extent, size, float(F(scale)), coordinates, region)
        for size in (1, 4, 6, 13):
            yield AxisRule(extent, size, float(F(size) / F(extent)), coordinates, region)


def resized(rule: AxisRule, x: list[float], mode: str, **extra: object) -> np.ndarray:
    scales = () if rule.scale is None else (rule.scale,)
    roi = rule.region if "crop" in rule.coordinates else ()
    op = Resize((rule.size,), mode, rule.coordinates, scales, roi=roi, extrapolation=9.0, **extra)  # type: ignore[arg-type]
    return op.reference(np.array(x, np.float32))[0]


@pytest.mark.parametrize("mode", ["linear", "cubic", "cubic excluding", *ROUNDINGS])
def test_every_place_is_the_formula_s(mode: str) -> None:
    count = 0
    for rule in rules():
        x = np.random.default_rng(rule.extent).standard_normal(rule.extent).tolist()
        places = [float(place(rule, o)) for o in range(rule.size)]
        beyond = [p < 0 or p > rule.extent - 1 for p in places]
        if mode in ROUNDINGS:
            got = resized(rule, x, "nearest", rounding=mode)
            want = [x[chosen(p, mode, rule.extent)] for p in places]
        elif mode == "linear":
            got, want = resized(rule, x, mode), [blended(x, p) for p in places]
        else:
            exclude = mode != "cubic"
            got = resized(rule, x, "cubic", exclude_outside=exclude)
            want = [curved(x, p, -0.75, exclude) for p in places]
        if "crop" in rule.coordinates:
            want = [9.0 if out else w for out, w in zip(beyond, want, strict=True)]
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5, err_msg=f"{rule}")
        count += 1
    assert count > 400


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_an_infinity_met_exactly_stays_and_reaches_no_other_place(mode: str) -> None:
    count = 0
    for rule in rules():
        places = np.array([float(place(rule, o)) for o in range(rule.size)])
        inside = (places >= 0) & (places <= rule.extent - 1)
        roi = (0.0, rule.region[0], 1.0, rule.region[1]) if "crop" in rule.coordinates else ()
        scales = () if rule.scale is None else (1.0, rule.scale)
        op = Resize((rule.extent, rule.size), mode, rule.coordinates, scales, roi=roi)
        x = np.where(np.eye(rule.extent, dtype=bool), F(np.inf), F(1))  # each row has one infinity
        with np.errstate(invalid="ignore"):
            (got,) = op.reference(x)
        for o in np.flatnonzero(inside & (places == np.floor(places))):
            want = np.where(np.arange(rule.extent) == places[o], np.inf, 1)
            np.testing.assert_array_equal(got[:, o], want, err_msg=f"{rule}: {o}")
            count += 1
    assert count > 400


# (mode, coordinates, rounding, size of 0, 1, 2 .., scale) -> result, from onnxruntime 1.32.
STORED: list[tuple[str, str, str, int, float, list[float]]] = [
    ("linear", "align_corners", "", 5, 1.5, [0, 2 / 3, 4 / 3, 2, 8 / 3, 10 / 3, 4]),
    ("nearest", "align_corners", "floor", 5, 1.5, [0, 0, 1, 2, 2, 3, 4]),
    ("linear", "align_corners", "", 7, 1.25, [i * 6 / 7 for i in range(8)]),
    ("nearest", "half_pixel_symmetric", "floor", 7, 10 / 7, [0, 0, 1, 1, 2, 3, 4, 4, 5, 6]),
    ("linear", "half_pixel_symmetric", "", 5, 1.3,
     [0.0769231, 0.8461539, 1.6153847, 2.3846154, 3.1538463, 3.9230771]),
    ("linear", "pytorch_half_pixel", "", 3, 0.5, [0]),
    ("nearest", "tf_half_pixel_for_nn", "ceil", 4, 1.0, [0, 1, 2, 3]),
    ("nearest", "half_pixel", "round_prefer_floor", 6, 0.75, [0, 1, 3, 4]),
    ("nearest", "half_pixel", "round_prefer_ceil", 3, 2.0, [0, 0, 1, 1, 2, 2]),
    ("linear", "asymmetric", "", 7, 0.6, [0, 1.6666666, 3.3333333, 5]),
    ("nearest", "half_pixel_symmetric", "round_prefer_ceil", 2, 0.75, [1]),  # at 0.49999997
    ("nearest", "half_pixel_symmetric", "round_prefer_floor", 2, 0.75, [0]),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "coordinates", "rounding", "extent", "scale", "want"), STORED)
def test_onnxruntime_s_results(
    mode: str, coordinates: str, rounding: str, extent: int, scale: float, want: list[float]
) -> None:
    rule = AxisRule(extent, len(want), float(F(scale)), coordinates)
    x = [float(i) for i in range(extent)]
    extra = {"rounding": rounding} if mode == "nearest" else {}
    np.testing.assert_allclose(resized(rule, x, mode, **extra), want, rtol=0, atol=2e-6)


def test_results_without_an_element() -> None:
    """The last coordinate is beyond the axis; the values are from onnxruntime."""
    rule = AxisRule(1, 4, 3.5, "tf_half_pixel_for_nn")
    for exclude in (False, True):
        smoothed = resized(rule, [5.0], "linear", antialias=True, exclude_outside=exclude)
        np.testing.assert_array_equal(smoothed, [5, 5, 5, 0])
    curved = resized(rule, [5.0], "cubic", exclude_outside=True)
    np.testing.assert_array_equal(curved, [5, 5, 5, np.nan])
