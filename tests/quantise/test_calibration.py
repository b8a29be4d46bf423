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
from ellc.progress import silent
from ellc.quantise.calibration import METHODS
from ellc.quantise.equalise import equalised
from ellc.quantise.observers import Histogram, Observation
from ellc.quantise.quantising import Method, Quantised, Samples, quantise
from ellc.quantise.ranges import quantisation_of
from ellc.quantise.rewrite import reals


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


def layer_error(graph: Graph, result: Quantised, samples: list[Array]) -> float:
    """The square error of the first layer, with real weights and exact operands."""
    (layer, *_) = result.layers
    weights = result.weights[layer.results[0]]
    w = reals(weights.stored, weights.scales)
    op = layer.head.op
    exact = graph.constant_arrays()[layer.head.inputs[1]]
    errors = [op.reference(x, w - exact)[0] for x in samples]
    difference = np.concatenate(errors).reshape(-1, exact.shape[0])
    return float((difference - difference.mean(0)).var())


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_adaptive_rounding(groups: int, tmp_path: Path) -> None:
    """Neighbouring pixels and channels are alike; so rounding errors can make up for each other."""
    d = Drawn()
    graph = d.built(d.conv(d.x, 12, 3, groups))
    mixed = d.rng.standard_normal((6, 6)).astype(np.float32) + 2
    samples = [np.cumsum(x, 2) @ mixed for x in inputs(12)]
    results = [
        quantise(
            graph, Samples(lambda: samples[:8], 8), tmp_path / str(a), silent,
            Method("min-max", adaptive=a),
        )
        for a in (False, True)
    ]  # fmt: skip
    nearest, adaptive = (layer_error(graph, result, samples[8:]) for result in results)
    assert adaptive < 0.8 * nearest
    (layer,) = results[1].layers
    weights = results[1].weights[layer.results[0]]
    exact = graph.constant_arrays()[layer.head.inputs[1]]
    steps = np.abs(reals(weights.stored, weights.scales) - exact)
    assert (steps <= weights.scales.reshape(-1, 1, 1, 1) * 1.0001).all()


def test_adaptive_rounding_of_whole_networks(tmp_path: Path) -> None:
    for name in ("classifier", "depthwise"):
        graph = NETWORKS[name]()
        result = quantised(graph, tmp_path / name, method=Method("min-max", adaptive=True))
        signal = sum(float((evaluate(graph, (s,)).outputs[0] ** 2).sum()) for s in inputs(4))
        assert noise(graph, result) < signal / 300
