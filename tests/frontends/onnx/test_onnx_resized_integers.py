"""Interpolation of integers, compared with ONNX Runtime's arithmetic, pixel by pixel."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from onnx_models import model, node, read

from ellc.ir.errors import EllcError
from ellc.ir.interp import evaluate
from ellc.ir.types import Array

F32 = np.float32


def place(index: int, extent: int, size: int, coordinates: str) -> np.float32:
    """The coordinate in the operand for an element of the result, clamped to the axis."""
    scale = F32(size) / F32(extent)
    match coordinates:
        case "asymmetric":
            at = F32(index) / scale
        case "align_corners":
            at = F32(index) * F32(extent - 1) / F32(max(size - 1, 1))
        case _:
            at = (F32(index) + F32(0.5)) / scale - F32(0.5)
    return F32(index) if extent == size else min(max(at, F32(0)), F32(extent - 1))


def neighbours(at: np.float32, extent: int) -> list[tuple[int, np.float32]]:
    """(index, weight) of the lower and of the upper neighbour."""
    below = int(at)
    above = min(below + 1, extent - 1)
    if below == above:
        return [(below, F32(0.5)), (above, F32(0.5))]
    return [(below, F32(above) - at), (above, at - F32(below))]


def resized(x: Array, sizes: tuple[int, int], coordinates: str) -> Array:
    """`UpsampleBilinear` of onnxruntime's `upsample.cc` on one plane."""
    result = np.zeros(sizes, x.dtype)
    for row, column in np.ndindex(*sizes):
        sides = [
            neighbours(place(i, e, s, coordinates), e)
            for i, e, s in zip((row, column), x.shape, sizes, strict=True)
        ]
        total = F32(0)
        for (i, by_row), (j, by_column) in product(*sides):
            total = total + by_column * by_row * F32(x[i, j])
        result[row, column] = int(total)
    return result


def of(x: Array, sizes: tuple[int, int], **attributes: object) -> tuple[Array, ...]:
    made = node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear", **attributes)
    wanted = np.array([1, 1, *sizes])
    graph = read(model([made], {"x": x}, ["y"], {"sizes": wanted}, opset=19))
    return evaluate(graph, (x,)).outputs


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32])
@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners", "asymmetric"])
def test_products_are_summed_in_float32_and_cut_off(dtype: type, coordinates: str) -> None:
    info = np.iinfo(dtype)
    rng = np.random.default_rng(3)
    for shape, sizes in (((6, 6), (9, 9)), ((3, 4), (7, 7)), ((5, 1), (9, 3)), ((7, 8), (4, 3))):
        drawn = rng.integers(max(info.min, -999), min(info.max, 999), shape, endpoint=True)
        for x in (drawn.astype(dtype), np.full(shape, 100, dtype)):
            (found,) = of(x[None, None], sizes, coordinate_transformation_mode=coordinates)
            np.testing.assert_array_equal(found[0, 0], resized(x, sizes, coordinates))


@pytest.mark.parametrize(
    "attributes", [{"antialias": 1}, {"coordinate_transformation_mode": "tf_crop_and_resize"}]
)
def test_what_no_runtime_agrees_on_is_refused(attributes: dict[str, object]) -> None:
    with pytest.raises(EllcError, match="linear interpolation of u8 with"):
        of(np.zeros((1, 1, 4, 4), np.uint8), (2, 2), **attributes)
