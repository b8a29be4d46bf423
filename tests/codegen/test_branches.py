"""Networks with branches: the side that is not chosen does not run, and results are the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from agreement import disagreement
from small_networks import reference_of

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.codegen.output.glue import make_model, source_text
from ellc.codegen.planning.planner import make_plan
from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.graph import Graph
from ellc.ir.ops.comparisons import Greater, Select
from ellc.ir.ops.dense import MatMul
from ellc.ir.ops.loop import Loop, Walk
from ellc.ir.ops.pointwise import Add, Relu, Tanh
from ellc.ir.ops.reduce import Reduce
from ellc.ir.ops.shape import Reshape
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import DType, TensorType

Branch = Callable[[GraphBuilder, Ref], Ref]
WIDTH = 24


def _weights(b: GraphBuilder, seed: int) -> Ref:
    values = np.random.default_rng(seed).normal(size=(WIDTH, WIDTH)) / WIDTH**0.5
    return b.constant(values.astype(np.float32))


def _layers(seed: int) -> Branch:
    """Two products, an activation, and a sum with the operand."""

    def branch(b: GraphBuilder, x: Ref) -> Ref:
        y = b.add(Relu(), b.add(MatMul(), x, _weights(b, seed)))
        return b.add(Add(), b.add(MatMul(), y, _weights(b, seed + 1)), x)

    return branch


def _recurrent(b: GraphBuilder, x: Ref) -> Ref:
    """A loop over the rows of the operand; each trip reads the result of the previous one."""
    body = GraphBuilder("body")
    state = body.input("state", TensorType(DType.F32, (1, WIDTH)))
    element = body.input("element", TensorType(DType.F32, (WIDTH,)))
    mixed = body.add(MatMul(), state, _weights(body, 7))
    following = body.add(Tanh(), body.add(Add(), mixed, element))
    body.output("next", following)
    body.output("out", body.add(Reshape((WIDTH,)), following))
    loop = Loop(body.build(), 40, 1, (Walk(0),), (Walk(0),))
    start = b.constant(np.zeros((1, WIDTH), np.float32))
    return b.add_multi(loop, start, x)[1]


def _flag(b: GraphBuilder, x: Ref, limit: float) -> Ref:
    """Whether the sum of all elements is above a limit."""
    total = b.add(Reduce("sum", (0, 1), keep_dims=True), x)
    flag = b.add(Greater(), total, b.constant(np.full((1, 1), limit, np.float32)))
    return b.add(Reshape((1, 1)), flag)


def _choice(then: Branch, other: Branch, limit: float = 0.0) -> Branch:
    def branch(b: GraphBuilder, x: Ref) -> Ref:
        flag = _flag(b, x, limit)
        return b.add(Select(), then(b, x), other(b, x), flag)

    return branch


BRANCHES: dict[str, Branch] = {
    "layers": _choice(_layers(1), _layers(3)),
    "one side": _choice(_layers(1), lambda b, x: x),
    "nested": _choice(_choice(_layers(1), _layers(3), 5.0), _layers(5)),
    "a loop": _choice(_recurrent, _layers(3)),
}


def _network(branch: Branch) -> Graph:
    b = GraphBuilder("branches")
    x = b.input("x", TensorType(DType.F32, (40, WIDTH)))
    before = b.add(MatMul(), x, _weights(b, 11))
    b.output("y", b.add(Relu(), branch(b, before)))
    return run_pipeline(b.build())[0]


def _calls() -> list[tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(40, WIDTH)).astype(np.float32),) for _ in range(8)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "emitter", "threads"),
    [
        ("host", "llvm", 1),
        ("host", "c", 3),
        pytest.param("pi3", "llvm", 1, marks=pytest.mark.emulated("qemu-arm")),
    ],
)
def test_results_are_the_same(target: str, emitter: str, threads: int) -> None:
    graphs = [_network(branch) for branch in BRANCHES.values()]
    trials = [Trial(graph, tuple(_calls())) for graph in graphs]
    found = run_trials(trials, resolve(target), emitter, Options(threads=threads))  # type: ignore[arg-type]
    for graph, results in zip(graphs, found, strict=True):
        assert not isinstance(results, Exception), results
        for inputs, (got,) in zip(_calls(), results, strict=True):
            assert not disagreement(got, reference_of(graph, inputs)[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", BRANCHES)
def test_every_product_of_a_side_is_guarded(name: str) -> None:
    plan = make_plan(_network(BRANCHES[name]), resolve("pi3"), Options(), "m")
    products = [step for step in plan.steps if step.macs > WIDTH * WIDTH]
    assert not products[0].guards
    assert all(step.guards for step in products[1:])
    assert {guard.wanted for step in products[1:] for guard in step.guards} >= {True}
    assert source_text(make_model(plan, "m"), "test").count("if (*(f->arena") > 0
    if name == "nested":
        assert max(len(step.guards) for step in products) == 2


def test_both_sides_run_in_some_call() -> None:
    sums = [reference_of(_network(_flag_alone), x)[0].item() for x in _calls()]
    assert {bool(s) for s in sums} == {False, True}


def _flag_alone(b: GraphBuilder, x: Ref) -> Ref:
    one, zero = (b.constant(np.full((1, 1), v, np.float32)) for v in (1.0, 0.0))
    return b.add(Select(), one, zero, _flag(b, x, 0.0))
