"""Predictions choose good kernels for layers whose candidates have been measured."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from fit_predictions import (  # noqa: E402
    COEFFICIENTS,
    Coefficient,
    fit,
    is_near,
    layers_of,
    off,
)

from ellc.codegen.machine.resolve import resolve  # noqa: E402

NETWORKS = ("vww96", "resnet8", "mobilenet_v1_0.25")


@pytest.mark.slow
@pytest.mark.parametrize(("target", "part"), [("pi3", 0.9), ("pi3_64", 0.9)])
def test_choices_are_near_the_best_candidates(target: str, part: float) -> None:
    """Of all ten networks, `fit_predictions.py` says more: these have the smallest layers."""
    machine = resolve(target)
    layers = [layer for name in NETWORKS for layer in layers_of(machine, name)]
    every = [layer.pairs() for layer in layers]
    assert len(every) > 40
    assert sum(map(is_near, every)) >= part * len(every)
    logs = off([pair for pairs in every for pair in pairs[:3]])
    assert sorted(abs(logs))[len(logs) * 9 // 10] < 0.5

    # A fit moves a coefficient that is wrong back to where it was.
    slot = Coefficient("kernels.depthwise_cost", "_STREAM_COLUMN", 1)
    if slot in COEFFICIENTS.get((target, "depthwise_columns"), ()):
        (right,) = fit(layers, "depthwise_columns", [slot])
        with slot.changed(40.0):
            (again,) = fit(layers, "depthwise_columns", [slot])
        assert again == pytest.approx(right, rel=0.02) and slot.value < 40.0
