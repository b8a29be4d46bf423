"""Loops in the graph IR: how passes change them, and invalid bodies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from operator_graphs import sample_graph

from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph, Node
from ellc.ir.interp import evaluate
from ellc.ir.nested import all_graphs
from ellc.ir.op import Case
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.loop import Loop, Walk
from ellc.ir.ops.pointwise import Add, Mul, Tanh
from ellc.ir.ops.quantised_conv import IntDense
from ellc.ir.passes.canonicalise.eliminate_common import EliminateCommon
from ellc.ir.passes.canonicalise.eliminate_dead import EliminateDead
from ellc.ir.passes.canonicalise.loops import SimplifyLoops, UnrollLoops, unrolled
from ellc.ir.passes.canonicalise.nested_loops import UnrollNestedLoops
from ellc.ir.pipeline import run_pipeline
from ellc.ir.text import parse, print_graph, print_op
from ellc.ir.types import DType, TensorType
from ellc.ir.verify import verify
from ellc.ir.weights import WeightPool

CASES = list(Loop.samples(np.random.default_rng(3)))


def floats(*shape: int) -> TensorType:
    return TensorType(DType.F32, shape)


def stored(*shape: int) -> TensorType:
    return TensorType(DType.I8, shape)


def loops(graph: Graph) -> list[Node]:
    return [n for g in all_graphs(graph) for n in g.nodes if isinstance(n.op, Loop)]


def layer(trips: int = 7, axis: int = 0) -> Graph:
    """A loop h' = tanh(W x + R h); the weights are operands, and one result is not read."""
    rng = np.random.default_rng(0)
    inner = GraphBuilder("body")
    h, x = inner.input("h", floats(2, 4)), inner.input("x", floats(2, 3))
    w, r = inner.input("w", floats(4, 3)), inner.input("r", floats(4, 4))
    spare = inner.input("spare", floats(1))
    total = inner.add(Add(), inner.add(Dense(), x, w), inner.add(Dense(), h, r))
    h = inner.add(Tanh(), total)
    inner.output("h", h)
    inner.output("y", h)
    inner.output("unread", inner.add(Mul(), total, spare))
    b = GraphBuilder("layer")
    shape = [2, 3]
    shape.insert(axis, trips)
    x = b.input("x", floats(*shape))
    start = b.constant(np.zeros((2, 4), np.float32))
    fixed = [b.constant(rng.normal(size=s).astype(np.float32)) for s in ((4, 3), (4, 4), (1,))]
    walk = Walk(axis)
    loop = Loop(inner.build(), trips, 1, (walk,), (walk, walk))
    _, y, _ = b.add_multi(loop, start, x, *fixed)
    b.output("y", y)
    return b.build()


def outer_and_inner() -> Graph:
    """A nested loop: sums of rows, row by row."""
    row = GraphBuilder("row")
    total, x = row.input("total", floats()), row.input("x", floats())
    row.output("total", row.add(Add(), total, x))
    b = GraphBuilder("rows")
    total, line = b.input("total", floats()), b.input("line", floats(5))
    (total,) = b.add_multi(Loop(row.build(), 5, 1, (Walk(),)), total, line)
    b.output("total", total)
    b.output("every", total)
    top = GraphBuilder("table")
    x = top.input("x", floats(3, 5))
    zero = top.constant(np.zeros((), np.float32))
    last, every = top.add_multi(Loop(b.build(), 3, 1, (Walk(),), (Walk(),)), zero, x)
    top.output("last", last)
    top.output("every", every)
    return top.build()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_a_loop_is_its_trips_written_out(case: Case) -> None:
    graph, inputs = sample_graph(case, "sample")
    flat = unrolled(graph)
    verify(flat)
    assert not loops(flat) and len(flat.nodes) > len(graph.nodes)
    for double in (False, True):
        a, b = (evaluate(g, inputs, double=double).outputs for g in (graph, flat))
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y, strict=True)


@pytest.mark.parametrize("axis", [0, 1])
def test_products_of_elements_leave_the_loop(axis: int) -> None:
    graph = SimplifyLoops().run(layer(axis=axis))
    verify(graph)
    product, node = graph.nodes
    assert isinstance(product.op, Dense) and isinstance(node.op, Loop)
    assert [n.op.name for n in node.op.body.nodes] == ["dense", "add", "tanh"]
    assert len(node.inputs) == 2 and len(node.outputs) == 2  # neither weights nor unread results
    x = np.random.default_rng(1).normal(size=graph.input_types()[0].shape).astype(np.float32)
    want = evaluate(layer(axis=axis), (x,)).outputs[0]
    assert np.abs(evaluate(graph, (x,)).outputs[0] - want).max() < 1e-6


def test_products_of_stored_elements_leave_the_loop() -> None:
    inner = GraphBuilder("body")
    total, x = inner.input("total", TensorType(DType.I32, (2, 4))), inner.input("x", stored(2, 3))
    weights = inner.constant(np.arange(12, dtype=np.int8).reshape(4, 3))
    inner.output("total", inner.add(Add(), total, inner.add(IntDense(5), x, weights)))
    b = GraphBuilder("sums")
    start, sequence = b.input("start", TensorType(DType.I32, (2, 4))), b.input("x", stored(6, 2, 3))
    b.output("last", b.add(Loop(inner.build(), 6, 1, (Walk(),)), start, sequence))
    graph = SimplifyLoops().run(b.build())
    verify(graph)
    product, node = graph.nodes
    assert isinstance(product.op, IntDense) and isinstance(node.op, Loop)
    drawn = np.random.default_rng(2).integers(-128, 128, (6, 2, 3)).astype(np.int8)
    start_array = np.ones((2, 4), np.int32)
    (found,) = evaluate(graph, (start_array, drawn)).outputs
    want = start_array + (drawn.astype(np.int32) - 5).sum(0) @ np.arange(12).reshape(4, 3).T
    np.testing.assert_array_equal(found, want)


