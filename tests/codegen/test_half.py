"""Half precision: which layers compute in float16, and whether their kernels are right."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from ellc import cli
from ellc.check.agreement import compare
from ellc.check.transformed import HALF_OF_LARGEST
from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.boards import BOARDS
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.codegen.planning.halving import IN_HALF, POINTWISE, can_halve, halved
from ellc.codegen.planning.planner import make_plan
from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.graph import ARITHMETIC_KEY, HALF, Graph
from ellc.ir.interp import evaluate
from ellc.ir.op import Case, Op, all_ops
from ellc.ir.ops.activations import Relu, Sigmoid
from ellc.ir.ops.arithmetic import Add
from ellc.ir.ops.cast import Cast
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.fused import Fused
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.reduce import Softmax
from ellc.ir.ops.shape import Reshape
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array, DType, Padding, TensorType
from ellc.ir.verify import verify

PI5 = resolve("pi5")
RNG = np.random.default_rng(4)


def drawn(*shape: int) -> Array:
    return (RNG.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


@cache
def network() -> Graph:
    """Convolutions, depthwise and dense layers, both pools, a residual, and functions."""
    b = GraphBuilder("net")
    x = b.input("x", TensorType(DType.F32, (1, 12, 12, 3)))
    same = Padding.same(1)
    y = b.add(Relu(), b.add(Conv2D(padding=same), x, b.constant(drawn(16, 3, 3, 3))))
    z = b.add(Conv2D(padding=same, groups=16), y, b.constant(drawn(16, 3, 3, 1)))
    z = b.add(Relu(), b.add(Add(), b.add(Conv2D(), z, b.constant(drawn(16, 1, 1, 16))), y))
    z = b.add(MaxPool2D((2, 2), (2, 2)), z)
    z = b.add(Sigmoid(), b.add(Conv2D(padding=same), z, b.constant(drawn(24, 3, 3, 16))))
    z = b.add(Reshape((1, 24)), b.add(AvgPool2D((6, 6), (1, 1)), z))
    b.output("y", b.add(Softmax((1,)), b.add(Dense(), z, b.constant(drawn(10, 24)))))
    return run_pipeline(b.build())[0].with_metadata({ARITHMETIC_KEY: HALF})


# --- the choice of layers ------------------------------------------------------------------------


def test_products_and_what_is_between_them_are_halved() -> None:
    result = halved(network(), PI5)
    verify(result.graph)
    types = {
        (node.op.anchor if isinstance(node.op, Fused) else node.op).name: result.graph.types[
            node.output
        ].dtype
        for node in result.graph.nodes
        if not isinstance(node.op, Cast)
    }
    in_half = {"conv2d", "max_pool2d", "dense"}
    assert {name for name, dtype in types.items() if dtype is DType.F16} == in_half
    assert types["avg_pool2d"] is types["softmax"] is DType.F32
    assert result.graph.input_types() == network().input_types()
    assert result.graph.output_types() == network().output_types()
    assert result.notes == ("fp16: 5 layers compute products in float16",)


def test_without_the_option_nothing_changes() -> None:
    plain = network().with_metadata({ARITHMETIC_KEY: ""})
    assert halved(plain, PI5).graph is plain and halved(plain, PI5).notes == ()
    assert halved(plain, resolve("pi0")).graph is plain


def test_weights_that_do_not_fit_stay_in_float32() -> None:
    b = GraphBuilder("large")
    x = b.input("x", TensorType(DType.F32, (1, 8)))
    large = drawn(8, 8)
    large[3, 4] = 1e6
    y = b.add(Dense(), b.add(Dense(), x, b.constant(large)), b.constant(drawn(4, 8)))
    b.output("y", y)
    result = halved(b.build().with_metadata({ARITHMETIC_KEY: HALF}), PI5)
    verify(result.graph)
    assert result.notes == (
        "fp16: 1 layer computes products in float16; 1 with products in float32",
    )
    kinds = [result.graph.types[n.output].dtype for n in result.graph.nodes]
    assert kinds == [DType.F32, DType.F16, DType.F16, DType.F32]


def test_computed_weights_and_states_stay_in_float32() -> None:
    b = GraphBuilder("computed")
    x = b.input("x", TensorType(DType.F32, (1, 8)))
    w = b.input("w", TensorType(DType.F32, (4, 8)))
    state = b.state("s", np.zeros((1, 8), np.float32))
    hidden = b.add(Dense(), b.add(Add(), x, state), b.constant(drawn(8, 8)))
    b.set_state("s", hidden)
    b.output("y", b.add(Dense(), hidden, w))
    graph = b.build().with_metadata({ARITHMETIC_KEY: HALF})
    result = halved(graph, PI5)
    verify(result.graph)
    assert (result.layers, result.others) == (1, 1)
    (state_row,) = result.graph.states
    assert result.graph.types[state_row.next].dtype is DType.F32
    assert evaluate(result.graph, (np.ones((1, 8), np.float32), drawn(4, 8))).states


@pytest.mark.parametrize("name", BOARDS)
def test_targets_without_such_arithmetic_are_refused(name: str) -> None:
    target = BOARDS[name]
    if target.has("fp16"):
        assert make_plan(network(), target, Options(), "k").notes
        return
    with pytest.raises(EllcError, match="no arithmetic in half precision") as caught:
        make_plan(network(), target, Options(), "k")
    assert caught.value.code == "E607" and "--weights f16" in caught.value.hint


def test_float16_in_a_graph_needs_a_target_with_it_and_stays_inside() -> None:
    b = GraphBuilder("inside")
    x = b.input("x", TensorType(DType.F32, (1, 8)))
    b.output("y", b.add(Cast(DType.F32), b.add(Relu(), b.add(Cast(DType.F16), x))))
    graph = b.build()
    assert halved(graph, PI5).graph is graph
    with pytest.raises(EllcError) as caught:
        halved(graph, resolve("pi4"))
    assert caught.value.code == "E607"
    b = GraphBuilder("outside")
    b.output("y", b.add(Relu(), b.input("x", TensorType(DType.F16, (1, 8)))))
    with pytest.raises(EllcError, match="cannot be float16: x, y") as caught:
        halved(b.build(), PI5)
    assert caught.value.code == "E606"


# --- kernels -------------------------------------------------------------------------------------


def half_graph(case: Case, name: str) -> tuple[Graph, tuple[Array, ...]]:
    """A case in float16 between conversions of its inputs and outputs."""
    b = GraphBuilder(name)
    operands: list[Ref] = []
    inputs: list[Array] = []
    for index, array in enumerate(case.inputs):
        if index in case.constants:
            operands.append(b.constant(array.astype(np.float16)))
            continue
        inputs.append(array)
        port = b.input(f"x{index}", TensorType(DType.F32, array.shape))
        operands.append(b.add(Cast(DType.F16), port))
    for index, result in enumerate(b.add_multi(case.op, *operands)):
        b.output(f"y{index}", b.add(Cast(DType.F32), result))
    return b.build(), tuple(inputs)


def half_cases(op: type[Op]) -> Iterator[tuple[Graph, tuple[Array, ...]]]:
    """The samples of an operator on floats, as far as a layer in half precision can have them."""
    rng = np.random.default_rng(zlib.crc32(op.name.encode()))
    with np.errstate(over="ignore"):
        for index, case in enumerate(op.samples(rng)):
            computed = op in (Conv2D, Dense) and not case.constants
            floats = all(x.dtype == np.float32 for x in case.inputs)
            if can_halve(case.op) and floats and not computed:
                yield half_graph(case, f"{op.name}_{index}")


@pytest.mark.slow
@pytest.mark.emulated("qemu-aarch64")
def test_samples_of_all_operators_in_half_precision() -> None:
    ops = [op for op in all_ops().values() if op in IN_HALF]
    assert len(ops) == len(IN_HALF) and set(POINTWISE) < set(ops)
    # Of operators on single elements, the first samples differ in shape, the others in numbers.
    found = [case for op in ops for case in islice(half_cases(op), 2 if op in POINTWISE else None)]
    assert len(found) > 80
    trials = [Trial(graph, (inputs,)) for graph, inputs in found]
    for (graph, inputs), outcome in zip(found, run_trials(trials, PI5), strict=True):
        assert isinstance(outcome, list), (graph.name, outcome)
        for got, want in zip(outcome[0], evaluate(graph, inputs).outputs, strict=True):
            agreement = compare(got, want, of_largest=HALF_OF_LARGEST)
            assert not agreement.wrong, (graph.name, agreement)


@pytest.mark.slow
@pytest.mark.emulated("qemu-aarch64")
@pytest.mark.parametrize("name", ["pi5", "imx93"])
def test_a_network_agrees_with_the_reference_in_half_precision(name: str) -> None:
    x = RNG.standard_normal((1, 12, 12, 3)).astype(np.float32)
    target = resolve(name)
    trials = [Trial(network(), ((x,),), threads=n) for n in (1, 3)]
    outcomes = run_trials(trials, target)
    assert all(isinstance(outcome, list) for outcome in outcomes), outcomes
    one, three = (outcome[0][0] for outcome in outcomes)  # type: ignore[index]
    assert one.tobytes() == three.tobytes()
    rounded = evaluate(halved(network(), target).graph, (x,)).outputs[0]
    assert not compare(one, rounded, of_largest=HALF_OF_LARGEST).wrong
    exact = evaluate(network(), (x,)).outputs[0]
    assert 0 < np.abs(one - exact).max() < HALF_OF_LARGEST * exact.max()


# --- commands ------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> str:
    save(network().with_metadata({ARITHMETIC_KEY: ""}), tmp_path / "net.eir")
    return str(tmp_path / "net.eir")


@pytest.mark.slow
@pytest.mark.emulated("qemu-aarch64")
def test_the_check_says_how_far_outputs_move(
    saved: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["check", saved, "--fp16", "--target", "pi5", "--seeds", "1", "--layers"]
    assert cli.run(words) == 0
    shown = capsys.readouterr().out
    assert "fp16: the outputs for 1 random input change by at most" in shown
    assert cli.run([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["agrees"] and document["weights_change"]["what"] == "fp16"
    halves = [layer for layer in document["layers"] if layer["type"].endswith("f16")]
    assert len(halves) > 5


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--target", "pi3_64"], "E607"),
        (["--target", "pi5", "--emit", "c"], "E608"),
        (["--target", "pi5", "--weights", "f16"], "cannot be combined"),
        (["--target", "pi5", "--exact"], "cannot be combined"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    saved: str, words: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["compile", saved, "--fp16", "-o", str(tmp_path / "out"), *words]) == 2
    assert problem in capsys.readouterr().err


def test_explain_shows_the_conversions(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explain", saved, "--fp16", "--target", "pi5"]) == 0
    shown = capsys.readouterr().out
    assert "1x12x12x16 f16" in shown and shown.count("  cast ") == 4
