"""Random networks with everything that passes rewrite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.graph import Graph
from ellc.ir.ops.binary import Binarize, BinaryConv2D
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.norm import LRN, BatchNorm, Dropout
from ellc.ir.ops.padding import Embed, Pad
from ellc.ir.ops.pointwise import (
    Add,
    Cast,
    Clip,
    Div,
    LeakyRelu,
    Maximum,
    Mul,
    MulAdd,
    Neg,
    PRelu,
    Relu,
    Sigmoid,
    Sub,
    Tanh,
)
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.reduce import Softmax
from ellc.ir.ops.shape import Concat, Reshape, Split
from ellc.ir.types import Array, DType, Padding, TensorType

T = TypeVar("T")


class RandomGraph:
    """Draws a network of about `steps` layers, with pictures of up to 9x9 pixels."""

    def __init__(self, seed: int, steps: int = 14) -> None:
        self.rng = np.random.default_rng([20, seed])
        self.b = GraphBuilder(f"random{seed}")
        self.layer = 0
        self.pictures: list[Ref] = [self._input()]
        for _ in range(steps):
            # Use the newest value most of the time, and sometimes an older one, to get branches.
            x = self.pictures[-1] if self.rng.random() < 0.8 else self.pick(self.pictures)
            self.pictures.append(self.pick(STEPS)(self, x))
        for index, x in enumerate(dict.fromkeys([self.pictures[-1], self.pick(self.pictures)])):
            self.b.output(f"picture{index}", x)
        self._head(self.pictures[-1])

    def graph(self) -> Graph:
        return self.b.build()

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self.rng.integers(len(items)))]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def normal(self, *shape: int) -> Array:
        return self.rng.standard_normal(shape).astype(np.float32)

    def factor(self, channels: int) -> Array:
        """Numbers with magnitudes in 0.3..3 and random signs: one, or one per channel."""
        size = self.pick([1, channels])
        sign = self.rng.choice([-1.0, 1.0], size)
        return (sign * self.rng.uniform(0.3, 3, size)).astype(np.float32)

    def shift(self, channels: int) -> Array:
        return self.normal(self.pick([1, channels])) * np.float32(self.pick([0.5, 100.0]))

    def frame(self, channels: int) -> Padding:
        if self.chance(0.25):
            return Padding()
        values = self.pick([(0.0,), (0.0,), (1.5,), tuple(self.normal(channels).tolist())])
        return Padding(*(int(v) for v in self.rng.integers(0, 3, 4)), values)

    def add(self, op: object, *operands: Ref | Array) -> Ref:
        self.layer += 1
        refs = [o if isinstance(o, Ref) else self.b.constant(o) for o in operands]
        return self.b.add(op, *refs, source=f"{self.layer}")  # type: ignore[arg-type]

    def _input(self) -> Ref:
        shape = (1, *(int(v) for v in self.rng.integers(5, 10, 2)), self.pick([1, 3, 4]))
        if self.chance(0.2):
            pixels = self.b.input("x", TensorType(DType.U8, shape))
            return self.add(Cast(DType.F32), pixels)
        x = self.b.input("x", TensorType(DType.F32, shape))
        if self.chance(0.2):
            state = self.b.state("memory", np.zeros(shape, np.float32))
            mixed = self.add(Sub(), x, state)
            self.b.set_state("memory", self.add(Tanh(), mixed))
            return mixed
        return x

    def _head(self, x: Ref) -> None:
        flat = self.add(Reshape((1, x.type.elements)), x)
        y = self.add(Dense(), flat, self.normal(3, x.type.elements))
        y = self.add(Add(), y, self.normal(3))
        self.b.output("classes", self.add(Softmax((1,)), self.add(Mul(), y, self.factor(1) / 50)))


def _conv(g: RandomGraph, x: Ref) -> Ref:
    channels = x.type.shape[3]
    groups = g.pick([1, 1, channels] + ([2] if channels % 2 == 0 else []))
    filters = groups * int(g.rng.integers(1, 3)) if groups > 1 else int(g.rng.integers(1, 6))
    frame, dilation = g.frame(channels), (1, g.pick([1, 1, 2]))
    rows = int(g.rng.integers(1, min(3, x.type.shape[1] + frame.top + frame.bottom) + 1))
    width = x.type.shape[2] + frame.left + frame.right
    columns = int(g.rng.integers(1, min(3, (width - 1) // dilation[1] + 1) + 1))
    stride = g.pick([(1, 1), (1, 1), (2, 1), (2, 3)])
    w = g.normal(filters, rows, columns, channels // groups)
    bias = [g.normal(filters)] if g.chance(0.4) else []
    return g.add(Conv2D(stride, frame, dilation, groups), x, w, *bias)


def _affine(g: RandomGraph, x: Ref) -> Ref:
    c = x.type.shape[3]
    match int(g.rng.integers(8)):
        case 0:
            return g.add(Add(), x, g.shift(c))
        case 1:
            return g.add(Sub(), x, g.shift(c))
        case 2:
            return g.add(Mul(), x, g.factor(c))
        case 3:
            return g.add(Div(), x, g.factor(c))
        case 4:
            return g.add(Neg(), x)
        case 5:
            scale = g.factor(c)
            if g.chance(0.2):
                scale[0] = 0
            return g.add(MulAdd(), x, scale, g.shift(c))
        case 6:
            return g.add(Sub(), g.b.constant(g.normal(*x.type.shape)), x)
    spread = g.rng.uniform(0.1, 4, c).astype(np.float32)
    return g.add(BatchNorm(1e-3), x, g.factor(c)[:1].repeat(c), g.shift(1).repeat(c),
                 g.normal(c), spread)  # fmt: skip


def _activation(g: RandomGraph, x: Ref) -> Ref:
    ops = [Relu(), LeakyRelu(0.1), Clip(0.0, 6.0), Clip(-3.0, 90.0), Sigmoid(), Tanh(), Dropout()]
    if g.chance(0.3):
        return g.add(PRelu(), x, g.pick([g.normal(x.type.shape[3]), g.normal(1)]))
    return g.add(g.pick(ops), x)


def _pool(g: RandomGraph, x: Ref) -> Ref:
    # The padding is so small that every window contains a pixel of the image.
    amounts = (int(v) for v in g.rng.integers(0, 2, 4))
    value = g.pick([0.0, -2.5, float(np.finfo(np.float32).min)])
    window = (min(2, x.type.shape[1]), min(2, x.type.shape[2]))
    stride = g.pick([(1, 1), (2, 2), (2, 3)])
    if g.chance(0.5):
        return g.add(MaxPool2D(window, stride, Padding(*amounts, (value,))), x)
    frame = Padding(*amounts, (max(value, -9.0),))
    if min(window) < 2 or g.chance(0.4):
        frame = Padding()
    return g.add(AvgPool2D(window, stride, frame, g.chance(0.5)), x)


def _pad(g: RandomGraph, x: Ref) -> Ref:
    padded = _padded(g, x)
    return g.pick([_conv, _pool, _affine, _signs])(g, padded) if g.chance(0.6) else padded


def _padded(g: RandomGraph, x: Ref) -> Ref:
    before, after = ((0, *(int(v) for v in g.rng.integers(0, 2, 2)), 0) for _ in range(2))
    if g.chance(0.3):
        extents = zip(before, x.type.shape, after, strict=True)
        around = np.full([a + e + b for a, e, b in extents], 0.5, np.float32)
        around[..., 0] = -1
        return g.add(Embed(before), x, around)
    return g.add(Pad(before, after, g.pick([0.0, 0.0, 1.5]), g.pick(["constant", "edge"])), x)


def _sum(g: RandomGraph, x: Ref) -> Ref:
    if g.chance(0.3):
        slopes = g.pick([(0.1, 0.7), (0.1, 0.1)])
        return g.add(Mul(), *(g.add(LeakyRelu(slope), x) for slope in slopes))
    equal_shapes = [p for p in g.pictures if p.type.shape == x.type.shape]
    return g.add(g.pick([Add(), Mul(), Sub(), Maximum()]), x, g.pick(equal_shapes))


def _signs(g: RandomGraph, x: Ref) -> Ref:
    c = x.type.shape[3]
    bits = g.add(Binarize(), x)
    rows, columns = min(3, x.type.shape[1]), min(3, x.type.shape[2])
    w = g.b.constant(g.rng.random((4, rows, columns, c)) < 0.5, DType.BIT)
    frame = Padding.same(1, g.pick([0.0, 1.0, -1.0]))
    return g.add(BinaryConv2D((1, 1), frame), bits, w, *([g.normal(4)] if g.chance(0.6) else []))


def _views(g: RandomGraph, x: Ref) -> Ref:
    n, h, w, c = x.type.shape
    match int(g.rng.integers(3)):
        case 0:
            flat = g.add(Reshape((n, h * w * c)), x)
            if g.chance(0.5):
                flat = g.add(Add(), flat, g.normal(n, h * w * c))
            return g.add(Reshape((n, h, w, c)), g.add(Relu(), flat))
        case 1 if c > 1:
            left, right = g.b.add_multi(Split(3, (1, c - 1)), x)
            return g.add(Concat(3), right, left)
    return g.add(LRN(3), x)


STEPS: list[Callable[[RandomGraph, Ref], Ref]] = [
    _conv, _conv, _affine, _affine, _affine, _activation, _activation, _pool, _pad, _sum, _signs,
    _views,
]  # fmt: skip


def random_graph(seed: int, steps: int = 14) -> Graph:
    """A random network that depends only on the arguments."""
    return RandomGraph(seed, steps).graph()
