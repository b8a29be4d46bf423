"""Networks that are small enough to be compiled in every test."""

from __future__ import annotations

import numpy as np

from ellc.ir.builder import GraphBuilder
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.pointwise import Add, Mul, Relu
from ellc.ir.ops.pool import MaxPool2D
from ellc.ir.pipeline import run_pipeline
from ellc.ir.types import Array, DType, Padding, TensorType


def convolution_network(name: str = "small", seed: int = 3) -> Graph:
    """A network of convolution, bias, ReLU, pooling and convolution, with padding and borders."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder(name)
    x = b.input("image", TensorType(DType.F32, (1, 9, 11, 3)))
    first = b.constant(rng.normal(size=(6, 3, 3, 3)).astype(np.float32))
    bias = b.constant(rng.normal(size=6).astype(np.float32))
    y = b.add(Conv2D(padding=Padding.same(1)), x, first, bias, source="conv1")
    y = b.add(Relu(), y, source="relu1")
    y = b.add(MaxPool2D((2, 2), (2, 2)), y, source="pool1")
    second = b.constant(rng.normal(size=(10, 3, 3, 6)).astype(np.float32))
    y = b.add(Conv2D(padding=Padding.same(1)), y, second, source="conv2")
    b.output("scores", y)
    b.metadata({"labels": 'cat\n"dog"', "é": "\\"})
    return b.build()


def two_way_network(name: str = "two") -> Graph:
    """A network with two inputs, outputs and states.

    A name is a keyword of C, and an input and an output have the same name.
    """
    b = GraphBuilder(name)
    x = b.input("class", TensorType(DType.F32, (3,)))
    y = b.input("m", TensorType(DType.F32, (3,)))
    total = b.state("total", np.array([1, 2, 3], np.float32))
    zero = b.state("zero", np.zeros(3, np.float32))
    moved = b.add(Add(), total, x)
    b.set_state("total", moved)
    other = b.add(Add(), zero, y)
    b.set_state("zero", other)
    b.output("sum", moved)
    b.output("m", b.add(Mul(), other, y))
    return b.build()


def ready(graph: Graph) -> Graph:
    """The graph after all passes."""
    return run_pipeline(graph)[0]


def inputs_of(graph: Graph, seed: int = 0) -> tuple[Array, ...]:
    """Random inputs."""
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=t.shape).astype(t.dtype.numpy) for t in graph.input_types())


def reference_of(graph: Graph, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
    """The outputs that the reference computes from them."""
    return evaluate(graph, inputs).outputs
