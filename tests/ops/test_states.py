"""States whose next values are other states: all must be read before any is written."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from agreement import disagreement

from ellc.codegen.machine.resolve import resolve
from ellc.codegen.measure.testing import Trial, run_trials
from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.pointwise import Add, FloorMod
from ellc.ir.ops.scatter import Scatter
from ellc.ir.ops.shape import Reshape
from ellc.ir.types import DType, TensorType


def states_graph() -> Graph:
    """A delay line of two states, two exchanged states, and a state that becomes a constant."""
    b = GraphBuilder("states")
    x = b.input("x", TensorType(DType.F32, (1, 5)))
    names = ("near", "far", "left", "right", "once")
    states = {n: b.state(n, np.full((1, 5), i, np.float32)) for i, n in enumerate(names)}
    b.set_state("far", states["near"])
    b.set_state("near", x)
    b.set_state("left", states["right"])
    b.set_state("right", b.add(Reshape((1, 5)), b.add(Reshape((5,)), states["left"])))
    b.set_state("once", b.constant(np.full((1, 5), 7.0, np.float32)))
    for name in names:
        b.output(name, b.add(Add(), x, states[name]))
    return b.build()


def ring_graph() -> Graph:
    """A ring buffer: a row at an index that wraps around is replaced, and all rows are read."""
    b = GraphBuilder("ring")
    x = b.input("x", TensorType(DType.F32, (1, 5)))
    rows, at = (
        b.state("rows", np.zeros((3, 5), np.float32)),
        b.state("at", np.array([[2]], np.int64)),
    )
    three = b.constant(np.array([3], np.int64))
    following = b.add(FloorMod(), b.add(Add(), at, b.constant(np.ones(1, np.int64))), three)
    written = b.add(Scatter(), rows, at, x)
    b.set_state("at", following)
    b.set_state("rows", written)
    b.output("before", b.add(Add(), rows, x))
    b.output("after", written)
    return b.build()


@pytest.mark.parametrize("make", [states_graph, ring_graph])
def test_states_from_call_to_call(make: Callable[[], Graph]) -> None:
    graph = make()
    rng = np.random.default_rng(0)
    calls = [(rng.normal(size=(1, 5)).astype(np.float32),) for _ in range(4)]
    states, wanted = None, []
    for inputs in calls:
        result = evaluate(graph, inputs, states=states)
        states = result.states
        wanted.append(result.outputs)
    (got,) = run_trials([Trial(graph, tuple(calls))], resolve("host"))
    assert not isinstance(got, Exception), got
    said: list[str] = []
    for call, (have, want) in enumerate(zip(got, wanted, strict=True)):
        said += [f"call {call}: {text}" for text in map(disagreement, have, want) if text]
    assert not said, "\n".join(said)
