"""`ellc check`: agreement, differences, and the layer that is named for a difference."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parts import is_whole
from small_networks import convolution_network, two_way_network

from ellc.check.agreement import Agreement, compare
from ellc.check.calls import plausible_inputs
from ellc.check.checking import CheckOptions, check
from ellc.check.following import GuidedRun, follow
from ellc.cli import run
from ellc.codegen.blocks.calls import KernelCall
from ellc.codegen.blocks.candidates import FAMILIES, Candidate, Family
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.instrument import KeptProgram
from ellc.codegen.planning import ram_limit
from ellc.codegen.planning.choice import families_of
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.commands.check import text
from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.graph import Graph, Node
from ellc.ir.op import Op
from ellc.ir.ops.binary import Binarize, BinaryConv2D
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.fused import Fused, Stage
from ellc.ir.ops.pointwise import Add, Mul, Relu, Tanh
from ellc.ir.ops.pool import MaxPool2D
from ellc.ir.ops.quantised import Quantize
from ellc.ir.ops.quantised_conv import IntDense
from ellc.ir.ops.reduce import Softmax
from ellc.ir.rounding import undecided
from ellc.ir.types import DType, Padding, TensorType
from ellc.zoo.catalogue import build as build_network

LAYERS = CheckOptions(seeds=2, layers=True)
TARGETS = [
    "host",
    *(pytest.param(name, marks=pytest.mark.emulated) for name in ("pi0", "pi3", "pi3_64")),
]


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32) / 8


@pytest.fixture
def graph() -> Graph:
    """Float and binary convolutions, pooling, and an operator that can be computed in place."""
    b = GraphBuilder("mixed")
    x = b.input("picture", TensorType(DType.F32, (1, 10, 9, 3)))
    y = b.add(Conv2D(padding=Padding.same(1)), x, b.constant(weights(12, 3, 3, 3)), source="first")
    y = b.add(Binarize(), y, source="signs")
    bits = b.constant(weights(40, 3, 3, 12) > 0, DType.BIT)
    y = b.add(BinaryConv2D(padding=Padding.same(1)), y, bits, source="binary")
    y = b.add(MaxPool2D((2, 2), (2, 2)), y, source="pool")
    z = b.add(Tanh(), y, source="bend")
    y = b.add(Mul(), z, y, source="gate")
    y = b.add(Conv2D(), y, b.constant(weights(8, 1, 1, 40)), source="last")
    b.output("y", b.add(Relu(), y, source="positive"))
    return b.build()


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_every_layer_agrees(graph: Graph, target: str) -> None:
    report = check(graph, resolve(target), LAYERS)
    assert report.agrees and report.same_bytes
    assert report.first_difference is None
    sources = [source for layer in report.layers for source in layer.source]
    assert {"first", "signs", "binary", "pool", "bend", "gate", "last", "positive"} <= set(sources)
    binary = next(c for c in report.layers if c.operator == "binary_conv2d")
    assert binary.agreement.worst == 0.0


@pytest.mark.slow
def test_states_are_followed_through_calls() -> None:
    report = check(two_way_network(), resolve("host"), LAYERS)
    assert report.agrees and report.same_bytes
    assert {"state total", "state zero"} <= {c.name for c in report.layers}


def break_kernels(op: Op, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the kernels of an operator compute only half of the image."""

    def offer(family: Family, node: PlacedNode) -> Iterator[Candidate]:
        for candidate in family.offer(node):
            yield replace(candidate, make=partial(halved, candidate))

    def halved(candidate: Candidate) -> list[KernelCall]:
        return [replace(call, extent=call.extent // 2) for call in candidate.make()]

    broken = tuple(replace(f, offer=partial(offer, f)) for f in families_of(op))
    monkeypatch.setitem(FAMILIES, type(op), broken)


@pytest.mark.slow
def test_a_broken_kernel_is_the_first_difference(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_kernels(MaxPool2D((2, 2), (2, 2)), monkeypatch)
    report = check(graph, resolve("host"), LAYERS)
    assert not report.agrees
    assert report.same_bytes  # because both builds have the same mistake
    assert report.first_difference is not None
    assert "pool" in report.first_difference.source
    wrong = [c.name for c in report.layers if not c.agrees]
    assert wrong == [report.first_difference.name], "later layers are compared on computed operands"


@pytest.mark.slow
def test_results_that_depend_on_what_memory_held_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`ellc check` finds a mistake in the results even if the verifier of plans does not run."""

    def incomplete(*args: Any) -> Plan:
        plan = make_plan(*args)
        return replace(plan, steps=plan.steps[1:])

    monkeypatch.setattr(ram_limit, "make_plan", incomplete)
    report = check(convolution_network(), resolve("host"), CheckOptions(seeds=1))
    assert not report.steady and not report.agrees
    assert "OTHER BYTES" in text(report)


@pytest.mark.slow
def test_the_command_names_it_and_exits_with_one(
    graph: Graph,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save(graph, tmp_path / "mixed.eir")
    assert run(["check", str(tmp_path / "mixed.eir"), "--seeds", "1", "--layers"]) == 0
    assert "agrees on 1 input" in capsys.readouterr().out
    break_kernels(BinaryConv2D(), monkeypatch)
    assert run(["check", str(tmp_path / "mixed.eir"), "--seeds", "1", "--layers"]) == 1
    said = capsys.readouterr().out
    assert "first difference: mixed_001_binary_conv2d_binary" in said
    assert "layers binary" in said
    # If outputs differ and the network has signs, layers are compared without being requested.
    assert run(["check", str(tmp_path / "mixed.eir"), "--seeds", "1", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["first_difference"] == "mixed_001_binary_conv2d_binary"
    assert document["agrees"] is False


@pytest.mark.slow
def test_a_build_that_gives_other_bytes_is_no_witness(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = KeptProgram.run

    def other(self: KeptProgram, calls: list[tuple[bytes, ...]]) -> list[object]:
        return [((bytes(len(o[0])),), record) for o, record in original(self, calls)]

    monkeypatch.setattr(KeptProgram, "run", other)
    report = check(graph, resolve("host"), LAYERS)
    assert report.same_bytes is False
    assert not report.agrees


def test_targets_that_cannot_run_here_are_refused(
    graph: Graph, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(graph, tmp_path / "mixed.eir")
    assert run(["check", str(tmp_path / "mixed.eir"), "--target", "mac"]) == 2
    assert "E620" in capsys.readouterr().err


# --- tolerances -----------------------------------------------------------------------------------


def test_floats_agree_within_a_ten_thousandth() -> None:
    want = np.array([1.0, -100.0, 0.0, np.nan, np.inf], np.float32)
    near = np.array([1.00009, -100.009, 0.00009, np.nan, np.inf], np.float32)
    assert compare(near, want).wrong == 0
    far = np.array([1.00011, -100.011, 0.00011, 1.0, -np.inf], np.float32)
    assert compare(far, want).wrong == 5
    assert compare(want, want) == Agreement(5)


def test_integers_and_bits_agree_exactly() -> None:
    want = np.array([1, 2, 3], np.int32)
    assert compare(want + np.array([0, 0, 1], np.int32), want).wrong == 1
    bits = np.array([True, False])
    found = compare(~bits, bits, np.array([True, False]))
    assert (found.wrong, found.undecided) == (1, 1)


def convolution(stages: tuple[Stage, ...]) -> Node:
    return Node(Fused(Conv2D(), 2, stages), ("x", "w", "b"), ("y",))


def test_only_signs_next_to_zero_are_undecided() -> None:
    node = convolution((Stage(Add(), 1), Stage(Binarize())))
    x = np.array([1.0, 1.0, -1.0, 1e-3], np.float32).reshape(1, 1, 4, 1).repeat(3, axis=3)
    w = np.array([1.0, -1.0, 0.0], np.float32).reshape(1, 1, 1, 3)
    x[..., 1] += np.array([0.0, 1e-7, 1e-5, 0.0], np.float32).reshape(1, 1, 4)
    bias = np.zeros(1, np.float32)
    for wanted in (False, True):
        given = np.full((1, 1, 4, 1), wanted)
        # The sums are 0, -1.2e-7, -1e-5 and 0; sums of four terms of 1 have errors of up to 4.8e-7.
        free = undecided(node, (x, w, bias), given)[0, 0, :, 0]
        assert list(free) == ([True, True, False, True] if wanted else [True] * 4)


def test_only_roundings_next_to_a_half_are_undecided() -> None:
    node = Node(
        Fused(Conv2D(), 2, (Stage(Quantize("half_even", DType.I8), 2),)),
        ("x", "w", "scale", "zero"),
        ("y",),
    )
    x = np.array([[1.0, 0.5], [1.0, 0.5 + 2e-7], [1.0, 0.5 + 1e-5], [1.0, 0.25]], np.float32)
    x = x.reshape(1, 1, 4, 2)
    operands = (x, np.ones((1, 1, 1, 2), np.float32), np.float32([1.0]), np.int32([0]))
    assert node.op.reference(*operands)[0].reshape(-1).tolist() == [2, 2, 2, 1]
    for given, free in ((1, [True, True, False, False]), (3, [False] * 4)):
        found = undecided(node, operands, np.full((1, 1, 4, 1), given, np.int8))
        differs = np.array([2, 2, 2, 1]) != given
        assert (found.reshape(-1) & differs).tolist() == free


@pytest.mark.slow
def test_bytes_of_floats_and_of_integers_are_compared() -> None:
    """An 8-bit softmax after floats, and a network of integers only; results must be equal."""
    b = GraphBuilder("bytes")
    x = b.input("x", TensorType(DType.F32, (1, 40)))
    steps = b.constant(np.float32([1 / 256])), b.constant(np.int32([-128]))
    y = b.add(Softmax((1,)), b.add(Dense(), x, b.constant(weights(10, 40))))
    b.output("stored", b.add(Quantize("half_even", DType.I8), y, *steps))
    z = b.input("z", TensorType(DType.I8, (1, 40)))
    w = np.random.default_rng(0).integers(-99, 99, (10, 40), np.int8)
    b.output("sums", b.add(IntDense(input_zero=3), z, b.constant(w)))
    report = check(b.build(), resolve("host"), LAYERS)
    assert report.agrees and report.same_bytes
    assert {c.name: c.agreement.wrong for c in report.outputs} == {"stored": 0, "sums": 0}


def test_a_sign_of_an_exact_number_is_decided() -> None:
    node = Node(Binarize(), ("x",), ("y",))
    x = np.zeros((1, 3), np.float32)
    assert not undecided(node, (x,), np.ones((1, 3), np.bool_)).any()


# --- inputs ---------------------------------------------------------------------------------------


def test_inputs_have_the_range_of_the_metadata() -> None:
    b = GraphBuilder("ranges")
    picture = b.input("picture", TensorType(DType.F32, (1, 16, 16, 3)))
    signal = b.input("signal", TensorType(DType.F32, (64,)))
    b.output("p", picture)
    b.output("s", signal)
    graph = b.build()
    pixels, noise = plausible_inputs(graph, 0)
    assert pixels.min() >= 0 and 200 < pixels.max() <= 255
    assert np.array_equal(pixels, np.round(pixels))
    assert -1 <= noise.min() < -0.5 and 0.5 < noise.max() <= 1
    half = graph.with_metadata(
        {"model.input.expectedPixelRangeLow": "-1", "model.input.expectedPixelRangeHigh": "1"}
    )
    pixels, _ = plausible_inputs(half, 0)
    assert -1 <= pixels.min() < -0.9 and 0.9 < pixels.max() <= 1
    assert not np.array_equal(plausible_inputs(graph, 1)[0], plausible_inputs(graph, 2)[0])


# --- a reference guided by compiled signs ---------------------------------------------------------


def summed_signs() -> Graph:
    """The sign of x0 + x1, which is rounded twice; the sign is multiplied by a positive weight."""
    b = GraphBuilder("signs")
    x = b.input("x", TensorType(DType.F32, (1, 1, 2, 2)))
    ones = b.constant(np.ones((1, 1, 1, 2), np.float32))
    y = b.add(Conv2D(), x, ones)
    y = b.add(MaxPool2D((1, 1), (1, 1)), y)
    y = b.add(Binarize(), y)
    b.output("y", b.add(BinaryConv2D(), y, b.constant(np.ones((1, 1, 1, 1), np.bool_), DType.BIT)))
    return b.build()


def test_undecided_signs_are_taken_as_compiled_code_took_them() -> None:
    graph = summed_signs()
    value = next(n.output for n in graph.nodes if isinstance(n.op, Binarize))
    x = np.array([1.0, -1.0, 3.0, 4.0], np.float32).reshape(1, 1, 2, 2)
    for first in (False, True):
        compiled = np.array([first, True]).reshape(1, 1, 2, 1)
        guided = follow(graph, (x,), None, {value: compiled})
        assert guided.steps[value] == Agreement(2, 0, int(first))  # bit 0 stands for -1
        assert guided.outputs[0].reshape(-1).tolist() == [1.0 if first else -1.0, 1.0]


def test_a_sign_far_from_zero_must_not_differ() -> None:
    graph = summed_signs()
    value = next(n.output for n in graph.nodes if isinstance(n.op, Binarize))
    x = np.array([1.0, -1.0, 3.0, 4.0], np.float32).reshape(1, 1, 2, 2)
    guided = follow(graph, (x,), None, {value: np.zeros((1, 1, 2, 1), np.bool_)})
    assert guided.steps[value] == Agreement(2, 1, 0)


def test_a_tolerance_of_a_layer_counts_for_the_signs_behind_it() -> None:
    graph = summed_signs()
    value = next(n.output for n in graph.nodes if isinstance(n.op, Binarize))
    summed = next(n.output for n in graph.nodes if isinstance(n.op, Conv2D))
    x = np.array([1.0, -1.0001, 3.0, 4.0], np.float32).reshape(1, 1, 2, 2)
    compiled = {value: np.ones((1, 1, 2, 1), np.bool_)}  # bit 1 stands for +1
    for tolerance, wrong in ((0.0, 1), (1e-5, 1), (2e-5, 0)):
        guided = follow(graph, (x,), None, compiled, {summed: tolerance})
        assert guided.steps[value] == Agreement(2, wrong, 1 - wrong)


@pytest.mark.slow
def test_signs_that_differ_too_much_are_reported(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a bound that is far too small, the same code is reported as different."""
    monkeypatch.setattr(
        "ellc.check.following.reachable", lambda ends, got: np.zeros(got.shape, bool)
    )
    flipped = {"count": 0}

    def flip(
        graph: Graph,
        inputs: object,
        states: object,
        compiled: dict[str, np.ndarray],
        own: dict[str, float],
    ) -> GuidedRun:
        flipped["count"] += 1
        return follow(graph, inputs, states, {k: ~v for k, v in compiled.items()}, own)  # type: ignore[arg-type]

    monkeypatch.setattr("ellc.check.checking.follow", flip)
    report = check(graph, resolve("host"), CheckOptions(seeds=1, layers=True))
    assert flipped["count"] == 1
    assert not report.agrees
    assert report.first_difference is not None
    assert report.first_difference.name.startswith("signs ")
    assert {"first", "signs"} <= set(report.first_difference.source)


# --- the seed's network ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "seeds"),
    [
        ("host", 20 if is_whole() else 2),
        pytest.param("pi3", 1, marks=pytest.mark.emulated("qemu-arm")),
        *(
            [pytest.param("pi3_64", 1, marks=pytest.mark.emulated("qemu-aarch64"))]
            if is_whole()
            else []
        ),
    ],
)
def test_a_large_binary_network_agrees(target: str, seeds: int) -> None:
    width = 224 if is_whole() else 160
    graph = build_network(f"d_I{width}x{width}x3NCMNCMNBMNBMNBMNBMNC1A")
    report = check(graph, resolve(target), CheckOptions(seeds, layers=True))
    assert report.first_difference is None
    assert report.agrees and report.same_bytes
    binary = [c for c in report.layers if c.operator == "binary_conv2d"]
    assert len(binary) == 5
    signs = [c for c in report.guided if c.operator == "step"]
    assert sum(c.agreement.elements for c in signs) > 200_000 * seeds
    assert report.undecided < 20 * seeds, "undecided signs are rare: this bound is too large"
