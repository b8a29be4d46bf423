"""Quantised networks give nearly the results of the float networks, with every kind of layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from quantisable import NETWORKS, Drawn, inputs, quantised, with_square_root

from ellc.check.checking import CheckOptions, check
from ellc.codegen.machine.resolve import resolve
from ellc.ir.errors import EllcError
from ellc.ir.interp import evaluate
from ellc.ir.ops.activations import Relu
from ellc.ir.ops.conv import Conv2D
from ellc.ir.types import DType
from ellc.progress import silent
from ellc.quantise.damage import decibels, measured
from ellc.quantise.quantising import Quantised

FLOAT = {"softmax", "quantize", "dequantize"}
"""Operators on floats that remain in these networks."""


@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_layer(name: str, drawn: Callable[[str], Quantised]) -> None:
    graph, result = NETWORKS[name](), drawn(name)
    on_floats = [
        node.op.name
        for node in result.graph.nodes
        if any(result.graph.types[v].dtype is DType.F32 for v in node.outputs)
    ]
    assert set(on_floats) <= FLOAT, "a layer that could be integers is float"
    assert not result.left_float
    signal = noise = 0.0
    for sample in inputs(4):
        (want,), (got,) = (evaluate(g, (sample,)).outputs for g in (graph, result.graph))
        signal += float((want.astype(np.float64) ** 2).sum())
        noise += float(((got - want).astype(np.float64) ** 2).sum())
    # One rounding to 8 bits leaves about 45 dB of numbers with a normal distribution.
    assert decibels(signal, noise) > 25
    report = check(result.graph, resolve("host"), CheckOptions(seeds=1))
    assert report.agrees


def test_layers_are_measured(drawn: Callable[[str], Quantised], tmp_path: Path) -> None:
    result = drawn("residual")
    damages = measured(result, inputs(3), 3, tmp_path / "damage", silent)
    assert [d.kind for d in damages] == ["product", "product", "sum", "product"]
    assert all(20 < d.decibels < 60 for d in damages)
    assert all(d.saturated < 0.01 for d in damages)
    relu = damages[2]
    assert relu.low == 0 and relu.zero == -128


def test_layers_with_nan_stay_float(tmp_path: Path) -> None:
    graph = with_square_root()
    result = quantised(graph, tmp_path)
    assert list(result.left_float.values()) == ["it reads or computes numbers that are not finite"]
    (sample,) = inputs(1)
    want, got = (evaluate(g, (sample,)).outputs for g in (graph, result.graph))
    assert np.array_equal(np.isnan(want[0]), np.isnan(got[0]))
    assert np.allclose(want[1], got[1], atol=0.05 * np.abs(want[1]).max())


def test_nothing_to_quantise(tmp_path: Path) -> None:
    d = Drawn()
    with pytest.raises(EllcError, match="no float convolution") as caught:
        quantised(d.built(d.add(Relu(), d.x)), tmp_path)
    assert caught.value.code == "E790"


def test_a_filter_of_zeros_with_a_bias(tmp_path: Path) -> None:
    """The bias must fit in 32 bits, although no weight asks for a large scale."""
    d = Drawn()
    weights = np.zeros((3, 1, 1, 6), np.float32)
    weights[1] = 1e-30
    bias = np.array([3.0, -2.0, 1e-3], np.float32)
    y = d.add(Conv2D(), d.x, d.builder.constant(weights), d.builder.constant(bias))
    result = quantised(d.built(y), tmp_path)
    (got,) = evaluate(result.graph, (inputs(1)[0],)).outputs
    assert np.allclose(got, bias, atol=5.0 / 255)
