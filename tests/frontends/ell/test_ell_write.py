"""Graphs that are written as `.ell`, read again, and compared."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from ell_oracle import run_layers

from ellc.frontends.ell import layers as ell
from ellc.frontends.ell.chain import planned_layers
from ellc.frontends.ell.read import read_ell
from ellc.frontends.ell.write import chain_layers, graph_archive, write_ell
from ellc.frontends.ell.writer import archive_bytes
from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.binary import Binarize, BinaryConv2D
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.detection import RegionDetection
from ellc.ir.ops.norm import LRN, BatchNorm, Dropout
from ellc.ir.ops.pointwise import (
    Add,
    Clip,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Mul,
    MulAdd,
    PRelu,
    Relu,
    Sigmoid,
    Sub,
    Tanh,
)
from ellc.ir.ops.pool import LOWEST, AvgPool2D, MaxPool2D
from ellc.ir.ops.reduce import Softmax
from ellc.ir.ops.shape import Reshape
from ellc.ir.types import DType, Padding, TensorType


def numbers(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def image(*shape: int) -> tuple[GraphBuilder, Ref]:
    b = GraphBuilder("net")
    return b, b.input("picture", TensorType(DType.F32, (1, *shape)))


def small_network() -> Graph:
    """A network with all kinds of layers and parameters."""
    b, x = image(12, 12, 3)
    x = b.add(Sub(), x, b.constant(numbers(3)))
    x = b.add(
        Conv2D(padding=Padding.same(1)), x, b.constant(numbers(8, 3, 3, 3)), b.constant(numbers(8))
    )
    x = b.add(Relu(), x)
    x = b.add(MaxPool2D((3, 3), (2, 2), Padding(1, 1, 1, 1, LOWEST.values)), x)
    x = b.add(MulAdd(), x, b.constant(numbers(8)), b.constant(numbers(8, seed=2)))
    vectors = (numbers(8), numbers(8, seed=3), numbers(8, seed=4), numbers(8) ** 2)
    x = b.add(BatchNorm(1e-3), x, *map(b.constant, vectors))
    signs = b.add(Binarize(), x)
    weights = b.constant(numbers(5, 3, 3, 8) > 0, DType.BIT)
    x = b.add(BinaryConv2D(padding=Padding.same(1)), signs, weights, b.constant(numbers(5) ** 2))
    x = b.add(PRelu(), x, b.constant(numbers(1, 6, 6, 5)))
    x = b.add(PRelu(), x, b.constant(numbers(5)))
    x = b.add(Conv2D(padding=Padding.same(1, -1.0), groups=5), x, b.constant(numbers(5, 3, 3, 1)))
    x = b.add(MaxPool2D((3, 3), (2, 2), Padding(0, 0, 1, 1, LOWEST.values)), x)
    x = b.add(AvgPool2D((3, 3), (1, 1), Padding.same(1)), x)
    for op in (LeakyRelu(0.05), Tanh(), Clip(-1.0, 1.0), HardSigmoid(), Sigmoid(), Dropout()):
        x = b.add(op, x)
    x = b.add(Mul(), x, b.constant(np.array([3.0], np.float32)))
    x = b.add(Reshape((1, 3 * 3 * 5)), x)
    x = b.add(Dense(), x, b.constant(numbers(7, 45)), b.constant(numbers(7)))
    x = b.add(Softmax((1,)), x)
    b.output("classes", x)
    b.metadata({"model.input.expectedPixelRangeHigh": "255", "trained": "it's so"})
    return b.build()


def same_meaning(graph: Graph, again: Graph) -> None:
    rng = np.random.default_rng(4)
    for _ in range(3):
        x = rng.normal(size=graph.input_types()[0].shape).astype(np.float32)
        want = evaluate(graph, (x,)).outputs[0]
        (got,) = evaluate(again, (x.reshape(again.input_types()[0].shape),)).outputs
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_a_network_comes_back(tmp_path: Path) -> None:
    graph = small_network()
    path = tmp_path / "net.ell"
    write_ell(graph, path)
    again = read_ell(path)
    same_meaning(graph, again)
    assert again.name == "net"
    assert [p.name for p in (*again.inputs, *again.outputs)] == ["picture", "classes"]
    assert again.metadata["trained"] == "it's so"
    assert again.metadata["model.input.expectedPixelRangeHigh"] == "255"
    # The epsilon of a batch norm is only a note in the file, so the first write loses it.
    write_ell(again, path)
    second = path.read_bytes()
    write_ell(read_ell(path), path)
    assert path.read_bytes() == second


def test_the_layers_obey_the_chain_rule_and_the_oracle_agrees() -> None:
    graph = small_network()
    layers = chain_layers(*planned_layers(graph))
    for before, after in itertools.pairwise(layers):
        assert before.parameters.output_padding == after.parameters.input_padding
        assert before.parameters.output_scheme == after.parameters.input_scheme
    assert layers[-1].parameters.output_padding == 0
    x = numbers(1, 12, 12, 3, seed=8)
    (want,) = evaluate(graph, (x,)).outputs
    got = run_layers(layers, x[0])
    np.testing.assert_allclose(got.reshape(-1), want.reshape(-1), rtol=1e-4, atol=1e-6)


def test_a_dense_layer_may_give_an_image() -> None:
    b = GraphBuilder("net")
    x = b.input("x", TensorType(DType.F32, (6,)))
    x = b.add(Dense(), b.add(Reshape((1, 6)), x), b.constant(numbers(14, 6)))
    x = b.add(RegionDetection(2, 2), b.add(Reshape((1, 1, 1, 14)), x))
    b.output("y", x)
    graph = b.build()
    again = read_ell(archive_bytes(graph_archive(graph)))
    assert again.input_types()[0].shape == (1, 1, 1, 6)
    same_meaning(graph, again)


def refused(graph: Graph) -> str:
    with pytest.raises(EllcError) as caught:
        graph_archive(graph)
    assert caught.value.code == "E206"
    return caught.value.report()


def test_everything_that_does_not_fit_is_named() -> None:
    b, x = image(8, 8, 4)
    x = b.add(HardSwish(), x, source="first")
    x = b.add(LRN(3, 1e-4, 0.75, 1.0), x, source="second")
    x = b.add(Conv2D(groups=2), x, b.constant(numbers(4, 3, 3, 2)), source="third")
    x = b.add(Conv2D(padding=Padding(1, 0, 1, 0)), x, b.constant(numbers(4, 3, 3, 4)))
    x = b.add(Conv2D(padding=Padding.same(1, 5.0)), x, b.constant(numbers(4, 3, 3, 4)))
    x = b.add(Add(), x, b.constant(numbers(1, *x.type.shape[1:])), source="map")
    b.output("y", x)
    report = refused(b.build())
    for words in (
        "'first' (hard_swish): no layer computes this operator",
        "'second' (lrn): no layer computes this operator",
        "'third' (conv2d): layers have no groups",
        "the amounts of padding at the sides differ",
        "layers cannot pad with 5.0",
        "'map' (add): a layer's constant has one number for each channel",
    ):
        assert words in report


def test_branches_states_and_several_ports_do_not_fit() -> None:
    b, x = image(4, 4, 2)
    y = b.add(Relu(), x)
    b.output("y", b.add(Add(), y, x))
    assert "not a constant" in refused(b.build())
    b, x = image(4, 4, 2)
    b.input("z", TensorType(DType.F32, (1,)))
    s = b.state("s", np.zeros((1, 4, 4, 2), np.float32))
    b.set_state("s", x)
    b.output("y", b.add(Relu(), s))
    report = refused(b.build())
    assert "one input, but this graph has 2" in report
    assert "state 's'" in report
    b, x = image(4, 4, 2)
    b.output("y", b.add(Binarize(), x))
    assert "the results of layers cannot be bit" in refused(b.build())


def test_the_border_of_a_binary_convolution(tmp_path: Path) -> None:
    for value in (0.0, -1.0, 1.0):
        b, x = image(5, 4, 3)
        weights = b.constant(numbers(2, 3, 3, 3) > 0, DType.BIT)
        op = BinaryConv2D(padding=Padding.same(1, value))
        b.output("y", b.add(op, b.add(Binarize(), x), weights))
        graph = b.build()
        layers = chain_layers(*planned_layers(graph))
        assert isinstance(layers[1], ell.BinaryConvolutionalLayer)
        same_meaning(graph, read_ell(archive_bytes(graph_archive(graph))))
