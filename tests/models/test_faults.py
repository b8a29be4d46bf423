"""Small models for which ellc once gave wrong results, compiled for every target.

Each is called several times, with random bytes in its memory. Expected outputs are those of
onnxruntime without optimisations, of LiteRT's reference kernels for integers, or of the
specification. Models in `NOT_YET` must still fail; when one is fixed, remove it there.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from agreement import disagreement
from real_models import Arrays, RealModel

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.ir.errors import EllcError
from ellc.ir.pipeline import run_pipeline
from ellc.ir.stepwise import stepwise
from ellc.ir.types import Array

pytestmark = pytest.mark.needs_data

NOT_YET: dict[str, str] = {}
HALF_STEP = 2e-3
"""Tolerance for stored results in half precision; compiled code computes in float32."""
HALF = frozenset({"conv_half_precision.onnx"})

TARGETS = [
    "host",
    pytest.param("pi3", marks=pytest.mark.emulated("qemu-arm")),
    pytest.param("pi3_64", marks=pytest.mark.emulated("qemu-aarch64")),
]


def models() -> list[RealModel]:
    """All models with samples in the folder of faults."""
    folder = Path(os.environ.get("ELLC_TEST_DATA", "")) / "faults"
    return sorted((RealModel(p.with_suffix("")) for p in folder.glob("*.npz")), key=str)


# With an empty list, pytest would skip the test without a reason.
MODELS = [pytest.param(m, id=str(m)) for m in models()] or [pytest.param(None, id="none")]


@functools.cache
def answers(target: str) -> dict[str, str]:
    """What is wrong with each model (empty if nothing); all models are in one program."""
    said: dict[str, str] = {}
    trials: list[tuple[str, Trial, list[Arrays]]] = []
    for model in models():
        try:
            graph, _ = run_pipeline(model.graph())
        except EllcError as error:
            said[str(model)] = error.report()
            continue
        samples = list(model.samples())
        samples += samples[::-1]  # each is also run after another sample, in used memory
        # Stored results are those of first calls; with a state, later calls have other results.
        runs = [[sample] for sample in samples] if graph.states else [samples]
        for run in runs:
            calls = tuple(inputs for inputs, _ in run)
            trials.append((str(model), Trial(graph, calls), [want for _, want in run]))
    results = run_trials([trial for _, trial, _ in trials], resolve(target))
    for (name, _, wanted), got in zip(trials, results, strict=True):
        text = str(got) if isinstance(got, Exception) else _differences(name, got, wanted)
        said[name] = said.get(name, "") + text
    return said


def _differences(name: str, got: Sequence[Arrays], wanted: Sequence[Arrays]) -> str:
    differs = _differs_in_half if name in HALF else disagreement
    return "\n".join(
        f"call {number}: {text}"
        for number, (have, want) in enumerate(zip(got, wanted, strict=True))
        for text in map(differs, have, want)
        if text
    )


def _differs_in_half(got: Array, want: Array) -> str:
    worst = float(np.max(np.abs(got - want) / np.maximum(np.abs(want), 1.0)))
    return "" if worst <= HALF_STEP else f"differs by {worst:.3g}"


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("model", MODELS)
def test_fault_is_mended(model: RealModel, target: str) -> None:
    said = answers(target)[str(model)]
    if str(model) in NOT_YET:
        assert said, f"{model} is correct now: remove it from NOT_YET"
        pytest.xfail(NOT_YET[str(model)])
    assert not said, said


def test_every_fault_not_mended_yet_is_a_file() -> None:
    assert NOT_YET.keys() <= {str(model) for model in models()}


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_steps_one_by_one_end_as_the_runtime_s_whole_sequence(target: str) -> None:
    chosen = [model for model in models() if str(model).startswith("keras_")]
    assert chosen
    trials, wanted = [], []
    for model in chosen:
        (x,), want = next(model.samples())
        graph, _ = run_pipeline(stepwise(model.graph()))
        trials.append(Trial(graph, tuple((x[:, i : i + 1],) for i in range(x.shape[1]))))
        wanted.append(want)
    results = run_trials(trials, resolve(target))
    for model, want, calls in zip(chosen, wanted, results, strict=True):
        assert not isinstance(calls, Exception), calls
        assert not _differences(str(model), calls[-1:], [want])
