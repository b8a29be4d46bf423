"""The pipeline does not change any bit of the outputs of random 8-bit networks."""

from __future__ import annotations

import numpy as np
import pytest
from parts import quick_seeds
from random_byte_graphs import random_byte_graph

from ellc.ir.interp import evaluate
from ellc.ir.meaning import sample_array
from ellc.ir.ops.fused import Fused
from ellc.ir.ops.quantised import Requantize
from ellc.ir.pipeline import run_pipeline

SEEDS = quick_seeds(60, 0, 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_bit_changes(seed: int) -> None:
    graph = random_byte_graph(seed)
    after, _ = run_pipeline(graph, paranoid=True, seed=seed)
    rng = np.random.default_rng(seed)
    inputs = tuple(sample_array(t, rng, 1.0) for t in graph.input_types())
    for got, want in zip(
        evaluate(after, inputs).outputs, evaluate(graph, inputs).outputs, strict=True
    ):
        np.testing.assert_array_equal(got, want, strict=True)


@pytest.mark.slow
def test_sums_are_requantised_and_every_pass_for_bytes_has_something_to_do() -> None:
    after = [run_pipeline(random_byte_graph(seed)) for seed in SEEDS]
    nodes = [node for graph, _ in after for node in graph.nodes]
    stages = [s.op for n in nodes if isinstance(n.op, Fused) for s in n.op.stages]
    assert sum(isinstance(op, Requantize) for op in stages) > len(SEEDS)
    assert not any(isinstance(node.op, Requantize) for node in nodes)
    changed = {r.name for _, report in after for r in report.records if r.changed}
    assert changed >= {"simplify", "absorb_padding", "fuse_epilogue"}
