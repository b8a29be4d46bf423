"""MediaPipe's max pool with indices, its inverse and transposed convolution, as plain loops do.

No available runtime has these operators; the loops compute the same as MediaPipe's kernels.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from tflite_files import T, TFLiteFile, saved

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.frontends.tflite.read import read_tflite
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array

SAME, VALID = 1, 2
POOL, UNPOOL = "CUSTOM:MaxPoolingWithArgmax2D", "CUSTOM:MaxUnpooling2D"
TRANSPOSED = "CUSTOM:Convolution2DTransposeBias"


def pool_options(scheme: int, stride: int, window: tuple[int, int], activation: int = 0) -> bytes:
    """The bytes of a struct TfLitePoolParams, including fields that the kernel computes."""
    return struct.pack("<10i", scheme, stride, stride, window[1], window[0], activation, 0, 0, 0, 0)


def image(rows: int, columns: int) -> Array:
    """An image with few different numbers, so that many windows have several maxima."""
    rng = np.random.default_rng(rows * columns)
    return rng.integers(-4, 5, (2, rows, columns, 3)).astype(np.float32)


def pooled(x: Array, scheme: int, stride: int, window: tuple[int, int]) -> tuple[Array, Array]:
    """Compute maxima and their indices in the windows, window by window."""
    size = np.array(x.shape[1:3])
    if scheme == SAME:
        count = -(-size // stride)
        before = np.maximum((count - 1) * stride + window - size, 0) // 2
    else:
        count, before = (size - window + stride) // stride, np.zeros(2, int)
    largest = np.empty((x.shape[0], *count, x.shape[3]), np.float32)
    places = np.empty_like(largest)
    for n, row, column, channel in np.ndindex(largest.shape):
        best, cell = np.finfo(np.float32).min, 0
        for y, x_ in np.ndindex(window):
            at = row * stride - before[0] + y, column * stride - before[1] + x_
            if 0 <= at[0] < size[0] and 0 <= at[1] < size[1] and x[n, *at, channel] > best:
                best, cell = x[n, *at, channel], y * window[1] + x_
        largest[n, row, column, channel], places[n, row, column, channel] = best, cell
    return largest, places + np.float32(0.1)


def imported(file: TFLiteFile, inputs: list[int], outputs: list[int], folder: Path) -> Graph:
    return read_tflite(saved(file.data(inputs, outputs), folder))


@pytest.mark.parametrize("scheme", [SAME, VALID])
@pytest.mark.parametrize(("stride", "window"), [(2, (2, 2)), (1, (3, 2)), (3, (2, 4)), (1, (1, 1))])
def test_a_pool_tells_the_first_cell_of_its_maximum(
    scheme: int, stride: int, window: tuple[int, int], tmp_path: Path
) -> None:
    x, file = image(7, 8), TFLiteFile()
    places = [file.add(T(x.shape)), file.add(T()), file.add(T())]
    file.apply(POOL, places[:1], places[1:], pool_options(scheme, stride, window))
    graph = imported(file, places[:1], places[1:], tmp_path)
    for ours, theirs in zip(
        evaluate(graph, (x,)).outputs, pooled(x, scheme, stride, window), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def spread(x: Array, weights: Array, bias: Array, scheme: int, stride: tuple[int, int]) -> Array:
    """Compute a transposed convolution, product by product."""
    size, window = np.array(x.shape[1:3]), np.array(weights.shape[1:3])
    cut = np.maximum(0, window - (size - 1) % stride - 1) if scheme == SAME else np.zeros(2, int)
    whole = np.array(stride) * (size - 1) + window - cut
    result = np.tile(bias.astype(np.float64), (x.shape[0], *whole, 1))
    for n, row, column in np.ndindex(x.shape[:3]):
        for y, across in np.ndindex(*window):
            at = row * stride[0] + y - cut[0] // 2, column * stride[1] + across - cut[1] // 2
            if 0 <= at[0] < whole[0] and 0 <= at[1] < whole[1]:
                result[n, *at] += weights[:, y, across].astype(np.float64) @ x[n, row, column]
    return result


@pytest.mark.parametrize("scheme", [SAME, VALID])
@pytest.mark.parametrize(
    ("stride", "window"), [((2, 2), (2, 2)), ((2, 1), (3, 4)), ((3, 2), (2, 5)), ((1, 3), (1, 1))]
)
def test_a_transposed_convolution_spreads_pixels(
    scheme: int, stride: tuple[int, int], window: tuple[int, int], tmp_path: Path
) -> None:
    rng, x, file = np.random.default_rng(3), image(4, 5), TFLiteFile()
    weights = rng.standard_normal((6, *window, 3)).astype(np.float32)
    bias = rng.standard_normal(6).astype(np.float32)
    places = [file.add(T(x.shape)), file.add(T.of(weights)), file.add(T.of(bias)), file.add(T())]
    chosen = struct.pack("<5i", scheme, stride[1], stride[0], 0, 0)
    file.apply(TRANSPOSED, places[:3], places[3:], chosen)
    graph = imported(file, places[:1], places[3:], tmp_path)
    (found,) = evaluate(graph, (x,)).outputs
    wanted = spread(x, weights, bias, scheme, stride)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_what_is_pooled_goes_back_to_its_place(tmp_path: Path) -> None:
    """One network has a pool and its inverse, as segmentation models do; it is also compiled."""
    x, file = image(6, 8), TFLiteFile()
    places = [file.add(T(x.shape)), *(file.add(T()) for _ in range(3))]
    options = pool_options(SAME, 2, (2, 2))
    file.apply(POOL, places[:1], places[1:3], options)
    file.apply(UNPOOL, places[1:3], places[3:], options)
    graph = imported(file, places[:1], places[3:], tmp_path)
    largest, cells = pooled(x, SAME, 2, (2, 2))
    wanted = np.zeros_like(x)
    for n, row, column, channel in np.ndindex(largest.shape):
        y, across = divmod(int(cells[n, row, column, channel]), 2)
        wanted[n, 2 * row + y, 2 * column + across, channel] = largest[n, row, column, channel]
    (found,) = evaluate(graph, (x,)).outputs
    np.testing.assert_array_equal(found, wanted)
    made, _ = run_pipeline(graph)
    (result,) = run_trials([Trial(made, ((x,),))], resolve("host"))
    assert not isinstance(result, Exception), result
    np.testing.assert_array_equal(result[0][0], wanted)


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (POOL, b"", "size of its options is 0 bytes"),
        (POOL, pool_options(0, 2, (2, 2)), "padding scheme -1 is unknown"),
        (POOL, pool_options(SAME, 0, (2, 2)), "with strides (0, 0)"),
        (POOL, pool_options(SAME, 2, (100, 100)), "windows (100, 100)"),
        (POOL, pool_options(SAME, 2, (2, 2), 9), "fused activation 9 is unknown"),
        (UNPOOL, pool_options(SAME, 1, (2, 2)), "windows (2, 2) with strides (1, 1)"),
        (UNPOOL, pool_options(SAME, 2, (2, 2), 1), "fused activation 1"),
        (TRANSPOSED, b"", "size of its options is 0 bytes"),
        (TRANSPOSED, struct.pack("<3i", 0, 2, 2), "padding scheme 0"),
        (TRANSPOSED, struct.pack("<3i", SAME, 0, 2), "with strides (2, 0)"),
    ],
)
def test_odd_options_of_pools_are_said(
    kind: str, options: bytes, said: str, tmp_path: Path
) -> None:
    file = TFLiteFile()
    count = 3 if kind == TRANSPOSED else 2
    places = [file.add(T((1, 4, 4, 3))) for _ in range(count)] + [file.add(T()) for _ in range(2)]
    file.apply(kind, places[:count], places[count:], options)
    with pytest.raises(EllcError) as caught:
        imported(file, places[:count], places[count : count + 1], tmp_path)
    assert said in caught.value.problems[0]
