"""Networks of many steps: the calls are cut into functions, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_networks import inputs_of, ready, reference_of

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.codegen.output.build import BuildOptions, build
from ellc.codegen.planning.planner import make_plan
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.types import DType, TensorType


def chain(layers: int) -> Graph:
    """A chain of dense layers of two channels, a step each."""
    rng = np.random.default_rng(0)
    b = GraphBuilder("chain")
    value = b.input("x", TensorType(DType.F32, (1, 1, 1, 2)))
    for _ in range(layers):
        weights = np.eye(2) + rng.normal(size=(2, 2)) / 50
        value = b.add(Conv2D(), value, b.constant(weights.reshape(2, 1, 1, 2).astype(np.float32)))
    b.output("y", value)
    return ready(b.build())


@pytest.mark.slow
def test_a_long_network_computes_every_step() -> None:
    graph = chain(1001)
    inputs = inputs_of(graph)
    (outputs,) = run_trials([Trial(graph, (inputs,))], resolve("host"))
    assert isinstance(outputs, list), outputs
    (want,) = reference_of(graph, inputs)
    np.testing.assert_allclose(outputs[0][0], want, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("profile", [False, True])
@pytest.mark.parametrize("layers", [500, 501])
def test_only_long_sequences_are_cut(layers: int, profile: bool, tmp_path: Path) -> None:
    plan = make_plan(chain(layers), resolve("pi3"), Options(), "chain")
    build(plan, "chain", ["c"], tmp_path, BuildOptions("test", profile=profile))
    text = (tmp_path / "chain.c").read_text(encoding="utf-8")
    functions = [first for first in (0, 500) if f"void chain_run_{first}(" in text]
    assert functions == ([0, 500] if layers > 500 else [])
    assert text.count("chain_tick(counters, ") == (layers if profile else 0)
