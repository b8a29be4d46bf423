"""Compiled loops give the same bits as unrolled loops, with code of constant size."""

from __future__ import annotations

import numpy as np
import pytest
from operator_graphs import samples

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.planner import make_plan
from ellc.ir.builder import GraphBuilder
from ellc.ir.errors import EllcError, InternalError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.loop import Loop, Walk
from ellc.ir.ops.pointwise import Add, Mul, Tanh
from ellc.ir.ops.recurrent import GRUCell, LSTMCell
from ellc.ir.passes.canonicalise.loops import unrolled
from ellc.ir.pipeline import PipelineOptions, default_passes, run_pipeline
from ellc.ir.types import Array, DType, TensorType

HOST = resolve("host")


def floats(*shape: int) -> TensorType:
    return TensorType(DType.F32, shape)


def network(trips: int, hidden: int = 12) -> Graph:
    """An LSTM, a GRU over the LSTM's results in reverse order, and sums of the results of both."""
    rng = np.random.default_rng(0)
    b = GraphBuilder("network")
    value = b.input("x", floats(trips, 2, 5))
    results = [value]
    for cell, gates, states, way in ((LSTMCell(), 4, 2, False), (GRUCell(), 3, 1, True)):
        size = results[-1].type.shape[2]
        body = GraphBuilder(cell.name)
        held = [body.input(f"s{i}", floats(2, hidden)) for i in range(states)]
        x = body.input("x", floats(2, size))
        shapes = ((gates * hidden, size), (gates * hidden, hidden), (gates * hidden,))
        w, r, bias = (
            body.constant((rng.normal(size=s) / np.sqrt(s[-1])).astype(np.float32)) for s in shapes
        )
        made = body.add_multi(cell, x, *held, w, r, bias, bias)
        for index, ref in enumerate((*made, made[0])):
            body.output(f"y{index}", ref)
        walk = Walk(reverse=way)
        loop = Loop(body.build(), trips, states, (walk,), (walk,))
        starts = [b.constant(np.zeros((2, hidden), np.float32)) for _ in range(states)]
        results.append(b.add_multi(loop, *starts, results[-1])[-1])
    b.output("y", b.add(Add(), results[1], results[2]))
    return b.build()


def needed_again() -> Graph:
    """A computed factor that every trip reads; the last kernel that reads it could overwrite it."""
    body = GraphBuilder("body")
    total, x, factor = (body.input(n, floats(2, 5)) for n in ("total", "x", "factor"))
    scaled = body.add(Tanh(), body.add(Mul(), factor, x))
    body.output("total", body.add(Add(), total, scaled))
    b = GraphBuilder("needed")
    x, start = b.input("x", floats(4, 2, 5)), b.input("start", floats(2, 5))
    operands = b.add(Tanh(), start), b.add(Tanh(), x), b.add(Tanh(), b.add(Mul(), start, start))
    b.output("y", b.add_multi(Loop(body.build(), 4, 1, (Walk(),)), *operands)[0])
    return b.build()


def plan(graph: Graph) -> Plan:
    return plan_of(run_pipeline(graph)[0])


def plan_of(ready: Graph) -> Plan:
    return make_plan(ready, HOST, Options(), "m")


def calls(graph: Graph, count: int) -> tuple[tuple[Array, ...], ...]:
    rng = np.random.default_rng(1)
    return tuple(
        tuple(rng.normal(size=t.shape).astype(np.float32) for t in graph.input_types())
        for _ in range(count)
    )


@pytest.mark.slow
@pytest.mark.parametrize("emitter", ["llvm", "c"])
def test_a_loop_gives_the_bits_of_its_trips_written_out(emitter: str) -> None:
    graphs = [network(6), needed_again()]
    graphs += [s.trial.graph for s in samples(Loop)]
    ready = [run_pipeline(g)[0] for g in graphs]
    trials = [Trial(form, calls(form, 2)) for graph in ready for form in (graph, unrolled(graph))]
    results = run_trials(trials, HOST, "c" if emitter == "c" else "llvm")
    for graph, a, b in zip(ready, results[::2], results[1::2], strict=True):
        assert not isinstance(a, Exception) and not isinstance(b, Exception), (a, b)
        for x, y in zip(a, b, strict=True):
            for one, other in zip(x, y, strict=True):
                assert one.tobytes() == other.tobytes(), graph.name


@pytest.mark.slow
def test_threads_change_no_bit() -> None:
    # The wide network has enough work to run on several threads.
    graphs = [run_pipeline(network(5, hidden))[0] for hidden in (12, 300)]
    trials = [Trial(g, calls(g, 2)) for g in graphs]
    alone = run_trials(trials, HOST)
    assert [any(s.repeat and not s.repeat.alone for s in plan(g).steps) for g in graphs] == [
        False,
        True,
    ]
    for threads in (2, 3):
        together = run_trials(trials, HOST, options=Options(threads=threads))
        for one, several in zip(alone, together, strict=True):
            assert not isinstance(one, Exception) and not isinstance(several, Exception)
            for x, y in zip(one, several, strict=True):
                assert [v.tobytes() for v in x] == [v.tobytes() for v in y]


def test_kernels_do_not_grow_with_the_trips() -> None:
    short, long = plan(network(4)), plan(network(400))
    assert [(s.name, s.op) for s in short.steps] == [(s.name, s.op) for s in long.steps]
    assert short.weight_bytes == long.weight_bytes
    assert sum(s.macs for s in long.steps) == 100 * sum(s.macs for s in short.steps)


def test_a_plan_that_forgets_the_next_trip_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("ellc.codegen.planning.storage.last_uses_in_loops", lambda nodes, last: last)
        with pytest.raises(InternalError, match="a part is overwritten"):
            plan(needed_again())
    monkeypatch.setattr("ellc.codegen.planning.planner._Steps._widen", lambda self, spans: None)
    with pytest.raises(InternalError, match="nothing has written"):
        plan(network(6))


def table(rows: int, columns: int) -> Graph:
    """A nested loop: running sums of rows, row by row."""
    row = GraphBuilder("row")
    total, x = row.input("total", floats()), row.input("x", floats())
    row.output("total", row.add(Tanh(), row.add(Add(), total, x)))
    b = GraphBuilder("rows")
    total, line = b.input("total", floats()), b.input("line", floats(columns))
    total = b.add_multi(Loop(row.build(), columns, 1, (Walk(),)), total, line)[0]
    b.output("total", total)
    b.output("every", total)
    top = GraphBuilder("table")
    x = top.input("x", floats(rows, columns))
    start = top.input("start", floats())
    loop = Loop(b.build(), rows, 1, (Walk(),), (Walk(),))
    for name, value in zip(("last", "every"), top.add_multi(loop, start, x), strict=True):
        top.output(name, value)
    return top.build()


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize(("rows", "columns"), [(30, 5), (5, 30)])
def test_of_a_loop_in_a_loop_the_shorter_one_is_written_out(
    rows: int, columns: int, optimize: bool
) -> None:
    passes = default_passes(PipelineOptions(optimize))
    ready = run_pipeline(table(rows, columns), passes, paranoid=True)[0]
    assert {s.repeat.trips for s in plan_of(ready).steps if s.repeat} == {max(rows, columns)}
    given = calls(ready, 1)
    (made,) = run_trials([Trial(ready, given)], HOST)
    assert not isinstance(made, Exception), made
    for a, b in zip(made[0], evaluate(table(rows, columns), given[0]).outputs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_loop_in_a_loop_that_is_too_long_is_refused() -> None:
    with pytest.raises(EllcError, match="E304"):
        plan(table(3000, 3000))
