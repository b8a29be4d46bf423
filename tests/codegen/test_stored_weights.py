"""Weights of floats that are stored in 16 or 8 bits: codings, choice of layers, and kernels."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pytest

from ellc.check.agreement import compare
from ellc.codegen.blocks.calls import Options
from ellc.codegen.blocks.narrow import CODINGS
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Emitter, Trial, run_trials
from ellc.codegen.planning.narrowing import narrowed
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.explain.cycle_tool import modelled_cycles
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import WEIGHTS_KEY, Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.activations import Relu
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.shape import Reshape
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array, DType, Padding, TensorType

NAMES = tuple(CODINGS)
ERRORS = {"f16": 2.0**-11, "bf16": 2.0**-8, "int8": 0.5 / 127 * (1 + 2.0**-14)}
"""The largest error of a stored weight, relative to the largest weight of its filter."""
RNG = np.random.default_rng(5)


def drawn(*shape: int) -> Array:
    """Weights whose filters differ in size by orders of magnitude."""
    sizes = 10.0 ** RNG.uniform(-3, 2, (shape[0], *[1] * (len(shape) - 1)))
    return (RNG.standard_normal(shape) * sizes / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


# --- codings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_rounded_weights_are_near_and_are_stored_exactly(name: str) -> None:
    coding, weights = CODINGS[name], drawn(20, 3, 3, 11)
    weights[3], weights[4, 0, 0, 0] = 0.0, -0.0
    weights[5] = np.float32(1e-42)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rounded = coding.rounded(weights)
        coded = coding.coded(rounded)
    largest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    lost = np.finfo(np.float16).smallest_subnormal if name == "f16" else 1e-40
    assert (np.abs(rounded - weights) <= largest * ERRORS[name] + lost).all()
    assert coded is not None
    np.testing.assert_array_equal(coding.decode(coded), rounded)
    assert coded.stored.dtype == coding.elem.numpy
    np.testing.assert_array_equal(coding.rounded(rounded), rounded)
    assert coding.coded(weights) is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [np.inf, np.nan, np.finfo(np.float32).max])
def test_weights_that_do_not_fit_are_refused(name: str, value: float) -> None:
    weights = drawn(2, 8)
    weights[1, 5] = value
    with pytest.raises(OverflowError, match="does not fit"):
        CODINGS[name].rounded(weights)


# --- the choice of layers ------------------------------------------------------------------------


def network(coding: str) -> Graph:
    """Layers that are bound by memory: with groups, with padding other than 0, and dense ones.

    A convolution of many pixels precedes them.
    """
    b = GraphBuilder("stored")
    x = b.input("x", TensorType(DType.F32, (1, 12, 12, 16)))
    many = Conv2D(padding=Padding.same(1), stride=(6, 6))
    x = b.add(Relu(), b.add(Conv2D(padding=Padding.same(1)), x, b.constant(drawn(16, 3, 3, 16))))
    x = b.add(many, x, b.constant(drawn(32, 3, 3, 16)), b.constant(drawn(32)))
    grouped = Conv2D(padding=Padding(1, 1, 1, 1, (0.25,)), groups=2)
    x = b.add(Relu(), b.add(grouped, x, b.constant(drawn(44, 3, 3, 16)), b.constant(drawn(44))))
    x = b.add(Conv2D(padding=Padding(0, 0, 0, 0)), x, b.constant(drawn(35, 2, 2, 44)))
    x = b.add(Reshape((1, 35)), x)
    x = b.add(Relu(), b.add(Dense(), x, b.constant(drawn(130, 35)), b.constant(drawn(130))))
    x = b.add(Dense(), x, b.constant(drawn(37, 130)), b.constant(drawn(37)))
    b.output("y", x)
    ready = run_pipeline(b.build())[0]
    return ready.with_metadata({WEIGHTS_KEY: coding})


def families(plan: Plan) -> list[str]:
    return [s.predictions[0].kernel for s in plan.steps if s.macs]


@cache
def graph(coding: str) -> Graph:
    return network(coding)


def test_layers_that_are_bound_by_memory_are_chosen() -> None:
    plan = make_plan(graph("f16"), resolve("pi3_64"), Options(), "net")
    assert families(plan).count("f16_weights") == 5, families(plan)
    assert families(plan)[0] != "f16_weights"
    (note,) = plan.notes
    assert note.startswith("weights: 5 layers stored as f16, ")


def test_a_target_without_an_operating_system_stores_all_layers_in_fewer_bits() -> None:
    usual = make_plan(graph(""), resolve("imxrt1050"), Options(), "net")
    plan = make_plan(graph("int8"), resolve("imxrt1050"), Options(), "net")
    assert set(families(plan)) == {"int8_weights"}
    assert plan.weight_bytes < 0.3 * usual.weight_bytes


def test_a_kernel_that_the_user_names_is_used() -> None:
    usual = make_plan(graph("f16"), resolve("pi3_64"), Options(), "net")
    last = [s.values[0] for s in usual.steps if s.macs][-1]
    asked = Options(kernels=((last, "gemm"),))
    plan = make_plan(graph("f16"), resolve("pi3_64"), asked, "net")
    assert families(plan)[-1] == "gemm"
    assert families(plan).count("f16_weights") == 4


def test_weights_that_do_not_fit_and_weights_that_others_read_stay() -> None:
    b = GraphBuilder("shared")
    x = b.input("x", TensorType(DType.F32, (1, 64)))
    large = drawn(64, 64)
    large[0, 0] = 1e6
    weights, rows = b.constant(drawn(64, 64)), b.input("rows", TensorType(DType.F32, (100, 64)))
    b.output("y", b.add(Dense(), b.add(Dense(), x, weights), b.constant(large)))
    b.output("z", b.add(Dense(), rows, weights))
    made = b.build().with_metadata({WEIGHTS_KEY: "f16"})
    result = narrowed(made, resolve("pi3_64"), ())
    first, second, third = result.graph.nodes
    assert first.inputs[1] != third.inputs[1]
    assert len(result.kernels) == 1
    assert second.inputs[1] in {c.value for c in made.constants}
    assert len(result.graph.constants) == 3


def test_a_graph_that_asks_for_nothing_stays_as_it_is() -> None:
    assert narrowed(graph(""), resolve("pi3_64"), ()).graph is graph("")
    b = GraphBuilder("none")
    b.output("y", b.add(Relu(), b.input("x", TensorType(DType.F32, (3,)))))
    made = b.build().with_metadata({WEIGHTS_KEY: "bf16"})
    (note,) = narrowed(made, resolve("host"), ()).notes
    assert note == "weights: no layer is bound by memory, none is stored as bf16"


# --- kernels -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "emitter"),
    [
        ("host", "llvm"),
        ("host", "c"),
        pytest.param("linux", "llvm", marks=pytest.mark.slow),
        pytest.param("pi0", "llvm", marks=pytest.mark.emulated("qemu-arm")),
        pytest.param("pi3", "llvm", marks=pytest.mark.emulated("qemu-arm")),
        pytest.param("pi3_64", "llvm", marks=pytest.mark.emulated("qemu-aarch64")),
    ],
)
def test_they_compute_the_network_with_the_stored_weights(target: str, emitter: Emitter) -> None:
    x = np.random.default_rng(1).uniform(-1, 1, (1, 12, 12, 16)).astype(np.float32)
    row = resolve(target)
    trials = [Trial(graph(name), ((x,),)) for name in NAMES]
    for name, outcome in zip(NAMES, run_trials(trials, row, emitter), strict=True):
        assert not isinstance(outcome, Exception), outcome
        meant = make_plan(graph(name), row, Options(), "net").graph
        agreement = compare(outcome[0][0], evaluate(meant, (x,)).outputs[0])
        assert not agreement.wrong, (name, agreement)


@pytest.mark.slow
def test_threads_change_no_bit() -> None:
    x = np.random.default_rng(1).uniform(-1, 1, (1, 12, 12, 16)).astype(np.float32)
    trials = [Trial(graph(name), ((x,),), threads=n) for name in NAMES for n in (1, 2, 3, 7)]
    outcomes = run_trials(trials, resolve("host"))
    for start in range(0, len(trials), 4):
        found = outcomes[start : start + 4]
        assert not any(isinstance(outcome, Exception) for outcome in found), found
        assert len({outcome[0][0].tobytes() for outcome in found}) == 1  # type: ignore[index]


@pytest.mark.slow
@pytest.mark.needs_cycle_tool
@pytest.mark.emulated("qemu-aarch64")
def test_a_dense_layer_takes_as_long_as_reading_its_weights() -> None:
    """A Cortex-A53 reads 2 bytes a cycle. Twice, kernels took 1.7 times as long for floats."""
    target, cycles = resolve("pi3_64"), {}
    weights = drawn(512, 1024)
    for name in ("", "f16"):
        b = GraphBuilder("dense")
        x = b.input("x", TensorType(DType.F32, (1, 1024)))
        b.output("y", b.add(Dense(), x, b.constant(weights)))
        made = run_pipeline(b.build())[0].with_metadata({WEIGHTS_KEY: name})
        plan = make_plan(made, target, Options(), "net")
        cycles[name] = modelled_cycles(plan, "net").all_cycles
    read = weights.nbytes / target.core.memory_bytes
    assert read < cycles[""] < 1.1 * read
    assert 0.5 * read < cycles["f16"] < 0.6 * read
