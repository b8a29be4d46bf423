from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from ellc.ir.builder import GraphBuilder
from ellc.ir.errors import EllcError
from ellc.ir.graph import Constant, Graph, Node, Port, State
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.pointwise import Add, Relu
from ellc.ir.types import DType, Padding, TensorType
from ellc.ir.verify import verify

IMAGE = TensorType(DType.F32, (1, 4, 4, 2))


@pytest.fixture
def graph() -> Graph:
    """The graph in0 -> conv -> v2; v2 + state -> v4; v4 is both the next state and the output."""
    b = GraphBuilder("g")
    x = b.input("x", IMAGE)
    w = b.constant(np.ones((2, 1, 1, 2), np.float32))
    v = b.add(Conv2D(), x, w)
    s = b.state("memory", np.zeros((1, 4, 4, 2), np.float32))
    total = b.add(Add(), v, s)
    b.set_state("memory", total)
    b.output("y", total)
    return b.build()


def problems(graph: Graph) -> str:
    with pytest.raises(EllcError) as error:
        verify(graph, "after pass x")
    assert error.value.code == "E110"
    assert error.value.where == "after pass x"
    return "\n".join(error.value.problems)


def retyped(graph: Graph, value: str, type_: TensorType) -> Graph:
    return replace(graph, types={**graph.types, value: type_})


def test_a_good_graph_passes(graph: Graph, varied_graph: Graph) -> None:
    verify(graph)
    verify(varied_graph)


def test_order_of_nodes(graph: Graph) -> None:
    assert "before it is defined" in problems(replace(graph, nodes=graph.nodes[::-1]))


def test_a_value_made_twice(graph: Graph) -> None:
    again = Node(Relu(), (graph.inputs[0].value,), graph.nodes[0].outputs)
    assert "again" in problems(replace(graph, nodes=(graph.nodes[0], again, *graph.nodes[1:])))


def test_an_unknown_operand(graph: Graph) -> None:
    bad = replace(graph.nodes[1], inputs=("nowhere", "nothing"))
    assert "%nowhere" in problems(replace(graph, nodes=(graph.nodes[0], bad)))


def test_a_wrong_result_type(graph: Graph) -> None:
    wrong = TensorType(DType.F32, (1, 4, 4, 3))
    assert "inferred" in problems(retyped(graph, graph.nodes[0].output, wrong))


def test_operands_that_do_not_fit(graph: Graph) -> None:
    shifted = replace(graph.nodes[0], op=Conv2D(groups=2))
    assert "groups" in problems(replace(graph, nodes=(shifted, graph.nodes[1])))


def test_a_missing_type(graph: Graph) -> None:
    types = {v: t for v, t in graph.types.items() if v != graph.nodes[0].output}
    assert "no type" in problems(replace(graph, types=types))


def test_a_missing_input_type(graph: Graph) -> None:
    types = {v: t for v, t in graph.types.items() if v != graph.inputs[0].value}
    assert graph.inputs[0].value in problems(replace(graph, types=types))


def test_a_missing_array(graph: Graph) -> None:
    lost = Constant(graph.constants[0].value, "0" * 32)
    assert "no array" in problems(replace(graph, constants=(lost,)))


def test_an_array_of_another_type(graph: Graph) -> None:
    value = graph.constants[0].value
    key = graph.weights.add(np.ones((2, 1, 1, 2), np.float64))
    assert "float64" in problems(replace(graph, constants=(Constant(value, key),)))


def test_outputs_and_states_that_are_never_made(graph: Graph) -> None:
    assert "never defined" in problems(replace(graph, outputs=(Port("y", "lost"),)))
    state = replace(graph.states[0], next="lost")
    assert "never defined" in problems(replace(graph, states=(state,)))


def test_a_state_that_changes_its_type(graph: Graph) -> None:
    value = graph.constants[0].value
    state = replace(graph.states[0], next=value)
    assert "changes its type" in problems(replace(graph, states=(state,)))


def test_a_state_without_its_initial_array(graph: Graph) -> None:
    state = graph.states[0]
    lost = State(state.name, state.current, state.next, "0" * 32)
    assert "memory" in problems(replace(graph, states=(lost,)))


def test_names_used_twice(graph: Graph) -> None:
    twice = replace(graph, outputs=graph.outputs * 2)
    assert "two outputs" in problems(twice)


def test_many_names_take_time_in_proportion(graph: Graph) -> None:
    (port,) = graph.outputs
    many = replace(graph, outputs=tuple(Port(f"y{i}", port.value) for i in range(40_000)))
    start = time.process_time()
    verify(many)
    assert time.process_time() - start < 4


@pytest.mark.parametrize(
    ("border", "shape"),
    [
        (Padding.same(-1), (1, 4, 4, 2)),
        (Padding(1, 1, 1, 1, (0.0, 1.0, 2.0)), (1, 4, 4, 2)),
        (Padding.same(1), (16, 2)),
    ],
)
def test_borders(graph: Graph, border: Padding, shape: tuple[int, ...]) -> None:
    assert "border" in problems(
        retyped(graph, graph.inputs[0].value, TensorType(DType.F32, shape, border))
    )


def test_a_border_is_no_part_of_the_meaning(graph: Graph) -> None:
    value = graph.nodes[0].output
    verify(retyped(graph, value, replace(graph.types[value], border=Padding.same(2))))


def test_everything_is_reported_at_once(graph: Graph) -> None:
    broken = replace(graph, outputs=(Port("y", "lost"),), nodes=graph.nodes[::-1])
    assert len(problems(broken).splitlines()) >= 2
