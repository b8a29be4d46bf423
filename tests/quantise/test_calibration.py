"""Ranges: every method, the choice by damage, bias correction and equalisation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from quantisable import NETWORKS, Drawn, inputs, quantised

from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.activations import Relu
from ellc.ir.ops.conv import Conv2D
from ellc.ir.types import Array, Padding
from ellc.quantise.calibration import METHODS
from ellc.quantise.equalise import equalised
from ellc.quantise.observers import Histogram, Observation
from ellc.quantise.quantising import Method, Quantised
from ellc.quantise.ranges import quantisation_of


def histogram(values: Array) -> Histogram:
    seen = Histogram()
    seen.add(values)
    return seen


def square_error(values: Array, low: float, high: float) -> float:
    by = quantisation_of(low, high)
    scale, zero = float(by.one_scale), by.one_zero
    stored = np.clip(np.rint(values / scale) + zero, -128, 127)
    return float((((stored - zero) * scale - values) ** 2).mean())


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("method", METHODS)
def test_outliers(method: str, sign: int) -> None:
    """A single outlier makes the steps of min-max coarse; some other methods give it up."""
    rng = np.random.default_rng(1)
    values = np.append(rng.standard_normal(200_000), [sign * 300.0])
    low, high = METHODS[method](histogram(values))
    assert low <= high and low >= values.min() and high <= values.max()
    if method == "min-max":
        assert (low, high) == (values.astype(np.float32).min(), values.astype(np.float32).max())
    elif method != "mse":  # whose square outweighs many small ones
        assert max(-low, high) < 60
    whole = square_error(values[:-1], values.min(), values.max())
    assert square_error(values[:-1], low, high) <= whole


def test_least_squares_is_at_least_as_good_as_all_numbers() -> None:
    rng = np.random.default_rng(2)
    for values in (rng.standard_normal(9999), rng.exponential(1, 9999), rng.laplace(0, 1, 9999)):
        seen = histogram(values)
        errors = {name: square_error(values, *method(seen)) for name, method in METHODS.items()}
        assert errors["mse"] <= 1.01 * min(errors.values())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [[0.0], [5.0], [-5.0, -5.0], [0.0, 1e-35], [3e38, -3e38]])
def test_few_numbers(method: str, values: list[float]) -> None:
    low, high = METHODS[method](histogram(np.array(values)))
    assert np.isfinite([low, high]).all()
    assert np.isfinite(float(quantisation_of(low, high).one_scale))


def noise(graph: Graph, result: Quantised, count: int = 4) -> float:
    total = 0.0
    for sample in inputs(count, graph.input_types()[0].shape):
        (want,), (got,) = (evaluate(g, (sample,)).outputs for g in (graph, result.graph))
        total += float(((got.astype(np.float64) - want) ** 2).sum())
    return total


def uneven() -> Graph:
    """A network whose channels differ by a factor of 60."""
    d = Drawn("uneven")
    sizes = np.geomspace(1, 60, 6, dtype=np.float32).reshape(-1, 1, 1, 1)
    first = d.rng.standard_normal((6, 1, 1, 6)).astype(np.float32) * sizes
    depthwise = d.rng.standard_normal((6, 3, 3, 1)).astype(np.float32) / sizes
    x = d.add(Relu(), d.add(Conv2D(), d.x, d.builder.constant(first)))
    op = Conv2D(padding=Padding.same(1), groups=6)
    x = d.add(Relu(), d.add(op, x, d.builder.constant(depthwise)))
    return d.built(d.conv(x, 4, 1))


def test_equalisation(tmp_path: Path) -> None:
    graph = uneven()
    plain = quantised(graph, tmp_path / "plain", method=Method("min-max"))
    better = quantised(graph, tmp_path / "equal", method=Method("min-max", equalise=True))
    assert noise(graph, better) < 0.5 * noise(graph, plain)


def test_equalisation_changes_no_bit() -> None:
    for graph in (uneven(), NETWORKS["classifier"](), NETWORKS["groups"]()):
        seen = {}
        for value, array in evaluate(graph, (inputs(1)[0],), keep=True).values.items():
            seen[value] = Observation()
            if array.dtype == np.float32:
                seen[value].add(array)
        after = equalised(graph, seen)
        (want,), (got,) = (evaluate(g, (inputs(2)[1],)).outputs for g in (graph, after))
        assert np.array_equal(want, got)
    assert equalised(uneven(), {}) == uneven()


def test_bias_correction(tmp_path: Path) -> None:
    """The inputs are all about 1, so errors of rounding add up instead of cancelling."""
    d = Drawn()
    y = d.conv(d.add(Relu(), d.conv(d.x, 6)), 5, 1)
    graph = d.built(y)
    methods = (Method("min-max", bias_correction=c) for c in (False, True))
    plain, better = (quantised(graph, tmp_path / str(i), method=m) for i, m in enumerate(methods))

    def mean_error(result: Quantised) -> float:
        samples = inputs(6)
        differences = [
            evaluate(result.graph, (s,)).outputs[0] - evaluate(graph, (s,)).outputs[0]
            for s in samples
        ]
        return float(np.abs(np.concatenate(differences).mean((0, 1, 2))).sum())

    assert mean_error(better) < 0.8 * mean_error(plain)


def test_the_choice_by_damage_is_no_worse(tmp_path: Path) -> None:
    graph = uneven()
    results = {
        name: quantised(graph, tmp_path / name, 16, method=Method(name))
        for name in (*METHODS, "auto")
    }
    noises = {name: noise(graph, result, 16) for name, result in results.items()}
    assert noises["auto"] <= 1.05 * min(noises.values())
    assert set(results["auto"].methods.values()) <= set(METHODS)
    again = quantised(graph, tmp_path / "again", 16, method=Method("auto"))
    assert again.graph == results["auto"].graph
