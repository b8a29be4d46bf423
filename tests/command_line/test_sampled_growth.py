"""`ellc check` where rounding errors grow without a recurrence: mistakes are still found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small_networks import convolution_network

from ellc.check.agreement import allowed_error
from ellc.check.calls import plausible_inputs
from ellc.check.checking import CheckOptions, check
from ellc.check.growth import sampled_movement
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.planning import ram_limit
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.pointwise import Add, Mul, Sigmoid, Sin, Sub
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array, DType, TensorType


def steep(off_by: float = 0.0) -> Graph:
    """Sines of large sums."""
    b = GraphBuilder("steep")
    x = b.input("x", TensorType(DType.F32, (4, 30)))
    weights = np.random.default_rng(0).normal(size=(10, 30)) * 300
    b.output("y", b.add(Sin(), b.add(Dense(), x, b.constant(_off(weights, off_by)))))
    return b.build()


def cancelled(off_by: float = 0.0) -> Graph:
    """Second differences of an image whose values are much larger."""
    b = GraphBuilder("cancelled")
    x = b.input("x", TensorType(DType.F32, (1, 12, 12, 2)))
    high = b.add(
        Add(),
        b.add(Mul(), x, b.constant(_off(np.full(1, 10.0), off_by))),
        b.constant(np.full(1, 1e4, np.float32)),
    )
    taps = np.zeros((1, 3, 3, 2))
    taps[0, ..., 0] = [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
    b.output("y", b.add(Conv2D(), high, b.constant(taps.astype(np.float32))))
    return b.build()


def unrolled(off_by: float = 0.0) -> Graph:
    """A chain of steps of the logistic map."""
    b = GraphBuilder("unrolled")
    x = b.add(Sigmoid(), b.input("x", TensorType(DType.F32, (1, 64))))
    rate = b.constant(_off(np.full(1, 3.9), off_by))
    ones = b.constant(np.ones((1, 64), np.float32))
    for _ in range(11):
        x = b.add(Mul(), b.add(Mul(), x, b.add(Sub(), ones, x)), rate)
    b.output("y", x)
    return b.build()


def _off(weights: Array, off_by: float) -> Array:
    """Weights whose first element has a relative error of `off_by`."""
    made = weights.astype(np.float32)
    made.flat[0] *= 1 + off_by
    return made


GROWING = (steep, cancelled, unrolled)


@pytest.mark.slow
@pytest.mark.parametrize("make", GROWING, ids=lambda make: make.__name__)
def test_rounding_that_grows_is_no_error_and_a_mistake_is(
    make: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = check(make(), resolve("host"), CheckOptions(layers=True, seeds=3))
    assert report.agrees, report
    assert report.grown, "rounding errors do not grow in this network"

    def mistaken(graph: Graph, *args: Any) -> Plan:
        ready, _ = run_pipeline(make(off_by=3e-3))
        return make_plan(ready, *args)

    monkeypatch.setattr(ram_limit, "make_plan", mistaken)
    assert not check(make(), resolve("host")).agrees


def test_nothing_more_is_allowed_where_rounding_stays_small() -> None:
    graph = convolution_network()
    inputs = plausible_inputs(graph, 0)
    (moved,) = sampled_movement((graph,), [inputs])
    for far, want in zip(moved, evaluate(graph, inputs).outputs, strict=True):
        assert 0 < far.max() < 0.1 * allowed_error(want).max()
