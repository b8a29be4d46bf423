"""Winograd convolutions: their matrices, results of random layers, and when they are chosen."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from parts import quick_seeds
from small_networks import inputs_of, ready, reference_of

from ellc.check.agreement import compare
from ellc.codegen.blocks.calls import Options
from ellc.codegen.kernels.error_growth import largest_growth
from ellc.codegen.kernels.winograd import OF_LARGEST
from ellc.codegen.kernels.winograd_error import error_bound
from ellc.codegen.kernels.winograd_transform import TAPS, operations, winograd
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Outputs, Trial, run_trials
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.toolchain.emulate import Guard
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.op import Op
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.elementwise import Unary
from ellc.ir.ops.pointwise import (
    Add,
    Clip,
    Elu,
    Gelu,
    HardSwish,
    LeakyRelu,
    MulAdd,
    PRelu,
    Relu,
    Sigmoid,
    Sign,
    Softplus,
    Swish,
    Tanh,
)
from ellc.ir.types import DType, Padding, TensorType

LAYERS = 12
LAYER = "layer"
CANDIDATES = tuple(f"winograd:{m}x{m}_{order}" for m in (2, 4) for order in ("planes", "panels"))


def network(
    image: tuple[int, ...],
    filters: int,
    *,
    conv: Conv2D | None = None,
    fused: bool = False,
    before: bool = False,
    window: int = 3,
    infinite: bool = False,
    stage: Op | None = None,
) -> Graph:
    """A convolution with a bias, by default with padding 1.

    `stage` is an operator after it. With `fused`, a sum with another input and a ReLU follow. With
    `before`, a ReLU comes first, so that the image is in the arena and may have a border.
    """
    b = GraphBuilder("net")
    rng = np.random.default_rng(0)
    x = b.input("x", TensorType(DType.F32, image))
    if before:
        x = b.add(Relu(), x)
    weights = rng.normal(size=(filters, window, window, image[3])).astype(np.float32)
    weights[0, 0, 0, 0] = np.inf if infinite else weights[0, 0, 0, 0]
    bias = b.constant(rng.normal(size=filters).astype(np.float32))
    conv = conv or Conv2D(padding=Padding.same(1))
    y = b.add(conv, x, b.constant(weights), bias, source=LAYER)
    if fused:
        shape = conv.infer(TensorType(DType.F32, image), TensorType(DType.F32, weights.shape))[0]
        y = b.add(Relu(), b.add(Add(), y, b.input("z", shape)))
    b.output("y", y if stage is None else b.add(stage, y))
    return ready(b.build())


def random_network(seed: int) -> Graph:
    """A layer of one or two images of up to 12 pixels a side, with odd numbers of channels."""
    rng = np.random.default_rng(seed)
    top, left, bottom, right = (int(n) for n in rng.integers(0, 3, 4))
    padding = Padding(top, left, bottom, right)
    rows, columns = (int(n) for n in rng.integers(3, 13, 2))
    image = (int(rng.integers(1, 3)), rows, columns, int(rng.integers(1, 40)))
    return network(
        image,
        int(rng.integers(1, 40)),
        conv=Conv2D(padding=padding),
        fused=seed % 3 == 0,
        before=seed % 2 == 0,
    )


@cache
def trials(number: int) -> tuple[Trial, ...]:
    """Random layers. Each is computed by a candidate, the first ones also on several threads."""
    every = []
    for seed in quick_seeds(LAYERS, number, 3):
        graph, name = random_network(seed), CANDIDATES[seed % len(CANDIDATES)]
        threads = (2, 4)[seed % 4 // 2] if name.endswith("planes") else 1
        call = inputs_of(graph, seed)
        every.append(Trial(graph, (call,), ((LAYER, name),), threads=threads))
    return tuple(every)


def results(trial: Trial, target: str = "host") -> Outputs:
    """The outputs of the only call of a trial."""
    (found,) = run_trials([trial], resolve(target))
    assert not isinstance(found, Exception), found
    return found[0]


@pytest.mark.parametrize("count", [2, 4])
def test_matrices_compute_correlations_exactly(count: int) -> None:
    made = winograd(count)
    rng = np.random.default_rng(count)
    data = [Fraction(int(n)) for n in rng.integers(-99, 99, made.points)]
    taps = [Fraction(int(n)) for n in rng.integers(-99, 99, TAPS)]

    def times(matrix: tuple[tuple[Fraction, ...], ...], x: list[Fraction]) -> list[Fraction]:
        return [sum((a * b for a, b in zip(row, x, strict=True)), Fraction(0)) for row in matrix]

    products = [
        a * b for a, b in zip(times(made.filters, taps), times(made.data, data), strict=True)
    ]
    wanted = [sum((taps[t] * data[k + t] for t in range(TAPS)), Fraction(0)) for k in range(count)]
    assert times(made.sums, products) == wanted
    exact = {c for row in (*made.data, *made.sums) for c in row}
    assert all(Fraction(float(np.float32(float(c)))) == c for c in exact)


def test_opposite_points_share_their_work() -> None:
    assert operations(2) == (4, 4)
    assert operations(4) == (14, 12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "guard", "number"),
    [
        ("host", "end", 0),
        pytest.param("pi3", "end", 1, marks=pytest.mark.emulated("qemu-arm")),
        pytest.param("pi3_64", "start", 2, marks=pytest.mark.emulated("qemu-aarch64")),
    ],
)
def test_random_layers_agree_with_the_reference(target: str, guard: Guard, number: int) -> None:
    every = run_trials(trials(number), resolve(target), guard=guard)
    for trial, found in zip(trials(number), every, strict=True):
        assert not isinstance(found, Exception), found
        (call,) = trial.calls
        ((made,),) = found
        (expected,) = reference_of(trial.graph, call)
        allowed = OF_LARGEST if "4x4" in trial.kernels[0][1] else 0.0
        assert not compare(made, expected, of_largest=allowed).wrong, (trial.graph, trial.kernels)


@pytest.mark.slow
def test_results_do_not_depend_on_threads_and_order() -> None:
    graph = network((1, 13, 30, 20), 24, before=True)
    call = inputs_of(graph, 0)
    for size in ("2x2", "4x4"):
        every = [
            results(Trial(graph, (call,), ((LAYER, name),), threads=threads))[0].tobytes()
            for name in CANDIDATES
            for threads in (1, 2, 3)
            if size in name and (threads == 1 or name.endswith("planes"))
        ]
        assert len(set(every)) == 1


@pytest.mark.slow
def test_nan_reaches_only_the_results_whose_window_contains_it() -> None:
    graph = network((1, 9, 9, 8), 8)
    (image,) = inputs_of(graph, 0)
    for row, column in ((0, 0), (3, 4), (4, 5), (8, 7)):
        holed = image.copy()
        holed[0, row, column, 3] = np.nan
        (made,) = results(Trial(graph, ((holed,),), ((LAYER, CANDIDATES[0]),)))
        assert np.array_equal(np.isnan(made), np.isnan(reference_of(graph, (holed,))[0]))


def plan_of(graph: Graph, target: str, threads: int = 1) -> Plan:
    """The plan of a layer."""
    return make_plan(graph, resolve(target), Options(threads=threads), "net")


@pytest.mark.slow
@pytest.mark.parametrize("target", ["pi3", "pi3_64", "pi4", "linux", "wasm"])
def test_it_is_taken_for_layers_with_many_channels(target: str) -> None:
    (step,) = plan_of(network((1, 14, 14, 64), 64), target).steps
    assert step.predictions[0].kernel == "winograd"


@pytest.mark.slow
@pytest.mark.parametrize("target", ["pi3", "pi3_64"])
def test_it_is_not_taken_for_few_channels(target: str) -> None:
    (step,) = plan_of(network((1, 14, 14, 3), 16), target).steps
    assert step.predictions[0].kernel != "winograd"


@pytest.mark.slow
def test_other_windows_strides_groups_types_and_targets_are_left_to_others() -> None:
    image = (1, 12, 12, 16)
    others: list[tuple[Graph, str]] = [
        (network(image, 16, conv=Conv2D(stride=(2, 1))), "pi3_64"),
        (network(image, 16, conv=Conv2D(dilation=(1, 2))), "pi3_64"),
        (network(image, 16, window=5), "pi3_64"),
        (network(image, 16), "pi0"),
        (network(image, 16, infinite=True), "pi3_64"),
    ]
    for graph, target in others:
        for step in plan_of(graph, target).steps:
            assert "winograd" not in {p.kernel for p in step.predictions}


def test_scratch_memory_of_bands_fits_in_the_cache() -> None:
    plan = plan_of(network((1, 64, 64, 64), 64), "pi3_64")
    (step,) = plan.steps
    assert step.predictions[0].kernel == "winograd"
    assert sum(b.bytes for b in plan.buffers.values() if b.kind == "scratch") <= 512 * 1024


def channels(filters: np.ndarray, depth: int) -> np.ndarray:
    """Filters [F,3,3,depth] whose windows are drawn multiples of the given ones."""
    rng = np.random.default_rng(0)
    return np.asarray(filters[..., None] * rng.normal(size=(len(filters), 1, 1, depth)))


WORST = np.zeros((16, 3, 3))
WORST[:, 2, 2] = 1.0


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_measured_errors_are_within_the_bound(count: int) -> None:
    graph = network((1, 24, 24, 64), 64)
    (key,) = (c.key for c in graph.constants if len(graph.types[c.value].shape) == 4)
    bound = error_bound(winograd(count), graph.weights[key])
    assert bound < (1e-5, 2e-6)[count == 2]
    call = inputs_of(graph, 0)
    name = f"winograd:{count}x{count}_planes"
    (made,) = results(Trial(graph, (call,), ((LAYER, name),)))
    wide = tuple(x.astype(np.float64) for x in call)
    (wanted,) = evaluate(graph, wide, double=True).outputs
    error = float(np.abs(made - wanted).max() / np.abs(wanted).max())
    assert bound / 20 < error < bound


def test_the_bound_decides() -> None:
    usual, worst = channels(np.ones((16, 3, 3)), 256), channels(WORST, 256)
    assert error_bound(winograd(4), usual) <= OF_LARGEST < error_bound(winograd(4), worst)
    assert not np.isfinite(error_bound(winograd(4), np.zeros((8, 3, 3, 8))))
    assert not np.isfinite(error_bound(winograd(2), np.full((8, 3, 3, 8), 1e-30)))


def schedule_of(graph: Graph) -> str:
    (step,) = plan_of(graph, "pi3_64").steps
    return step.predictions[0].schedule


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (Relu(), "4x4"),
        (LeakyRelu(0.1), "4x4"),
        (HardSwish(), "4x4"),
        (Clip(0.0, math.inf), "4x4"),
        (Clip(0.0, 6.0), "2x2"),
        (Sigmoid(), "2x2"),
    ],
)
def test_only_stages_that_do_not_limit_results_follow_tiles_of_4x4(
    stage: Op, expected: str
) -> None:
    graph = network((1, 16, 16, 32), 32, stage=stage)
    (step,) = plan_of(graph, "pi3_64").steps
    assert step.predictions[0].schedule.startswith(expected)
    assert step.sums.of_largest == (OF_LARGEST if expected == "4x4" else 0.0)


def normalised(scales: np.ndarray, slopes: np.ndarray | None = None) -> Graph:
    """A convolution, ReLU or PReLU, and a factor and an offset for each of its 32 filters."""
    b = GraphBuilder("net")
    rng = np.random.default_rng(1)
    x = b.input("x", TensorType(DType.F32, (1, 16, 16, 32)))
    weights = b.constant(rng.normal(size=(32, 3, 3, 32)).astype(np.float32))
    y = b.add(Conv2D(padding=Padding.same(1)), x, weights, source=LAYER)
    y = b.add(Relu(), y) if slopes is None else b.add(PRelu(), y, b.constant(slopes))
    offsets = b.constant(rng.normal(size=32).astype(np.float32))
    b.output("y", b.add(MulAdd(), y, b.constant(scales), offsets))
    return ready(b.build())


@pytest.mark.slow
def test_factors_after_a_stage_count_like_weights() -> None:
    rng = np.random.default_rng(2)
    usual = rng.uniform(0.5, 2.0, 32).astype(np.float32)
    assert schedule_of(normalised(usual)).startswith("4x4")
    assert schedule_of(normalised(usual, np.full(32, 0.25, np.float32))).startswith("4x4")
    assert schedule_of(normalised(np.zeros(32, np.float32))).startswith("2x2")
    # One filter has the worst window; only its factor makes it matter.
    filters = np.concatenate([channels(np.ones((31, 3, 3)), 256), channels(WORST[:1], 256)])
    few = np.array([*np.ones(31), 1e-3])
    assert error_bound(winograd(4), filters, few) <= OF_LARGEST
    assert error_bound(winograd(4), filters, 1 / few) > OF_LARGEST


@pytest.mark.parametrize("stage", [LeakyRelu(0.3), HardSwish(), Swish(), Gelu(), Elu(), Softplus()])
def test_stages_enlarge_errors_by_no_more_than_predicted(stage: Unary) -> None:
    rng = np.random.default_rng(0)
    for size in (0.01, 0.3, 1.0, 3.0, 100.0):
        values = rng.uniform(-size, size, 10_000)
        moved = values + rng.uniform(-1e-6, 1e-6, values.shape) * size
        error = np.abs(stage.value(moved) - stage.value(values)).max()
        relative = error / np.abs(stage.value(values)).max()
        assert relative <= 1.01e-6 * largest_growth(stage, both_signs=True)


def test_stages_that_limit_results_have_no_bound() -> None:
    for stage in (Clip(0.0, 6.0), Sigmoid(), Tanh(), Sign()):
        assert largest_growth(stage, both_signs=True) > 100
    # Behind a ReLU, a limit from above is one.
    assert largest_growth(Clip(-math.inf, 1.0), both_signs=True) == 1.0
    assert largest_growth(Clip(-math.inf, 1.0), both_signs=False) > 100
