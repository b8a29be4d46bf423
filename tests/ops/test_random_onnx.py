"""Random ONNX models: the reader, the passes and compiled code, compared with ONNX's evaluator."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import disagreement
from onnx_models import expected, read
from random_onnx import RandomOnnx

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.ir.interp import evaluate
from ellc.ir.pipeline import run_pipeline

SEEDS = range(12)


@pytest.mark.slow
def test_every_way_computes_what_the_model_says() -> None:
    trials, wants, wrong = [], [], []
    for seed in SEEDS:
        drawn = RandomOnnx(seed)
        proto, x = drawn.proto, drawn.input
        graph = read(proto)
        ready, _ = run_pipeline(graph)
        (want,) = expected(proto, {"x": x})
        for way, of_way in (("reader", graph), ("passes", ready)):
            (got,) = evaluate(of_way, (x,)).outputs
            if said := disagreement(got, want):
                wrong.append(f"seed {seed}, {way}: {said}")
        trials.append(Trial(ready, ((x,), (x,))))
        wants.append(want)
    for seed, want, result in zip(SEEDS, wants, run_trials(trials, resolve("host")), strict=True):
        assert not isinstance(result, Exception), f"seed {seed}: {result}"
        said = [disagreement(got, np.asarray(want)) for (got,) in result]
        wrong += [f"seed {seed}, compiled, call {n}: {text}" for n, text in enumerate(said) if text]
    assert wrong == []
