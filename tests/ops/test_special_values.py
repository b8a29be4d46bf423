"""NaN and infinities where networks meet them: activations and pools, compiled, on every target."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.targets import resolve
from codegen.testing import Trial, run_trials
from ir.builder import GraphBuilder
from ir.ops.activations import Clip, LeakyRelu, Relu
from ir.ops.pool import LOWEST, MaxPool2D
from ir.pipeline import run_pipeline
from ir.types import Padding, type_of

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -2.0], np.float32)
TARGETS = [
    "host",
    pytest.param("pi3", marks=pytest.mark.emulated("qemu-arm")),
    pytest.param("pi3_64", marks=pytest.mark.emulated("qemu-aarch64")),
]


@pytest.mark.parametrize("target", TARGETS)
def test_special_values_come_through(target: str) -> None:
    x = np.resize(SPECIAL, (1, 6, 6, 5))
    low = np.full((1, 6, 6, 5), -np.inf, np.float32)
    padded = MaxPool2D((3, 3), (2, 2), Padding(1, 1, 1, 1, LOWEST.values))
    cases = [(op, x) for op in (Relu(), LeakyRelu(0.1), Clip(0.0, 6.0), padded)] + [(padded, low)]
    trials = []
    for index, (op, values) in enumerate(cases):
        builder = GraphBuilder(f"special{index}")
        builder.output("y", builder.add(op, builder.input("x", type_of(values))))
        trials.append(Trial(run_pipeline(builder.build())[0], ((values,),)))
    for (op, values), found in zip(cases, run_trials(trials, resolve(target)), strict=True):
        assert not isinstance(found, Exception), found
        np.testing.assert_array_equal(found[0][0], op.reference(values)[0], err_msg=f"{op}")
    assert np.isnan(Relu().reference(SPECIAL)[0][0])
    assert np.isneginf(padded.reference(low)[0]).all()
