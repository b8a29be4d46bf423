from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ellc.ir.builder import GraphBuilder
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.op import Op
from ellc.ir.ops.fused import Fused
from ellc.ir.ops.pointwise import Clip, Relu
from ellc.ir.text import parse, print_graph, print_op
from ellc.ir.types import DType, Padding, Quant, TensorType
from ellc.ir.verify import verify
from ellc.ir.weights import WeightPool

SMALL = """graph "g" {
  input %x : f32[1,2,2,1] "x"
  %y = relu{} (%x) : f32[1,2,2,1] from "layer"
  output %y "y"
}
"""


def test_round_trip_of_everything(varied_graph: Graph) -> None:
    graph = varied_graph
    again = parse(print_graph(graph), graph.weights)
    assert again == graph
    assert print_graph(again) == print_graph(graph)
    assert again.metadata == graph.metadata
    assert again.nodes[1].source == ("pool 1", "pool 2")


def test_the_text_reads_as_documented() -> None:
    graph = parse(SMALL, WeightPool())
    assert graph.nodes[0].op == Relu()
    assert print_graph(graph) == SMALL


def test_types_with_border_and_quantisation() -> None:
    graph = parse(SMALL, WeightPool())
    border = Padding(1, 2, 3, 4, (-0.0, 1e-30, float("inf")))
    quant = Quant((0.1, 0.25), (-3, 128), 3)
    types = {**graph.types, "x": TensorType(DType.I8, (1, 2, 2, 3), border, quant)}
    changed = replace(graph, types=types)
    assert parse(print_graph(changed), WeightPool()) == changed


def test_numpy_numbers_print_as_numbers() -> None:
    assert print_op(Clip(np.float64(0.1), 6)) == "clip{low=0.1, high=6}"


def test_a_difference_anywhere_is_a_difference() -> None:
    graph = parse(SMALL, WeightPool())
    for old, new in (
        ('"g"', '"h"'),
        ("relu{}", "abs{}"),
        ('"layer"', '"other"'),
        ('"y"', '"z"'),
        ("f32", "f64"),
    ):
        assert parse(SMALL.replace(old, new), WeightPool()) != graph


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("relu{}", "rellu{}"),
        ("relu{}", "relu{slope=1}"),
        ("relu{}", "relu{"),
        ("relu{}", "3"),
        ("relu{}", "leaky_relu{slope=true}"),
        ("relu{}", "conv2d{stride=3}"),
        ("relu{}", "conv2d{padding=[1,1]}"),
        ("relu{}", "conv2d{padding=pad(1,1)}"),
        ("relu{}", "conv2d{padding=pad(1,1,1,1,0.0)}"),
        ("relu{}", "reshape{shape=[1.5]}"),
        ("relu{}", 'clip{low="0", high=1}'),
        ("relu{}", "cast{dtype=dtype(f8)}"),
        ("relu{}", "leaky_relu{slope=" + "[" * 500 + "]" * 500 + "}"),
        ("f32", "f31"),
        ("[1,2,2,1]", "[1,2,x,1]"),
        ("[1,2,2,1]", f"[{'1,' * 70}1]"),
        ("[1,2,2,1]", "[1,2,2.5,1]"),
        ("[1,2,2,1]", "[1,2,2,1] border(1,1)"),
        ("[1,2,2,1]", "[1,2,2,1] quant(1.0)"),
        ("(%x)", "(%x"),
        ("}\n", ""),
        ("}\n", "}} surplus"),
        ('graph "g"', "graph g"),
        ("%y =", "%y, =="),
        ('"layer"', "5"),
    ],
)
def test_malformed_text_is_reported_with_its_line(old: str, new: str) -> None:
    assert old in SMALL
    with pytest.raises(EllcError) as error:
        parse(SMALL.replace(old, new), WeightPool())
    assert error.value.code == "E130"
    assert "line" in error.value.where


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("relu{}", "3", "expected an operator, found '3'"),
        ("f32", "f31", "expected an element type, found 'f31'"),
        ('graph "g"', "graph g", "expected a string, found 'g'"),
        ("}\n", "", "expected more text, found the end"),
        ("}\n", "}} surplus", "expected the end, found '}'"),
    ],
)
def test_the_message_quotes_the_unexpected_word(old: str, new: str, message: str) -> None:
    with pytest.raises(EllcError) as error:
        parse(SMALL.replace(old, new), WeightPool())
    assert error.value.message == message


@pytest.mark.slow
def test_damaged_text_raises_nothing_else(varied_graph: Graph) -> None:
    graph = varied_graph
    text = print_graph(graph)
    rng = np.random.default_rng(11)
    words = [
        '"',
        "{",
        "}",
        "[",
        "]",
        "(",
        ",",
        "-1",
        "1e999",
        "nan",
        "none",
        "%v",
        "0.5",
        "pad",
        "=",
    ]
    for _ in range(1500):
        at = int(rng.integers(len(text)))
        end = at + int(rng.integers(0, 12))
        damaged = text[:at] + str(rng.choice(words)) * int(rng.integers(0, 3)) + text[end:]
        with contextlib.suppress(EllcError):
            verify(parse(damaged, graph.weights))


@pytest.mark.slow
def test_ten_thousand_nodes(chain: Callable[[int], Graph]) -> None:
    graph = chain(10_000)
    again = parse(print_graph(graph), graph.weights)
    assert again == graph
    assert hash(again) == hash(graph)
    verify(again)
    (y,) = evaluate(again, (np.zeros(3, np.float32),)).outputs
    np.testing.assert_array_equal(y, np.full(3, 10_000, np.float32))


def test_deep_fused_attributes_stay_an_error_not_a_crash() -> None:
    op: Op = Relu()
    for _ in range(200):
        op = Fused(op, 1, ())
    b = GraphBuilder("deep")
    x = b.input("x", TensorType(DType.F32, (1,)))
    b.output("y", b.add(op, x))
    graph = b.build()
    with pytest.raises(EllcError):
        parse(print_graph(graph), graph.weights)


@pytest.mark.parametrize("name", ["x" * (4 << 20), '\\"' * (2 << 20)])
def test_a_long_string_costs_no_more_memory_than_its_length(name: str) -> None:
    tracemalloc.start()
    try:
        parse(SMALL.replace('"x"', f'"{name}"'), WeightPool())
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
