"""Histograms grow with the numbers that they count, and lose none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from quantisable import Drawn, inputs

from ellc.ir.ops.activations import Relu
from ellc.progress import silent
from ellc.quantise.damage import outside
from ellc.quantise.observers import BINS, Histogram, Observation, by_reference, compiled


def histogram(*parts: list[float]) -> Histogram:
    result = Histogram()
    for part in parts:
        result.add(np.array(part, np.float32))
    return result


@pytest.mark.parametrize("factor", [1e-30, 1e-3, 1.0, 7e5, 1e30])
def test_growing_gives_the_histogram_of_all_numbers(factor: float) -> None:
    rng = np.random.default_rng(0)
    small, large = (factor * rng.standard_normal(500) * s for s in (0.01, 20))
    grown = histogram(list(small), list(large))
    at_once = histogram([*small, *large])
    assert grown.width == at_once.width and grown.low == at_once.low and grown.high == at_once.high
    assert np.array_equal(grown.counts, at_once.counts)
    joined = histogram(list(small)).joined(histogram(list(large)))
    assert np.array_equal(joined.counts, at_once.counts) and joined.width == at_once.width
    assert grown.counts.sum() == 1000 and max(abs(grown.low), grown.high) <= grown.width * BINS / 2


def test_what_is_not_finite_is_counted_apart() -> None:
    seen = histogram([np.nan, 1.0, np.inf, -np.inf])
    assert seen.lost == 3 and seen.counts.sum() == 1 and (seen.low, seen.high) == (1.0, 1.0)
    assert histogram([np.nan]).is_empty and not histogram([0.0]).is_empty


def test_ends_of_a_range_are_inside() -> None:
    seen = histogram([0.0, 255.0, 255.0, 300.0, -5.0])
    assert outside(seen, 0.0, 255.0) == pytest.approx(2 / 5)
    assert outside(seen, -5.0, 300.0) == 0
    assert outside(Histogram(), 0.0, 1.0) == 0


def test_compiled_networks_have_the_same_values(tmp_path: Path) -> None:
    """Among them inputs, constants, and more values than a program usually has outputs."""
    d = Drawn()
    x, results = d.x, []
    for _ in range(70):
        x = d.add(Relu(), x)
        results.append(x.id)
    y = d.conv(x, 3)
    graph = d.built(y)
    values = (graph.inputs[0].value, *results, *graph.nodes[-1].inputs[1:], y.id)
    (sample,) = inputs(1)
    want = by_reference(graph, values)((sample,))
    with compiled(graph, values, tmp_path, silent) as call:
        got = call((sample,))
    assert list(got) == list(want) == list(dict.fromkeys(values))
    for value, array in want.items():
        np.testing.assert_allclose(got[value], array, rtol=1e-4, atol=1e-5)
    with compiled(graph, values[:1], tmp_path, silent) as call:
        assert np.array_equal(call((sample,))[values[0]], sample)


def test_means_of_channels() -> None:
    seen = Observation()
    for value in (1.0, 3.0):
        seen.add(np.array([[value, -value], [value, 0.0]], np.float32))
    assert seen.means.tolist() == [2.0, -1.0]
