"""Random 8-bit networks, compiled after all passes, equal the reference to the bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from parts import quick_seeds
from random_byte_graphs import random_byte_graph

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.meaning import sample_array
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array

NETWORKS = 60
WAYS = [
    pytest.param("host", "llvm", (0, 4), id="host-llvm"),
    pytest.param("host", "c", (5, 8), id="host-c"),
    pytest.param("pi0", "llvm", (6, 8), id="pi0", marks=pytest.mark.emulated("qemu-arm")),
    pytest.param("pi3", "llvm", (4, 8), id="pi3", marks=pytest.mark.emulated("qemu-arm")),
    pytest.param("pi3_64", "llvm", (7, 8), id="pi3_64", marks=pytest.mark.emulated("qemu-aarch64")),
]


def random_inputs(graph: Graph, seed: int) -> tuple[Array, ...]:
    rng = np.random.default_rng(seed)
    return tuple(sample_array(t, rng, 1.0) for t in graph.input_types())


@pytest.mark.slow
@pytest.mark.parametrize(("target", "emitter", "part"), WAYS)
def test_random_byte_networks(target: str, emitter: str, part: tuple[int, int]) -> None:
    graphs = [random_byte_graph(seed) for seed in quick_seeds(NETWORKS, *part)]
    calls = [tuple(random_inputs(g, 2 * i + call) for call in (0, 1)) for i, g in enumerate(graphs)]
    trials = [Trial(run_pipeline(g)[0], c) for g, c in zip(graphs, calls, strict=True)]
    wrong: list[str] = []
    results = run_trials(trials, resolve(target), "c" if emitter == "c" else "llvm")
    for graph, inputs, result in zip(graphs, calls, results, strict=True):
        if isinstance(result, Exception):
            wrong.append(f"{graph.name}: {str(result).splitlines()[0]}")
            continue
        for feed, outputs in zip(inputs, result, strict=True):
            for port, got, want in zip(
                graph.outputs, outputs, evaluate(graph, feed).outputs, strict=True
            ):
                if not np.array_equal(got, want):
                    wrong.append(f"{graph.name}: output '{port.name}': {np.sum(got != want)} wrong")
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_threads_change_no_byte() -> None:
    graphs = [random_byte_graph(seed) for seed in quick_seeds(15, 1, 2)]
    trials = [Trial(run_pipeline(g)[0], (random_inputs(g, 7),)) for g in graphs]
    # All are in one program: the kernels with and without threads are the same.
    results = run_trials([*trials, *(replace(t, threads=3) for t in trials)], resolve("host"))
    alone, threaded = results[: len(trials)], results[len(trials) :]
    for trial, one, several in zip(trials, alone, threaded, strict=True):
        assert not isinstance(one, Exception) and not isinstance(several, Exception), several
        for a, b in zip(one[0], several[0], strict=True):
            assert a.tobytes() == b.tobytes(), trial.graph.name
