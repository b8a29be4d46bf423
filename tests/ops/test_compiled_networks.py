"""Random networks, compiled after all passes and compared: views, borders, memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from agreement import disagreement
from parts import quick_seeds
from random_graphs import random_graph

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.ir.graph import Graph
from ellc.ir.interp import Result, evaluate
from ellc.ir.ops.binary import Binarize
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array, DType

MARGIN = 1e-4
"""A sign counts as decided if the magnitude is at least this fraction of the largest magnitude."""

CALLS = 2
NETWORKS = 60
WAYS = [
    pytest.param("host", "llvm", (0, 4), id="host-llvm"),
    pytest.param("host", "c", (5, 6), id="host-c"),
    pytest.param("pi0", "llvm", (6, 8), id="pi0", marks=pytest.mark.emulated("qemu-arm")),
    pytest.param("pi3", "llvm", (4, 6), id="pi3", marks=pytest.mark.emulated("qemu-arm")),
    pytest.param("pi3_64", "llvm", (3, 6), id="pi3_64", marks=pytest.mark.emulated("qemu-aarch64")),
]


def random_inputs(graph: Graph, seed: int) -> tuple[Array, ...]:
    rng = np.random.default_rng(seed)
    return tuple(
        rng.integers(0, 256, t.shape).astype(np.uint8)
        if t.dtype is DType.U8
        else rng.normal(size=t.shape).astype(t.dtype.numpy)
        for t in graph.input_types()
    )


def decided(graph: Graph, result: Result) -> bool:
    """Whether rounding cannot change any sign in the network."""
    for node in graph.nodes:
        if isinstance(node.op, Binarize):
            sizes = np.abs(result.values[node.inputs[0]])
            if sizes.size and sizes.min() <= MARGIN * sizes.max():
                return False
    return True


def expected(graph: Graph, calls: tuple[tuple[Array, ...], ...]) -> list[tuple[Array, ...]] | None:
    """The outputs of consecutive calls; None if a sign is undecided."""
    states, outputs = None, []
    for inputs in calls:
        result = evaluate(graph, inputs, states=states, keep=True)
        if not decided(graph, result):
            return None
        states = result.states
        outputs.append(result.outputs)
    return outputs


@pytest.mark.slow
@pytest.mark.parametrize(("target", "emitter", "part"), WAYS)
def test_random_networks(target: str, emitter: str, part: tuple[int, int]) -> None:
    trials: list[Trial] = []
    wanted: list[list[tuple[Array, ...]]] = []
    undecided, seeds = 0, quick_seeds(NETWORKS, *part)
    for seed in seeds:
        graph = random_graph(seed)
        calls = tuple(random_inputs(graph, seed * CALLS + i) for i in range(CALLS))
        want = expected(graph, calls)
        if want is None:
            undecided += 1
            continue
        trials.append(Trial(run_pipeline(graph)[0], calls))
        wanted.append(want)
    print(f"{undecided} of {len(seeds)} networks have signs that hang on rounding")
    assert len(trials) >= len(seeds) // 2
    wrong: list[str] = []
    results = run_trials(trials, resolve(target), "c" if emitter == "c" else "llvm")
    for trial, result, want in zip(trials, results, wanted, strict=True):
        if isinstance(result, Exception):
            wrong.append(f"{trial.graph.name}: {str(result).splitlines()[0]}")
            continue
        for call, (got, right) in enumerate(zip(result, want, strict=True)):
            said = [disagreement(a, b) for a, b in zip(got, right, strict=True)]
            wrong += [f"{trial.graph.name}, call {call}: {text}" for text in said if text]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "number"),
    [
        ("host", 0),
        pytest.param("pi3", 1, marks=pytest.mark.emulated("qemu-arm")),
        pytest.param("pi3_64", 2, marks=pytest.mark.emulated("qemu-aarch64")),
    ],
)
def test_threads_change_no_bit(target: str, number: int) -> None:
    graphs = [random_graph(seed) for seed in quick_seeds(15, number, 3)]
    trials = [Trial(run_pipeline(g)[0], (random_inputs(g, 7),)) for g in graphs]
    # All are in one program: the kernels for all numbers of threads are the same.
    every = [replace(trial, threads=threads) for threads in (1, 2, 3, 4) for trial in trials]
    results = run_trials(every, resolve(target))
    alone = results[: len(trials)]
    for threads in (2, 3, 4):
        threaded = results[(threads - 1) * len(trials) : threads * len(trials)]
        for trial, one, several in zip(trials, alone, threaded, strict=True):
            assert not isinstance(one, Exception) and not isinstance(several, Exception), several
            for a, b in zip(one[0], several[0], strict=True):
                assert a.tobytes() == b.tobytes(), f"{trial.graph.name} with {threads} threads"
