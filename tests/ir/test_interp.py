from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ellc.ir.builder import GraphBuilder
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate, initial_states
from ellc.ir.ops.pointwise import Add, Cast, Mul
from ellc.ir.types import DType, TensorType

PAIR = TensorType(DType.F32, (2,))


def counter() -> Graph:
    """A graph of y = state = state + x, whose state starts as (1, 2)."""
    b = GraphBuilder("counter")
    x = b.input("x", PAIR)
    s = b.state("sum", np.array([1, 2], np.float32))
    following = b.add(Add(), s, x)
    b.set_state("sum", following)
    b.output("y", following)
    return b.build()


def test_states_are_carried_by_the_caller() -> None:
    graph = counter()
    x = np.array([10, 20], np.float32)
    first = evaluate(graph, (x,))
    second = evaluate(graph, (x,), states=first.states)
    np.testing.assert_array_equal(first.outputs[0], [11, 22])
    np.testing.assert_array_equal(second.outputs[0], [21, 42])
    np.testing.assert_array_equal(evaluate(graph, (x,)).outputs[0], [11, 22])
    np.testing.assert_array_equal(initial_states(graph)["sum"], [1, 2])


def test_double_keeps_what_float32_loses() -> None:
    b = GraphBuilder("precision")
    x = b.input("x", PAIR)
    small = b.constant(np.array([1e-5], np.float32))
    b.output("y", b.add(Add(), b.add(Mul(), x, small), b.constant(np.array([1e4], np.float32))))
    graph = b.build()
    x = np.array([1, 3], np.float32)
    (single,) = evaluate(graph, (x,)).outputs
    (double,) = evaluate(graph, (x,), double=True).outputs
    assert single.dtype == np.float32 and double.dtype == np.float64
    np.testing.assert_array_equal(single, [1e4, 1e4])
    np.testing.assert_allclose(double, 1e4 + np.float64(np.float32(1e-5)) * x, rtol=1e-15)


def test_double_goes_on_behind_a_cast() -> None:
    b = GraphBuilder("cast")
    x = b.input("x", TensorType(DType.I32, (1,)))
    b.output("y", b.add(Mul(), b.add(Cast(DType.F32), x), b.constant(np.array([0.1], np.float32))))
    (y,) = evaluate(b.build(), (np.array([3]),), double=True).outputs
    assert y.dtype == np.float64
    assert y[0] == 3 * np.float64(np.float32(0.1))


def test_keep_gives_every_value(varied_graph: Graph) -> None:
    inputs = tuple(np.ones(t.shape, np.float32) for t in varied_graph.input_types())
    kept = evaluate(varied_graph, inputs, keep=True)
    assert set(kept.values) == set(varied_graph.types)
    for value, array in kept.values.items():
        assert array.shape == varied_graph.types[value].shape
    assert not evaluate(varied_graph, inputs).values


def test_wrong_inputs() -> None:
    graph = counter()
    with pytest.raises(EllcError) as error:
        evaluate(graph, (np.zeros((2, 1), np.float32),))
    assert error.value.code == "E120"
    with pytest.raises(EllcError):
        evaluate(graph, ())
    with pytest.raises(EllcError):
        evaluate(graph, (), states={"no such": np.zeros(2)})


def test_long_chain_without_recursion(chain: Callable[[int], Graph]) -> None:
    graph = chain(10_000)
    (y,) = evaluate(graph, (np.zeros(3, np.float32),), double=True).outputs
    np.testing.assert_array_equal(y, [10_000] * 3)
