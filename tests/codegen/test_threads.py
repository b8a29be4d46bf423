"""How many threads a network is compiled for, and how finely its steps are divided."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_networks import convolution_network

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.output.glue import make_model
from ellc.codegen.planning import ram_limit
from ellc.codegen.planning.choice import Wishes, predictions_of
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.plan_text import print_plan
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.planning.step_costs import BARRIER_CYCLES, StepCost, grain, step_costs
from ellc.codegen.planning.storage import Storage
from ellc.codegen.planning.threads import _time, plan_for_threads, useful_threads
from ellc.driver import compile_model
from ellc.ir.branches import needs
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.padding import Padding
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, TensorType

BOARD = resolve("pi3_64")


def network(size: int, channels: int = 16) -> Graph:
    """Three convolutions of an image of `size` x `size`; the last one has only one result."""
    b = GraphBuilder("three")
    x = b.input("x", TensorType(DType.F32, (1, size, size, channels)))
    weights = np.ones((channels, 3, 3, channels), np.float32)
    for _ in range(2):
        x = b.add(Conv2D(padding=Padding.same(1)), x, b.constant(weights))
    whole = b.constant(np.ones((1, size, size, channels), np.float32))
    b.output("y", b.add(Conv2D(), x, whole))
    return run_pipeline(b.build())[0]


def planned(graph: Graph, threads: int | None = None) -> Plan:
    return plan_for_threads(graph, BOARD, Options(), "m", threads=threads)


@pytest.mark.slow
def test_a_small_network_is_built_for_one_thread_and_a_large_one_for_all_cores() -> None:
    small, _ = run_pipeline(convolution_network())
    assert planned(small).options.threads == 1
    assert print_plan(planned(small)) == print_plan(planned(small, 1))
    assert planned(small, 3).options.threads == 3
    assert BOARD.cores == 4
    assert planned(network(48)).options.threads == 4
    assert "threads 4" in print_plan(planned(network(48)))


@pytest.mark.slow
def test_no_more_threads_than_are_worth_having() -> None:
    steps = planned(network(48), 32).steps
    counts = [useful_threads(steps, BOARD, most) for most in range(1, 33)]
    assert counts == sorted(counts) and counts[:4] == [1, 2, 3, 4]
    some = planned(network(12), 32)
    assert 1 < useful_threads(some.steps, BOARD, 32) < 32
    assert planned(network(48)).target.has_os
    alone = replace(BOARD, cores=1)
    assert plan_for_threads(network(48), alone, Options(), "m").options.threads == 1


@pytest.mark.slow
def test_a_network_that_gains_little_stays_on_one_thread() -> None:
    found = set()
    for size in (2, 4, 6, 8, 12, 24):
        steps = planned(network(size), 4).steps
        costs = step_costs(steps, BOARD)
        times = {n: _time(steps, costs, BOARD, n) for n in range(1, 5)}
        useful = useful_threads(steps, BOARD, 4)
        assert useful == 1 or times[useful] < 0.7 * times[1]
        found.add((min(times.values()) < 0.95 * times[1], useful > 1))
    assert found == {(False, False), (True, False), (True, True)}


@pytest.mark.slow
def test_a_part_of_a_step_is_worth_a_barrier() -> None:
    core = BOARD.core
    for size in (2, 12, 48):
        plan = planned(network(size), 4)
        model = make_model(plan, "m", 4)
        costs = step_costs(plan.steps, BOARD)
        assert all(cost.slots > 0 and cost.moved_bytes > 0 for cost in costs)
        for call, cost in zip(model.steps, costs, strict=True):
            assert 1 <= call.grain <= max(1, call.extent)
            if cost.cycles(core) < 2 * BARRIER_CYCLES:
                assert call.grain >= call.extent
            else:
                assert cost.cycles(core) * call.grain >= BARRIER_CYCLES * call.extent
        assert (model.steps[0].grain < model.steps[0].extent) == (size > 2)


def test_a_step_that_waits_for_memory_is_not_divided() -> None:
    core = BOARD.core
    work = 40 * BARRIER_CYCLES
    computing = StepCost(work / core.slot_cycles, 1000)
    reading = StepCost(1000, int(3 * BARRIER_CYCLES / core.byte_cycles))
    assert grain(1000, computing, core, 4) < 1000
    assert grain(1000, reading, core, 4) == 1000
    for parts in (2, 3, 4):
        assert computing.cycles(core) / computing.cycles(core, parts) > 0.99 * parts
        assert reading.cycles(core) / reading.cycles(core, parts) < core.shared_speed + 0.1


@pytest.mark.slow
def test_a_network_is_planned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(graph: Graph, *more: object) -> Plan:
        made.append(graph)
        return make_plan(graph, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(ram_limit, "make_plan", counted)
    small, _ = run_pipeline(convolution_network())
    for graph in (small, network(4), network(12), network(48)):
        planned(graph)
        assert made.pop() is graph and not made


@pytest.mark.slow
def test_the_manifest_says_how_many(tmp_path: Path) -> None:
    for size, threads in ((2, 1), (48, 4)):
        made = compile_model(network(size), "pi3_64", out_dir=tmp_path / str(size))
        assert made.manifest["threads"] == threads
        header = (tmp_path / str(size) / "three.h").read_text()
        assert f"#define three_THREADS {threads} " in header


def test_algorithms_do_not_depend_on_the_number_of_threads() -> None:
    """Otherwise bits would: Winograd's algorithms add in another way."""
    rng = np.random.default_rng(5)
    b = GraphBuilder("net")
    x = b.input("x", TensorType(DType.F32, (2, 33, 33, 8)))
    for filters in (8, 20, 7):
        weights = rng.normal(size=(filters, 3, 3, x.type.shape[3])).astype(np.float32)
        x = b.add(Conv2D(padding=Padding.same(1)), x, b.constant(weights))
    b.output("y", x)
    graph, _ = run_pipeline(b.build())
    found = []
    for threads in (1, 2, 3, 4):
        plan = make_plan(
            graph, resolve("orangepi0"), Options(threads=threads, depth_first=False), "net"
        )
        first = [step.predictions[0] for step in plan.steps if step.predictions]
        found.append([(p.kernel, p.sums) for p in first])
    assert found.count(found[0]) == 4
    assert any(sums.algorithm for _, sums in found[0])


@pytest.mark.parametrize("side", [1, 3])
def test_a_kernel_has_its_name_with_any_number_of_threads(side: int) -> None:
    """Names that one thread's plan lists, also long ones that tell an order, can be asked for."""
    b = GraphBuilder("net")
    x = b.input("x", TensorType(DType.F32, (1, 12, 9, 16)))
    weights = np.random.default_rng(5).normal(size=(24, side, side, 16)).astype(np.float32)
    b.output("y", b.add(Conv2D(padding=Padding.same(side // 2)), x, b.constant(weights)))
    graph, _ = run_pipeline(b.build())
    alone = Storage(graph, needs(graph), BOARD).placed(graph.nodes[0], 1, "k")
    listed = predictions_of(alone, wishes=Wishes(listed=1000))
    some = [p for p in listed if p.kernel == "winograd" or p.schedule.startswith("2x8")]
    names = {f"{p.kernel}:{name}" for p in some for name in (p.schedule, *p.aliases)}
    long = [name for name in names if name.startswith("gemm:2x8b")]
    assert len(long) == sum(p.kernel == "gemm" for p in some) > 3
    for name in names:
        for threads in (1, 2, 4):
            found, *_ = predictions_of(replace(alone, threads=threads), name)
            assert found.is_named(name)
