"""Recurrent ONNX layers without an initial state, with a constant one, and with an input as state.

With a constant state, parts of the lowered cell are folded; without the passes, kernels read the
constants. Each layer is called several times; calls must not depend on memory from earlier calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from agreement import disagreement
from onnx_models import Arrays, model, node, read

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.passes.canonicalise.fold_constants import FoldConstants
from ellc.ir.pipeline import PipelineOptions, default_passes, run_pipeline
from ellc.ir.types import Array

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
STATES = ("none", "constant", "input")
STEPS, WIDTH, HIDDEN = 3, 5, 4
CALLS = 3


def layer(operator: str, direction: str, state: str, rng: np.random.Generator) -> Graph:
    """A network of one layer; `state` is the kind of its initial state."""
    ways = 2 if direction == "bidirectional" else 1

    def drawn(*shape: int) -> Array:
        return rng.normal(size=shape).astype(np.float32)

    inputs: Arrays = {"x": drawn(STEPS, 1, WIDTH)}
    rows = GATES[operator] * HIDDEN
    constants = {"w": drawn(ways, rows, WIDTH), "r": drawn(ways, rows, HIDDEN)}
    names = ["x", "w", "r"]
    if state != "none":
        states = {n: drawn(ways, 1, HIDDEN) for n in ("h", "c")[: 2 if operator == "LSTM" else 1]}
        names += ["", "", *states]
        if state == "constant":
            constants |= states
        else:
            inputs = {**inputs, **states}
    made = node(operator, names, ["y", "yh"], hidden_size=HIDDEN, direction=direction)
    return read(model([made], inputs, ["y", "yh"], constants))


def layers() -> Iterator[tuple[str, Graph]]:
    """Layers of every kind with every direction and kind of state."""
    rng = np.random.default_rng(5)
    for operator, direction, state in product(GATES, ("forward", "bidirectional"), STATES):
        yield f"{operator} {direction} {state}", layer(operator, direction, state, rng)


@pytest.mark.slow
@pytest.mark.parametrize("optimize", [True, False])
def test_compiled_layers_agree_in_every_call(optimize: bool) -> None:
    rng = np.random.default_rng(6)
    trials, wanted, names = [], [], []
    for name, graph in layers():
        ready, _ = run_pipeline(graph, default_passes(PipelineOptions(optimize=optimize)))
        calls = tuple(
            tuple(rng.normal(size=t.shape).astype(np.float32) for t in graph.input_types())
            for _ in range(CALLS)
        )
        trials.append(Trial(ready, calls))
        wanted.append([evaluate(graph, inputs).outputs for inputs in calls])
        names.append(name)
    said: list[str] = []
    for name, want, got in zip(names, wanted, run_trials(trials, resolve("host")), strict=True):
        assert not isinstance(got, Exception), f"{name}: {got}"
        for call, (a, b) in enumerate(zip(got, want, strict=True)):
            said += [f"{name}, call {call}: {text}" for text in map(disagreement, a, b) if text]
    assert not said, "\n".join(said)


def test_nothing_constant_is_left_to_compute() -> None:
    for name, graph in layers():
        ready, _ = run_pipeline(graph)
        assert FoldConstants().run(ready) == ready, name
