"""Graphs that several tests of `ir` use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.ops.binary import Binarize, BinaryConv2D
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.fused import Fused, Stage
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pointwise import Add, Clip, Relu
from ellc.ir.ops.pool import MaxPool2D
from ellc.ir.ops.recurrent import GRUCell
from ellc.ir.ops.reduce import Softmax
from ellc.ir.ops.shape import Reshape, Split
from ellc.ir.types import DType, Padding, TensorType


@pytest.fixture(scope="session")
def varied_graph() -> Graph:
    """A graph with two inputs, several results, bits, a state, metadata and unusual names."""
    rng = np.random.default_rng(5)

    def weights(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / 4).astype(np.float32)

    b = GraphBuilder('a "graph" \\ é\n')
    image = b.input("image 0", TensorType(DType.F32, (1, 6, 5, 3)))
    signal = b.input("signal", TensorType(DType.F32, (1, 4)))
    conv = Fused(Conv2D(padding=Padding.same(1, -0.5)), 2, (Stage(Add(), 1), Stage(Relu())))
    v = b.add(conv, image, b.constant(weights(8, 3, 3, 3)), b.constant(weights(8)), source="conv1")
    v = b.add(MaxPool2D((2, 2), (2, 2)), v, source=("pool 1", "pool 2"))
    bits = b.add(Binarize(), v)
    kernel = b.constant(rng.random((4, 2, 2, 8)) < 0.5, DType.BIT)
    v = b.add(BinaryConv2D(), bits, kernel)
    v = b.add(Pad((0, 0, 1, 0), (0, 0, 0, 2), 1e-7), v)
    first, second = b.add_multi(Split(3, (2, 4)), v)
    b.output("first", b.add(Clip(-np.inf, 6.0), first))
    v = b.add(Softmax((1,)), b.add(Reshape((1, second.type.elements)), second))
    h = b.state("memory", np.zeros((1, 5), np.float32))
    cell = [b.constant(weights(*s)) for s in ((15, 4), (15, 5), (15,), (15,))]
    following = b.add(GRUCell(), signal, h, *cell)
    b.set_state("memory", following)
    b.output("second", v)
    b.output("state", following)
    b.metadata({"labels": "a\nb", "scale": "0.5"})
    return b.build()


@pytest.fixture(scope="session")
def chain() -> Callable[[int], Graph]:
    """A function `chain(n)` that makes a chain of n additions of 1 to a vector of 3."""
    return _chain


def _chain(length: int) -> Graph:
    b = GraphBuilder("chain")
    v = b.input("x", TensorType(DType.F32, (3,)))
    one = b.constant(np.array([1.0], np.float32))
    for _ in range(length):
        v = b.add(Add(), v, one)
    b.output("y", v)
    return b.build()
