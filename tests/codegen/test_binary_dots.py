"""Binary convolutions whose lanes are channels: which layers take them, and exact limits."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from orders import innermost_loops, loop_cycles

from ellc.codegen.blocks.calls import Options
from ellc.codegen.blocks.window import Axis
from ellc.codegen.kernels.binary_starts import starts_of
from ellc.codegen.kernels.binary_window import bit_window
from ellc.codegen.kir.ir import Assembled, walk
from ellc.codegen.kir.scheduling import schedule
from ellc.codegen.machine.pipeline import pipeline_of
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.planning.plan import Step
from ellc.codegen.planning.planner import make_plan
from ellc.ir.builder import GraphBuilder
from ellc.ir.ops.binary import BinaryConv2D
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, Padding, TensorType


def axis_of(outputs: int, taps: int) -> Axis:
    """An axis on which the result has the size of the image."""
    return Axis(outputs, outputs, taps, 1, 1, taps // 2, bordered=False)


def binary_step(target: str, channels: int, filters: int) -> Step:
    """The step of a 3x3 convolution of 5x9 pixels."""
    b = GraphBuilder("net")
    x = b.input("x", TensorType(DType.BIT, (1, 5, 9, channels)))
    signs = np.random.default_rng(0).random((filters, 3, 3, channels)) < 0.5
    weights = b.constant(signs, DType.BIT)
    b.output("y", b.add(BinaryConv2D(padding=Padding.same(1)), x, weights))
    graph, _ = run_pipeline(b.build())
    return make_plan(graph, resolve(target), Options(), "net").steps[-1]


@pytest.mark.parametrize(
    ("target", "channels", "filters", "kernel"),
    [
        ("pi3_64", 64, 16, "dots"),
        ("pi3_64", 256, 8, "dots"),
        ("pi3_64", 512, 8, "dots"),
        ("pi5", 128, 8, "dots"),
        ("pi3_64", 64, 12, "signs"),
        ("pi3_64", 16, 8, "signs"),
        ("pi3", 128, 8, "signs"),
        ("linux", 128, 8, "signs"),
    ],
)
def test_layers_that_count_along_channels(
    target: str, channels: int, filters: int, kernel: str
) -> None:
    assert binary_step(target, channels, filters).call.note.startswith(kernel)


@pytest.mark.parametrize("channels", [64, 192, 256, 512])
def test_loops_that_count_are_scheduled(channels: int) -> None:
    """All of them, whether a trip is the whole window or a row, and for both sizes of tiles."""
    kernel = binary_step("pi3_64", channels, 8).call.kernel
    scheduled = schedule(kernel, resolve("pi3_64"))
    functions = [s for s in walk(scheduled.body) if isinstance(s, Assembled)]
    assert len(functions) == 1
    text = "\n".join(functions[0].function.lines)
    assert text.count("cnt ") >= 16 * 9 * 64 // 128 // 3


@pytest.mark.parametrize(
    ("outputs", "taps", "pixel_bytes", "trip", "pieces"),
    [
        (14, 3, 8, "window", 5),
        (14, 1, 8, "window", 1),
        (14, 3, 16, "window", 9),
        (14, 3, 24, "window", 14),
        (14, 3, 40, "row", 8),
        (14, 3, 64, "row", 12),
        (14, 3, 128, "tap", 8),
        (7, 3, 16, "row", 3),
    ],
)
def test_pieces_of_windows(
    outputs: int, taps: int, pixel_bytes: int, trip: str, pieces: int
) -> None:
    axis = axis_of(outputs, taps)
    window = bit_window(axis, axis, pixel_bytes)
    assert window is not None
    assert (window.trip, len(window.pieces)) == (trip, pieces)
    assert window.trip_bytes * window.trips == taps * taps * pixel_bytes


@pytest.mark.parametrize(("channels", "columns", "cycles"), [(128, 9, 505), (64, 9, 292)])
def test_loops_that_count_hardly_wait(channels: int, columns: int, cycles: int) -> None:
    """A tile of 4x4 with 3x3 taps: its 416 and 224 counting instructions, loads, and last sums.

    All of them together take at least 495 and 289 cycles.
    """
    kernel = binary_step("pi3_64", channels, 8).call.kernel
    (function,) = (s.function for s in walk(kernel.body) if isinstance(s, Assembled))
    rows = pipeline_of(resolve("pi3_64"))
    assert rows is not None
    loops = innermost_loops("\n".join(function.lines))
    assert max(loop_cycles(loop, rows) for loop in loops) <= cycles


def test_every_weight_is_packed_once() -> None:
    signs = np.random.default_rng(1).random((8, 3, 3, 192)) < 0.5
    window = bit_window(axis_of(14, 3), axis_of(14, 3), 24)
    assert window is not None
    packed = window.packed(signs)
    assert packed.size * 8 == signs.size
    assert np.bitwise_count(packed).sum() == signs.sum()


def test_padding_of_zeros_corrects_sums_near_edges() -> None:
    """A sum of signs, padded with -1 and corrected, equals the reference, at all edges."""
    rng = np.random.default_rng(2)
    x, w = rng.random((1, 4, 5, 8)) < 0.5, rng.random((3, 3, 3, 8)) < 0.5
    conv = BinaryConv2D((1, 2), Padding(1, 2, 1, 1))
    (wanted,) = conv.reference(x, w)
    minus = BinaryConv2D(conv.stride, Padding(1, 2, 1, 1, (-1.0,)))
    (stored,) = minus.reference(x, w)
    rows = Axis(4, wanted.shape[1], 3, 1, 1, 1, bordered=False)
    columns = Axis(5, wanted.shape[2], 3, 2, 1, 2, bordered=False)
    starts = starts_of(rows, columns, w, conv.padding)
    products = w[0].size
    assert np.array_equal(stored[0] + starts.everywhere - products, wanted[0])


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_sums_are_corrected_if_rows_outside_are_skipped(value: float) -> None:
    rng = np.random.default_rng(3)
    x, w = rng.random((1, 4, 5, 8)) < 0.5, rng.random((3, 3, 3, 8)) < 0.5
    conv = BinaryConv2D(padding=Padding.same(1, value))
    (wanted,) = conv.reference(x, w)
    rows, columns = (Axis(n, n, 3, 1, 1, 1, bordered=False) for n in (4, 5))
    starts = starts_of(rows, columns, w, conv.padding, skips_rows=True)
    outside = 1.0 if value > 0 else -1.0
    image = np.pad(
        np.where(x, 1.0, -1.0), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=outside
    )
    for row in range(4):
        first, end = rows.valid(row)
        for column in range(5):
            window = image[0, row + first : row + end, column : column + 3] > 0
            differing = (window != w[:, first:end]).sum(axis=(1, 2, 3))
            found = starts.everywhere[row, column] - 2 * differing
            assert np.array_equal(found, wanted[0, row, column])
