"""NaN and infinities in typical positions of networks, compiled after all passes, on every target.

`test_compiled_ops.py` puts them into inputs of every operator, and `tests/soak/special.py`
into all operands.
"""

from __future__ import annotations

import numpy as np
import pytest
from agreement import disagreement
from operator_graphs import sample_graph, sample_of
from special_values import SpecialSample, differences

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.ir.interp import evaluate
from ellc.ir.op import Case, Op
from ellc.ir.ops.activations import Clip, LeakyRelu, Relu
from ellc.ir.ops.arithmetic import Pow
from ellc.ir.ops.binary import Binarize
from ellc.ir.ops.common import normal
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.conv_transpose import ConvTranspose2D
from ellc.ir.ops.fused import Fused, Stage
from ellc.ir.ops.norm import BatchNorm
from ellc.ir.ops.pool import LOWEST, MaxPool2D
from ellc.ir.ops.recurrent import LSTMCell
from ellc.ir.ops.reduce import ArgMax, ArgMin
from ellc.ir.ops.resize import Resize
from ellc.ir.ops.sorting import TopK
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array, Padding

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -2.0], np.float32)
TARGETS = [
    "host",
    pytest.param("pi3", marks=pytest.mark.emulated("qemu-arm")),
    pytest.param("pi3_64", marks=pytest.mark.emulated("qemu-aarch64")),
]


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_special_values_come_through(target: str) -> None:
    x = np.resize(SPECIAL, (1, 6, 6, 5))
    low = np.full((1, 6, 6, 5), -np.inf, np.float32)
    padded = MaxPool2D((3, 3), (2, 2), Padding(1, 1, 1, 1, LOWEST.values))
    few = np.array([[np.nan, -np.inf, np.nan, 2.0], [np.nan] * 4], np.float32)
    cases = [Case(op, (x,)) for op in (Relu(), LeakyRelu(0.1), Clip(0.0, 6.0), padded)]
    cases += [Case(padded, (low,)), Case(ArgMax(1), (few,)), Case(ArgMin(1, last=True), (few,))]
    cases += [Case(TopK(1, 4), (few,)), Case(TopK(1, 3, largest=False), (few,)), *_constants()]
    doubled = [Resize((1, 11, 11, 5), mode, "align_corners") for mode in ("linear", "cubic")]
    cases += [Case(op, (x,)) for op in doubled]
    trials = [
        Trial(run_pipeline(graph)[0], (inputs,))
        for graph, inputs in (sample_graph(c, f"special{i}") for i, c in enumerate(cases))
    ]
    for case, found in zip(cases, run_trials(trials, resolve(target)), strict=True):
        assert not isinstance(found, Exception), found
        with np.errstate(all="ignore"):
            wanted = case.op.reference(*case.inputs)
        for got, want in zip(found[0], wanted, strict=True):
            assert not disagreement(got, np.asarray(want)), f"{case.op}: {got}, not {want}"
    assert np.isnan(Relu().reference(SPECIAL)[0][0])
    assert np.isneginf(padded.reference(low)[0]).all()
    with np.errstate(invalid="ignore"):
        pooled = [op.reference(x)[0][:, ::2, ::2] for op in doubled]
    np.testing.assert_array_equal(pooled, [x, x])
    assert TopK(1, 2).reference(few)[1].tolist() == [[3, 0], [0, 1]]


def _constants() -> list[Case]:
    """Cases with special values in weights, parameters, padding and states."""
    rng = np.random.default_rng(20)
    x, weights = normal(rng, 1, 5, 6, 4), normal(rng, 8, 3, 3, 4)
    weights[2, 0, 1, 3], weights[5, 2, 2, 0] = np.inf, np.nan
    one_each = weights[:4, :, :, :1].copy()
    gamma = np.array([1.0, np.inf, -np.inf, 0.5], np.float32)
    cell = normal(rng, 1, 3)
    cell[0, 1] = np.inf
    lstm = (normal(rng, 1, 2), normal(rng, 1, 3), cell, normal(rng, 12, 2), normal(rng, 12, 3))
    root = np.array([0.5], np.float32)
    return [
        Case(Conv2D(padding=Padding.same(1)), (x, weights), (1,)),
        Case(Conv2D(padding=Padding.same(1), groups=4), (x, one_each), (1,)),
        Case(BatchNorm(), (x, gamma, *np.abs(normal(rng, 3, 4))), (1, 2, 3, 4)),
        Case(LSTMCell(), (*lstm, normal(rng, 12), normal(rng, 12)), (3, 4, 5, 6)),
        Case(Pow(), (SPECIAL, root), (1,)),
    ]


def _judged(case: Case, kind: str, result: Array) -> list[str]:
    sample = SpecialSample("judged", sample_of(case, "", "judged").trial, (kind,), (case,))
    return differences(sample, [(result,)], resolve("host"))


def test_nan_of_a_transposed_convolution_stays_near() -> None:
    x = np.ones((1, 6, 6, 1), np.float32)
    x[0, 0, 0, 0] = np.nan
    case = Case(ConvTranspose2D((2, 2)), (x, np.ones((1, 3, 3, 1), np.float32)), (1,))
    (made,) = evaluate(sample_of(case, "", "near").trial.graph, (x,)).outputs
    assert np.isnan(made).sum() > np.isnan(case.op.reference(*case.inputs)[0]).sum()
    assert not _judged(case, "nan", made)
    made[0, 8, 8, 0] = np.nan
    assert _judged(case, "nan", made)


def test_signs_of_groups_are_those_of_their_own_or_of_all_channels() -> None:
    x = np.ones((1, 1, 2, 4), np.float32)
    x[0, 0, 0, 0] = np.nan
    op = Fused(Conv2D(groups=2), 2, (Stage(Binarize()),))
    case = Case(op, (x, np.ones((4, 1, 1, 2), np.float32)), (1,))
    (made,) = op.reference(*case.inputs)
    assert made.tolist() == [[[[False, False, True, True], [True] * 4]]]
    for pixel, is_right in ((0, True), (1, False)):
        changed = made.copy()
        changed[0, 0, pixel, 3] = False
        assert bool(_judged(case, "nan", changed)) != is_right


@pytest.mark.parametrize(("op", "is_open"), [(LeakyRelu(0.5), False), (Relu(), True)])
def test_signs_of_zeros_are_open_for_searches_only(op: Op, is_open: bool) -> None:
    case = Case(op, (np.array([0.0, -0.0, 1.0], np.float32),))
    (made,) = op.reference(*case.inputs)
    assert not _judged(case, "zeros", made)
    made = np.where(made == 0, -made, made)
    assert bool(_judged(case, "zeros", made)) != is_open
