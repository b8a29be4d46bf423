"""Random networks on signals [batch, channels, time], as exporters write them.

Signals become pictures with a single row: a reshape adds the axis of rows, and transposes convert
between the layouts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from random_planes import TO_PIXELS, TO_PLANES

from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense, MatMul
from ellc.ir.ops.norm import BatchNorm
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pointwise import Add, Clip, Mul, PRelu, Relu, Sigmoid, Tanh
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.reduce import Reduce, Softmax
from ellc.ir.ops.shape import Concat, Reshape, Slice
from ellc.ir.types import Array, DType, Padding, TensorType


class RandomLines:
    """Draws a network of about `steps` layers."""

    def __init__(self, seed: int, steps: int = 10) -> None:
        self.rng = np.random.default_rng([40, seed])
        self.b = GraphBuilder(f"lines{seed}")
        length = int(self.rng.integers(12, 20))
        x = self.b.input("x", TensorType(DType.F32, (1, int(self.rng.integers(1, 4)), length)))
        self.lines = [_conv(self, x)]
        for _ in range(steps):
            step = STEPS[int(self.rng.integers(len(STEPS)))]
            self.lines.append(step(self, self.lines[-1]))
        last = self.lines[-1]
        self.b.output("signal", self.add(Tanh(), last))
        flat = self.add(Reshape((1, last.type.elements)), last)
        weights = self.normal(last.type.elements, 3)
        self.b.output("classes", self.add(MatMul(), flat, weights))
        mean = self.add(Reduce("mean", (2,)), last)
        self.b.output("mean", self.add(Dense(), mean, self.normal(2, last.type.shape[1])))

    def add(self, op: object, *operands: Ref | Array) -> Ref:
        refs = [o if isinstance(o, Ref) else self.b.constant(o) for o in operands]
        return self.b.add(op, *refs)  # type: ignore[arg-type]

    def normal(self, *shape: int) -> Array:
        return self.rng.standard_normal(shape).astype(np.float32)

    def row(self, op: object, x: Ref, *operands: Array) -> Ref:
        """Apply an operator on pictures to a picture with one row."""
        n, c, length = x.type.shape
        pixels = self.add(TO_PIXELS, self.add(Reshape((n, c, 1, length)), x))
        made = self.add(TO_PLANES, self.add(op, pixels, *operands))
        return self.add(Reshape((n, made.type.shape[1], made.type.shape[3])), made)


def _conv(g: RandomLines, x: Ref) -> Ref:
    filters = int(g.rng.integers(1, 6))
    padding = Padding(0, 1, 0, 1)
    weights = g.normal(filters, 1, 3, x.type.shape[1]) / np.float32(2)
    return g.row(Conv2D(padding=padding), x, weights, g.normal(filters))


def _norm(g: RandomLines, x: Ref) -> Ref:
    c = x.type.shape[1]
    spread = g.rng.uniform(0.1, 4, c).astype(np.float32)
    return g.row(BatchNorm(), x, *(g.normal(c) for _ in range(3)), spread)


def _pool(g: RandomLines, x: Ref) -> Ref:
    op = MaxPool2D if g.rng.random() < 0.5 else AvgPool2D
    return g.row(op((1, 2), (1, 2)), x) if x.type.shape[2] > 5 else x


def _activation(g: RandomLines, x: Ref) -> Ref:
    ops = [Relu(), Clip(0.0, 6.0), Sigmoid(), Softmax((1,))]
    if g.rng.random() < 0.3:
        return g.add(PRelu(), x, g.normal(x.type.shape[1], 1))
    return g.add(ops[int(g.rng.integers(len(ops)))], x)


def _residual(g: RandomLines, x: Ref) -> Ref:
    equal_shapes = [v for v in g.lines if v.type.shape == x.type.shape]
    return g.add(Add(), x, equal_shapes[int(g.rng.integers(len(equal_shapes)))])


def _gate(g: RandomLines, x: Ref) -> Ref:
    n, c, _ = x.type.shape
    gate = g.add(Dense(), g.add(Reduce("mean", (2,)), x), g.normal(c, c))
    return g.add(Mul(), x, g.add(Reshape((n, c, 1)), g.add(Sigmoid(), gate)))


def _join(g: RandomLines, x: Ref) -> Ref:
    return g.add(Concat(1), x, _conv(g, x)) if x.type.shape[1] < 12 else x


def _trim(g: RandomLines, x: Ref) -> Ref:
    n, c, length = x.type.shape
    if length < 6:
        return g.add(Pad((0, 0, 2), (0, 0, 1)), x)
    return g.add(Slice((0, 0, 1), (n, c, length - 2), (1, 1, 1)), x)


STEPS: list[Callable[[RandomLines, Ref], Ref]] = [
    _conv, _conv, _norm, _pool, _activation, _activation, _residual, _gate, _join, _trim,
]  # fmt: skip


def random_lines(seed: int) -> Graph:
    """A random network that depends only on the seed."""
    return RandomLines(seed).b.build()
