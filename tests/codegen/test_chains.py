"""Chains that are computed in bands give the same bits as layers that are computed one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, pairwise

import numpy as np
import pytest
from interpreted_plan import run_plan
from parts import quick_part, quick_seeds
from random_byte_graphs import random_byte_graph
from random_chains import random_chains
from random_graphs import random_graph
from small_networks import inputs_of, ready

from ellc.codegen.blocks.calls import Chain, Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.codegen.planning.bands import Bands, runs
from ellc.codegen.planning.plan import MOVE, Plan
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.planning.rolling import unrolled
from ellc.codegen.planning.verify_plan import verify_plan
from ellc.ir.branches import needs
from ellc.ir.builder import GraphBuilder
from ellc.ir.errors import InternalError
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.pointwise import Add, Relu
from ellc.ir.ops.pool import MaxPool2D
from ellc.ir.types import DType, Padding, TensorType

HOST = resolve("host")
GRAPHS = {"floats": random_graph, "bytes": random_byte_graph}


def residual_network(rows: int = 13, columns: int = 11) -> Graph:
    """Depthwise and pointwise convolutions, a residual, strides, a pool and a second output."""
    rng = np.random.default_rng(4)
    b = GraphBuilder("residual")

    def convolution(x: object, filters: int, side: int, stride: int = 1, groups: int = 1) -> object:
        depth = x.type.shape[3] // groups  # type: ignore[attr-defined]
        weights = b.constant(rng.normal(size=(filters, side, side, depth)).astype(np.float32))
        op = Conv2D((stride, stride), Padding.same(side // 2), (1, 1), groups)
        return b.add(op, x, weights)  # type: ignore[arg-type]

    x = b.input("x", TensorType(DType.F32, (1, rows, columns, 3)))
    first = b.add(Relu(), convolution(x, 8, 3))  # type: ignore[arg-type]
    wide = b.add(Relu(), convolution(first, 24, 1))  # type: ignore[arg-type]
    deep = b.add(Relu(), convolution(wide, 24, 3, groups=24))  # type: ignore[arg-type]
    both = b.add(Add(), convolution(deep, 8, 1), first)  # type: ignore[arg-type]
    small = b.add(MaxPool2D((2, 2), (2, 2)), both)
    last = convolution(small, 5, 5, stride=2)
    b.output("both", both)
    b.output("last", last)  # type: ignore[arg-type]
    return b.build()


def whole_chain(graph: Graph, rows: int, columns: int = 0) -> Chain:
    """All nodes of a graph as a chain."""
    return Chain(graph.nodes[0].output, graph.nodes[-1].output, rows, columns)


def drawn(kind: str, seeds: range) -> Iterator[tuple[Graph, tuple[Chain, ...], int]]:
    for seed in seeds:
        graph = ready(GRAPHS[kind](seed))
        if chains := random_chains(graph, seed):
            yield graph, chains, seed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "number"), [("host", 0), ("pi3_64", 1), ("imxrt1050", 0), ("wasm", 1)]
)
@pytest.mark.parametrize("kind", GRAPHS)
def test_bands_give_the_same_bits(kind: str, target: str, number: int) -> None:
    tried, machine = 0, resolve(target)
    for graph, chains, seed in drawn(kind, quick_seeds(12, number, 2)):
        layers, bands = (make_plan(graph, machine, Options(chains=c), "m") for c in ((), chains))
        inputs = inputs_of(graph, seed)
        for want, got in zip(run_plan(layers, inputs), run_plan(bands, inputs), strict=True):
            np.testing.assert_array_equal(got, want, str(seed))
        tried += len(chains)
    assert tried > 4


def padded_network(channels: int, groups: int) -> Graph:
    """A convolution whose padding is a number per channel, as a folded mean leaves it, and a pool.

    The caller's image has no border.
    """
    rng = np.random.default_rng(5)
    b = GraphBuilder("padded")
    x = b.input("x", TensorType(DType.F32, (1, 9, 10, channels)))
    weights = b.constant(rng.normal(size=(16, 3, 3, channels // groups)).astype(np.float32))
    padding = Padding(2, 1, 1, 2, tuple(rng.normal(size=channels).tolist()))
    y = b.add(Relu(), b.add(Conv2D(padding=padding, groups=groups), x, weights))
    b.output("y", b.add(MaxPool2D((2, 2), (2, 2)), y))
    return b.build()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("channels", "groups", "target"),
    [(3, 1, "host"), (3, 1, "pi3_64"), (16, 16, "pi3_64"), (4, 1, "imxrt1050")],
)
def test_padding_of_an_image_without_a_border_is_the_same_in_bands(
    channels: int, groups: int, target: str
) -> None:
    graph, machine = ready(padded_network(channels, groups)), resolve(target)
    inputs, value = inputs_of(graph, 1), graph.nodes[0].output
    assert runs(graph, needs(graph)) == (range(2),)
    chains = ((), *((whole_chain(graph, rows, columns),) for rows, columns in ((1, 0), (3, 3))))
    first = make_plan(graph, machine, Options(depth_first=False), "m").steps[0]
    for family in sorted({p.kernel for p in first.predictions}):
        want, *others = (
            make_plan(graph, machine, Options(chains=c, kernels=((value, family),)), "m")
            for c in chains
        )
        for got in others:
            assert any(step.band is not None for step in unrolled(got).steps)
            for a, b in zip(run_plan(got, inputs), run_plan(want, inputs), strict=True):
                np.testing.assert_array_equal(a, b, family)


def test_a_kernel_that_is_asked_for_also_computes_strips_of_one_column() -> None:
    rng, b = np.random.default_rng(6), GraphBuilder("strips")
    x = b.input("x", TensorType(DType.F32, (1, 6, 5, 3)))
    y = b.add(Conv2D(), x, b.constant(rng.normal(size=(8, 3, 3, 3)).astype(np.float32)))
    b.output("y", b.add(Conv2D(), y, b.constant(np.ones((8, 1, 1, 8), np.float32))))
    graph, machine = ready(b.build()), resolve("pi3_64")
    asked, inputs = ((graph.nodes[0].output, "direct:3x8"),), inputs_of(graph, 1)
    want, got = (
        make_plan(graph, machine, Options(chains=c, kernels=asked, depth_first=False), "m")
        for c in ((), (whole_chain(graph, 2, 1),))
    )
    for a, c in zip(run_plan(got, inputs), run_plan(want, inputs), strict=True):
        np.testing.assert_array_equal(a, c)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "emitter", "threads"),
    [
        ("host", "llvm", 3),
        ("host", "c", 1),
        pytest.param("pi3", "llvm", 1, marks=pytest.mark.slow),
        pytest.param("pi3_64", "llvm", 2, marks=pytest.mark.slow),
    ],
)
def test_compiled_bands_give_the_same_bits(target: str, emitter: str, threads: int) -> None:
    trials = []
    residual = ready(residual_network())
    widths = quick_part((0, 2), threads, 2)
    graphs = [(residual, (whole_chain(residual, 2, c),), c) for c in widths]
    seeds = quick_seeds(4, threads, 4)
    kinds = ("floats", "bytes") if target == "host" else quick_part(("bytes", "floats"), threads, 2)
    for graph, chains, seed in (*graphs, *chain.from_iterable(drawn(k, seeds) for k in kinds)):
        calls = tuple(inputs_of(graph, seed + i) for i in range(2))
        trials += [Trial(graph, calls, chains=c) for c in ((), chains)]
    options = Options(threads=threads, depth_first=False)
    outcomes = run_trials(trials, resolve(target), emitter, options)  # type: ignore[arg-type]
    for want, got in zip(outcomes[::2], outcomes[1::2], strict=True):
        assert not isinstance(want, Exception), want
        assert not isinstance(got, Exception), got
        for a, b in zip(want, got, strict=True):
            for x, y in zip(a, b, strict=True):
                np.testing.assert_array_equal(x, y)


@pytest.mark.slow
@pytest.mark.parametrize("results", ["2x2", "4x4"])
@pytest.mark.parametrize("columns", [0, 5])
def test_tiles_of_several_rows_are_not_cut(results: str, columns: int) -> None:
    """A row's rounding depends on its place in the tiles of a Winograd convolution."""
    rng = np.random.default_rng(8)
    b = GraphBuilder("tiles")
    x = b.input("x", TensorType(DType.F32, (1, 15, 14, 8)))
    for index in range(3):
        filters = b.constant(rng.normal(size=(8, 3, 3, 8)).astype(np.float32))
        x = b.add(Conv2D(padding=Padding.same(1)), x, filters, source=f"{index}")
    b.output("y", x)
    graph = ready(b.build())
    layer = make_plan(graph, HOST, Options(), "m").steps[0]
    offered = [p.name for p in layer.predictions if p.name.startswith(f"winograd:{results}")]
    if not offered:
        pytest.skip("this machine's convolutions do not have such tiles")
    kernels = (("0", offered[0]), ("1", offered[0]), ("2", offered[0]))
    layers, bands = (
        make_plan(graph, HOST, Options(kernels=kernels, chains=c), "m")
        for c in ((), (whole_chain(graph, 3, columns),))
    )
    inputs = inputs_of(graph)
    for want, got in zip(run_plan(layers, inputs), run_plan(bands, inputs), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.slow
def test_the_arena_shrinks_and_no_row_is_computed_twice() -> None:
    graph = ready(residual_network(64, 64))
    layers = make_plan(graph, HOST, Options(), "m")
    bands = make_plan(graph, HOST, Options(chains=(whole_chain(graph, 2),)), "m")
    assert bands.arena.arena_bytes < 0.3 * layers.arena.arena_bytes
    assert sum(s.macs for s in bands.steps) == sum(s.macs for s in layers.steps)
    strips = Options(chains=(whole_chain(graph, 2, 4),))
    narrow = make_plan(graph, HOST, strips, "m")
    macs = sum(s.macs for s in narrow.steps)
    assert sum(s.macs for s in layers.steps) < macs == Bands(graph, strips.chains[0]).macs()


@pytest.mark.slow
def test_code_does_not_grow_with_the_image() -> None:
    made = []
    for rows in (64, 96):
        graph = ready(residual_network(rows, 64))
        made.append(make_plan(graph, HOST, Options(chains=(whole_chain(graph, 2),)), "m"))
    small, large = made
    assert len(small.steps) == len(large.steps) < len(unrolled(small).steps)
    assert len({s.call.kernel.name for s in large.steps}) <= len(large.steps)
    assert len(unrolled(large).steps) > 1.4 * len(unrolled(small).steps)
    assert sum(s.macs for s in large.steps) == sum(s.macs for s in unrolled(large).steps)


@pytest.fixture(params=[(1, 0), (2, 0), (2, 3)], ids=str)
def plan(request: pytest.FixtureRequest) -> Plan:
    graph = ready(residual_network())
    chains = (whole_chain(graph, *request.param),)
    return unrolled(make_plan(graph, HOST, Options(chains=chains), "m"))


def test_every_step_of_a_chain_is_needed(plan: Plan) -> None:
    for index, step in enumerate(plan.steps):
        without = replace(plan, steps=plan.steps[:index] + plan.steps[index + 1 :])
        with pytest.raises(InternalError):
            verify_plan(without)
            pytest.fail(f"the verifier does not notice that step {step.name} is missing")


def test_the_order_of_bands_matters(plan: Plan) -> None:
    """A step that reads what the step before it writes, or overwrites what it reads, must wait."""
    for index, (first, second) in enumerate(pairwise(plan.steps)):
        if first.part is None or second.part is None:
            continue
        result, values = first.part.result, [x.value for x in second.part.operands if x]
        moved = second.op == MOVE and second.part.result.value in [
            x.value for x in first.part.operands if x
        ]
        if result.value not in values and not moved:
            continue
        steps = (*plan.steps[:index], second, first, *plan.steps[index + 2 :])
        with pytest.raises(InternalError):
            verify_plan(replace(plan, steps=steps))
            pytest.fail(f"{first.name} and {second.name} can be exchanged")


def test_a_part_reads_exactly_what_it_needs(plan: Plan) -> None:
    for index, step in enumerate(plan.steps):
        if step.part is None:
            continue
        for position, x in enumerate(step.part.operands):
            if x is None or x.box.rows[0] + 1 == x.box.rows[1]:
                continue
            less = replace(x, box=replace(x.box, rows=(x.box.rows[0] + 1, x.box.rows[1])))
            operands = list(step.part.operands)
            operands[position] = less
            part = replace(step.part, operands=tuple(operands))
            changed = replace(step, part=part)
            steps = (*plan.steps[:index], changed, *plan.steps[index + 1 :])
            with pytest.raises(InternalError):
                verify_plan(replace(plan, steps=steps))
                pytest.fail(f"{step.name} may read less")