def test_products_whose_results_are_too_many_stay() -> None:
    graph = SimplifyLoops(sequence_bytes=7 * 2 * 4 * 4 - 1).run(layer())
    (node,) = graph.nodes
    assert isinstance(node.op, Loop)


def test_passes_run_inside_bodies() -> None:
    ready, report = run_pipeline(layer(), paranoid=True)
    (node,) = loops(ready)
    assert isinstance(node.op, Loop)
    assert [n.op.name for n in node.op.body.nodes] == ["fused"]
    assert all(not g.exact for g in all_graphs(ready))
    assert report.records


def test_one_trip_is_no_loop() -> None:
    ready, _ = run_pipeline(layer(trips=1), paranoid=True)
    assert not loops(ready)
    assert loops(UnrollLoops().run(layer(trips=2))) and not loops(UnrollLoops(2).run(layer(2)))


def test_loops_may_stand_in_loops() -> None:
    graph = outer_and_inner()
    verify(graph)
    assert len(loops(graph)) == 2 and parse(print_graph(graph), graph.weights) == graph
    x = np.arange(15, dtype=np.float32).reshape(3, 5)
    last, every = evaluate(graph, (x,)).outputs
    np.testing.assert_array_equal(every, np.cumsum(x.sum(1)))
    assert last == every[-1] == evaluate(unrolled(graph), (x,)).outputs[0]


def in_loops(depth: int, trips: int) -> Graph:
    """A sum of an element with itself, inside `depth` nested loops."""
    b = GraphBuilder("nest")
    x = b.input("x", floats(4))
    b.output(
        "y",
        b.add(Loop(in_loops(depth - 1, trips), trips, 1, (), ()), x)
        if depth
        else b.add(Add(), x, x),
    )
    return b.build()


def test_loops_too_deep_to_be_written_out() -> None:
    """Loops nested too deeply are refused before passes run on thousands of nodes per level."""
    calls = []
    with pytest.raises(EllcError, match="14 deep") as caught:
        run_pipeline(in_loops(14, 2), watch=lambda *call: calls.append(call))
    assert caught.value.code == "E304" and len(calls) <= 1
    assert not loops(run_pipeline(in_loops(14, 1))[0])  # loops of one trip are unrolled
    assert len(loops(run_pipeline(in_loops(3, 2))[0])) == 1


def test_many_loops_in_loops_are_not_all_written_out() -> None:
    """Each loop is within the bound, but even a small model can have any number of loops."""
    b = GraphBuilder("many")
    x = b.input("x", floats(4))
    for _ in range(3):
        x = b.add(Loop(in_loops(1, 3000), 3000, 1, (), ()), x)
    b.output("y", x)
    graph = b.build()
    assert UnrollNestedLoops().run(graph) is graph


def test_equal_loops_are_merged_without_printing_others(monkeypatch: pytest.MonkeyPatch) -> None:
    b = GraphBuilder("equal")
    x = b.input("x", floats(4))
    twice = [b.add(Loop(in_loops(0, 2), 2, 1, (), ()), x) for _ in range(2)]
    b.output("y", b.add(Loop(in_loops(0, 2), 2, 1, (), ()), b.add(Mul(), *twice)))
    printed = []
    module = "ellc.ir.passes.canonicalise.eliminate_common.print_op"
    monkeypatch.setattr(module, lambda op: printed.append(op) or print_op(op))
    assert len(loops(EliminateDead().run(EliminateCommon().run(b.build())))) == 2
    assert len(printed) == 2


def test_constants_only_are_folded() -> None:
    b = GraphBuilder("known")
    x = b.input("x", floats(3))
    case = next(c for c in CASES if c.label == "running sum")
    operands: list[Ref] = [b.constant(a) for a in case.inputs]
    total, _ = b.add_multi(case.op, *operands)
    b.output("y", b.add(Add(), x, total))
    ready, _ = run_pipeline(b.build())
    assert [n.op.name for n in ready.nodes] == ["add"]


def _with_body(graph: Graph, **changes: object) -> Graph:
    (node,) = loops(graph)
    assert isinstance(node.op, Loop)
    op = replace(node.op, body=replace(node.op.body, **changes))  # type: ignore[arg-type]
    return replace(graph, nodes=tuple(replace(n, op=op) if n is node else n for n in graph.nodes))


def test_what_is_wrong_inside_is_said() -> None:
    graph = layer()
    (node,) = loops(graph)
    assert isinstance(node.op, Loop)
    body = node.op.body
    for changed, said in (
        (_with_body(graph, weights=WeightPool()), "separate weight pool"),
        (_with_body(graph, nodes=body.nodes[1:]), "before it is defined"),
        (_with_body(graph, outputs=body.outputs[:2]), "its body has 2 outputs"),
        (_with_body(graph, inputs=body.inputs[::-1]), "'spare'"),
        (
            replace(graph, nodes=(replace(node, op=replace(node.op, trips=6)),)),
            "6 trips do not fit axis 0 of (7, 2, 3)",
        ),
    ):
        with pytest.raises(EllcError) as caught:
            verify(changed)
        assert said in caught.value.report()
