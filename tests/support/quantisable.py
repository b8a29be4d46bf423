"""Small drawn networks for quantisation, with data for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.graph import Graph
from ellc.ir.op import Op
from ellc.ir.ops.activations import Clip, HardSwish, Relu, Sigmoid
from ellc.ir.ops.arithmetic import Add, Mul
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.functions import Sqrt
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.reduce import Reduce, Softmax
from ellc.ir.ops.shape import Concat, Reshape, Slice, Split, Transpose
from ellc.ir.types import Array, DType, Padding, TensorType
from ellc.progress import silent
from ellc.quantise.quantising import Method, Quantised, Samples, quantise

MIN_MAX = Method("min-max")
ROWS, CHANNELS = 9, 6
SHAPE = (1, ROWS, ROWS, CHANNELS)


class Drawn:
    """Builds a network of an image, with drawn weights."""

    def __init__(self, name: str = "drawn", shape: tuple[int, ...] = SHAPE) -> None:
        self.rng = np.random.default_rng(7)
        self.builder = GraphBuilder(name)
        self.x = self.builder.input("x", TensorType(DType.F32, shape))

    def constant(self, *shape: int, size: float = 1.0) -> Ref:
        return self.builder.constant((size * self.rng.standard_normal(shape)).astype(np.float32))

    def add(self, op: Op, *operands: Ref, source: str = "") -> Ref:
        return self.builder.add(op, *operands, source=(source,) if source else ())

    def conv(self, x: Ref, filters: int, taps: int = 3, groups: int = 1, stride: int = 1) -> Ref:
        depth = x.type.shape[3] // groups
        w = self.constant(filters, taps, taps, depth, size=(taps * taps * depth) ** -0.5)
        op = Conv2D((stride, stride), Padding.same(taps // 2), groups=groups)
        return self.add(op, x, w, self.constant(filters, size=0.1))

    def dense(self, x: Ref, outputs: int) -> Ref:
        count = x.type.shape[-1]
        return self.add(Dense(), x, self.constant(outputs, count, size=count**-0.5))

    def built(self, *outputs: Ref) -> Graph:
        for number, value in enumerate(outputs):
            self.builder.output(f"y{number}", value)
        return self.builder.build()


def _after_conv(make: Callable[[Drawn, Ref], Ref]) -> Graph:
    """A convolution, what `make` adds, and a convolution of the result."""
    d = Drawn()
    middle = make(d, d.conv(d.x, CHANNELS))
    return d.built(d.conv(middle, 5, 1))


def _joined(d: Drawn, x: Ref) -> Ref:
    parts = d.builder.add_multi(Split(3, (2, 4)), x)
    return d.add(Concat(3), d.conv(parts[0], 3), parts[1], d.add(HardSwish(), parts[0]))


def _squeezed(d: Drawn, x: Ref) -> Ref:
    """Squeeze and excitation."""
    mean = d.add(AvgPool2D((ROWS, ROWS), (1, 1)), x)
    gate = d.add(Sigmoid(), d.conv(d.add(Relu(), d.conv(mean, 3, 1)), CHANNELS, 1))
    return d.add(Mul(), x, gate)


def _moved(d: Drawn, x: Ref) -> Ref:
    part = d.add(Slice((0, 1, 0, 0), (1, 8, 9, 6), (1, 1, 1, 1)), x)
    turned = d.add(Transpose((0, 2, 1, 3)), part)
    padded = d.add(Pad((0, 1, 0, 0), (0, 0, 1, 0)), turned)
    return d.add(Reshape((1, 10, 3, 18)), padded)


NETWORKS: dict[str, Callable[[], Graph]] = {
    "relu": lambda: _after_conv(lambda d, x: d.add(Relu(), x)),
    "clip": lambda: _after_conv(lambda d, x: d.add(Clip(-0.5, 0.75), x)),
    "depthwise": lambda: _after_conv(lambda d, x: d.add(Relu(), d.conv(x, 6, 3, 6, 2))),
    "groups": lambda: _after_conv(lambda d, x: d.conv(x, 4, 3, 2)),
    "residual": lambda: _after_conv(lambda d, x: d.add(Relu(), d.add(Add(), d.conv(x, 6), x))),
    "plus constants": lambda: _after_conv(
        lambda d, x: d.add(Add(), d.add(Relu(), x), d.constant(ROWS, 1, CHANNELS))
    ),
    "squeezed": lambda: _after_conv(_squeezed),
    "joined": lambda: _after_conv(_joined),
    "moved": lambda: _after_conv(_moved),
    "max pool": lambda: _after_conv(
        lambda d, x: d.add(MaxPool2D((3, 3), (2, 2), Padding.same(1, -np.inf)), x)
    ),
    "mean pool": lambda: _after_conv(
        lambda d, x: d.add(AvgPool2D((3, 3), (2, 2), Padding.same(1), False), x)
    ),
    "no bias": lambda: _after_conv(
        lambda d, x: d.add(Conv2D(), d.add(Relu(), x), d.constant(6, 1, 1, CHANNELS))
    ),
    "two readers": lambda: _after_conv(lambda d, x: d.add(Mul(), d.add(Relu(), x), x)),
    "float inside": lambda: _after_conv(lambda d, x: d.add(Softmax((3,)), x)),
    "reduced": lambda: _after_conv(lambda d, x: d.add(Reduce("mean", (2,), True), x)),
    "classifier": lambda: _classifier(),
}
"""Every kind of layer; each network ends with a convolution or a dense layer."""


def _classifier() -> Graph:
    d = Drawn()
    x = d.add(MaxPool2D((2, 2), (2, 2)), d.add(Relu(), d.conv(d.x, 8)))
    x = d.add(Relu(), d.dense(d.add(Reshape((1, 4 * 4 * 8)), x), 12))
    return d.built(d.add(Softmax((1,)), d.dense(x, 4)))


def with_square_root() -> Graph:
    """The square root of negative numbers is NaN; so two of three convolutions cannot be bytes."""
    d = Drawn()
    root = d.add(Sqrt(), d.conv(d.x, CHANNELS))
    return d.built(d.conv(root, 5, 1), d.conv(d.x, 5, 1))


def inputs(count: int, shape: tuple[int, ...] = SHAPE) -> list[Array]:
    """Drawn inputs."""
    rng = np.random.default_rng(3)
    return [rng.standard_normal(shape).astype(np.float32) for _ in range(count)]


def quantised(graph: Graph, folder: Path, count: int = 6, method: Method = MIN_MAX) -> Quantised:
    """A drawn network, quantised with drawn inputs."""
    samples = inputs(count, graph.input_types()[0].shape)
    return quantise(graph, Samples(lambda: samples, count), folder / "work", silent, method)
