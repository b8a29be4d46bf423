"""Random NCHW networks, with transposes as importers insert them.

Operators that need NHWC are between `Transpose(0, 2, 3, 1)` and `Transpose(0, 3, 1, 2)`; all others
work on NCHW.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense, MatMul
from ellc.ir.ops.norm import BatchNorm
from ellc.ir.ops.padding import Embed, Pad
from ellc.ir.ops.pointwise import (
    Add,
    Cast,
    Clip,
    Div,
    Greater,
    LeakyRelu,
    Maximum,
    Mul,
    PRelu,
    Relu,
    Select,
    Sigmoid,
    Sub,
    Tanh,
)
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.reduce import ArgMax, LogSoftmax, Reduce, Softmax
from ellc.ir.ops.shape import Concat, Expand, Gather, Reshape, Slice, Split, Transpose
from ellc.ir.types import Array, DType, Padding, TensorType

TO_PIXELS, TO_PLANES = Transpose((0, 2, 3, 1)), Transpose((0, 3, 1, 2))
T = TypeVar("T")


class RandomPlanes:
    """Draws a network.

    With `pixels`, its inputs and outputs are NHWC, as with `--layout nhwc`. With `twists`, it also
    has transposes that no order of axes can avoid.
    """

    def __init__(self, seed: int, pixels: bool, twists: bool, steps: int = 12) -> None:
        self.rng = np.random.default_rng([30, seed])
        self.b = GraphBuilder(f"planes{seed}")
        self.pixels = pixels
        self.layer = 0
        self.maps: list[Ref] = [_conv(self, self._input())]
        kinds = [*STEPS, *[_twist, _shuffle] * 4] if twists else STEPS
        for _ in range(steps):
            x = self.maps[-1] if self.rng.random() < 0.8 else self.pick(self.maps)
            self.maps.append(self.pick(kinds)(self, x))
        for index, x in enumerate(dict.fromkeys([self.maps[-1], self.pick(self.maps)])):
            self.b.output(f"map{index}", self.add(TO_PIXELS, x) if pixels else self.add(Tanh(), x))
        for index in range(2):
            self.b.output(f"head{index}", self.pick(HEADS)(self, self.pick(self.maps[-4:])))

    def graph(self) -> Graph:
        return self.b.build()

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self.rng.integers(len(items)))]

    def normal(self, *shape: int) -> Array:
        return self.rng.standard_normal(shape).astype(np.float32)

    def add(self, op: object, *operands: Ref | Array) -> Ref:
        self.layer += 1
        refs = [o if isinstance(o, Ref) else self.b.constant(o) for o in operands]
        return self.b.add(op, *refs, source=f"{self.layer}")  # type: ignore[arg-type]

    def image(self, op: object, x: Ref, *operands: Array) -> Ref:
        """Apply an operator that needs NHWC."""
        return self.add(TO_PLANES, self.add(op, self.add(TO_PIXELS, x), *operands))

    def vector(self, channels: int) -> Array:
        """A number per channel, with one of the shapes that exporters use for broadcasting."""
        shape = self.pick([(channels, 1, 1), (1, channels, 1, 1)])
        return (self.normal(*shape) + 3).astype(np.float32)

    def _input(self) -> Ref:
        n, c, h, w = 1, 3, *(int(v) for v in self.rng.integers(5, 9, 2))
        if self.pixels:
            return self.add(TO_PLANES, self.b.input("x", TensorType(DType.F32, (n, h, w, c))))
        dtype = self.pick([DType.F32, DType.F32, DType.U8])
        x = self.b.input("x", TensorType(dtype, (n, c, h, w)))
        x = x if dtype.is_float else self.add(Cast(DType.F32), x)
        return _affine(self, x) if self.rng.random() < 0.5 else x


def _conv(g: RandomPlanes, x: Ref) -> Ref:
    channels, filters = x.type.shape[1], int(g.rng.integers(2, 7))
    padding = Padding.same(1) if min(x.type.shape[2:]) < 4 or g.rng.random() < 0.7 else Padding()
    weights = g.normal(filters, 3, 3, channels) / np.float32(3)
    stride = (2, 2) if min(x.type.shape[2:]) > 4 and g.rng.random() < 0.2 else (1, 1)
    return g.image(Conv2D(stride, padding), x, weights, g.normal(filters))


def _depthwise(g: RandomPlanes, x: Ref) -> Ref:
    channels = x.type.shape[1]
    return g.image(Conv2D((1, 1), Padding.same(1), groups=channels), x, g.normal(channels, 3, 3, 1))


def _norm(g: RandomPlanes, x: Ref) -> Ref:
    c = x.type.shape[1]
    spread = g.rng.uniform(0.1, 4, c).astype(np.float32)
    return g.image(BatchNorm(), x, *(g.normal(c) for _ in range(3)), spread)


def _activation(g: RandomPlanes, x: Ref) -> Ref:
    if g.rng.random() < 0.3:
        return g.add(PRelu(), x, g.vector(x.type.shape[1]))
    ops = [Relu(), LeakyRelu(0.1), Clip(0.0, 6.0), Sigmoid(), Tanh(), Softmax((1,))]
    return g.add(g.pick(ops), x)


def _affine(g: RandomPlanes, x: Ref) -> Ref:
    return g.add(g.pick([Add(), Sub(), Mul(), Div()]), x, g.vector(x.type.shape[1]))


def _residual(g: RandomPlanes, x: Ref) -> Ref:
    equal_shapes = [m for m in g.maps if m.type.shape == x.type.shape]
    other = g.pick(equal_shapes)
    if g.rng.random() < 0.2:
        return g.add(Select(), x, other, g.add(Greater(), other, np.zeros(1, np.float32)))
    return g.add(g.pick([Add(), Mul(), Maximum(), Sub()]), x, other)


def _squeeze(g: RandomPlanes, x: Ref) -> Ref:
    """Squeeze and excitation, with convolutions or with dense layers."""
    n, c, h, w = x.type.shape
    mean = g.pick(
        [
            lambda: g.image(AvgPool2D((h, w), (1, 1)), x),
            lambda: g.add(Reduce("mean", (2, 3), True), x),
        ]
    )()
    if g.rng.random() < 0.5:
        gate = g.image(Conv2D(), mean, g.normal(c, 1, 1, c))
    else:
        flat = g.add(Reshape((n, c)), mean)
        gate = g.add(Reshape((n, c, 1, 1)), g.add(Relu(), g.add(Dense(), flat, g.normal(c, c))))
    gate = g.add(Sigmoid(), gate)
    if g.rng.random() < 0.2:
        gate = g.add(Expand((n, c, h, w)), gate)
    return g.add(Mul(), x, gate)


def _pool(g: RandomPlanes, x: Ref) -> Ref:
    op = g.pick([MaxPool2D((2, 2), (1, 1)), AvgPool2D((3, 3), (1, 1), Padding.same(1))])
    return g.image(op, x) if min(x.type.shape[2:]) > 3 else x


def _pad(g: RandomPlanes, x: Ref) -> Ref:
    if max(x.type.shape[1:]) > 20:
        return x
    around = (0, g.pick([0, 0, 1]), 1, 2)
    if g.rng.random() < 0.3:
        shape = [e + 2 * a for e, a in zip(x.type.shape, around, strict=True)]
        return g.add(Embed(around), x, g.normal(*shape))
    return g.add(Pad(around, around, 0.5, g.pick(["constant", "edge"])), x)


def _branches(g: RandomPlanes, x: Ref) -> Ref:
    c = x.type.shape[1]
    if c < 2 or c > 20:
        return g.add(Concat(2), x, x) if x.type.shape[2] < 9 else x
    left, right = g.b.add_multi(Split(1, (1, c - 1)), x)
    branch, rest = (right, left) if g.rng.random() < 0.5 else (x, x)
    weights = g.normal(2, 3, 3, branch.type.shape[1])
    return g.add(Concat(1), g.image(Conv2D((1, 1), Padding.same(1)), branch, weights), rest)


def _crop(g: RandomPlanes, x: Ref) -> Ref:
    n, c, h, w = x.type.shape
    if min(h, w) < 4:
        return x
    return g.add(Slice((0, 0, 1, 0), (n, c, h - 1, w), (1, 1, 1, 1)), x)


def _upsample(g: RandomPlanes, x: Ref) -> Ref:
    """Double the rows and columns, with the operators to which a nearest resize is lowered."""
    if max(x.type.shape[2:]) > 8:
        return x
    for axis in (2, 3):
        picked = np.repeat(np.arange(x.type.shape[axis], dtype=np.int32), 2)
        x = g.add(Gather(axis), x, picked)
    return x


def _there_and_back(g: RandomPlanes, x: Ref) -> Ref:
    """Transposes to NHWC and back, as converters between frameworks insert them."""
    return g.add(TO_PLANES, g.add(g.pick([Relu(), Sigmoid()]), g.add(TO_PIXELS, x)))


def _mix(g: RandomPlanes, x: Ref) -> Ref:
    """Apply a dense layer to the channels of each pixel."""
    channels = x.type.shape[1]
    return g.image(Dense(), x, g.normal(channels, channels), g.normal(channels))


def _decoded(g: RandomPlanes, x: Ref) -> Ref:
    """Compute a picture from a vector with a dense layer."""
    n, c, h, w = x.type.shape
    size = 2 * h * w
    y = g.add(Dense(), g.add(Reduce("max", (2, 3)), x), g.normal(size, c))
    y = g.add(Relu(), g.add(Add(), y, g.normal(g.pick([1, size]))))
    return g.add(Concat(1), x, g.add(Reshape((n, 2, h, w)), y)) if c < 20 else x


def _twist(g: RandomPlanes, x: Ref) -> Ref:
    """Apply a random permutation, possibly of the batch axis, too; the result counts as NCHW."""
    moved = g.add(Transpose(tuple(int(a) for a in g.rng.permutation(4))), x)
    n, c, h, w = moved.type.shape
    return g.add(Reshape((1, n * c, h, w)), moved)


def _shuffle(g: RandomPlanes, x: Ref) -> Ref:
    n, c, h, w = x.type.shape
    if c % 2:
        return x
    groups = g.add(Transpose((0, 2, 1, 3, 4)), g.add(Reshape((n, 2, c // 2, h, w)), x))
    return g.add(Reshape((n, c, h, w)), groups)


def _classes(g: RandomPlanes, x: Ref) -> Ref:
    flat = g.add(Reshape((1, x.type.elements)), x)
    flat = g.add(Relu(), flat) if g.rng.random() < 0.5 else flat
    y = g.add(MatMul(), flat, g.normal(x.type.elements, 3) / np.float32(9))
    return g.add(Softmax((1,)), g.add(Add(), y, g.normal(3)))


def _sensors(g: RandomPlanes, x: Ref) -> Ref:
    """A dense layer on flattened pictures concatenated with a vector."""
    parts = [g.add(Reduce("max", (2, 3)), x)]
    for picture in {m.id: m for m in (x, g.pick(g.maps))}.values():
        parts.append(g.add(Reshape((1, picture.type.elements)), picture))
    joined = g.add(Concat(1), *(parts[int(i)] for i in g.rng.permutation(len(parts))))
    return g.add(Dense(), joined, g.normal(3, joined.type.elements) / np.float32(9))


def _boxes(g: RandomPlanes, x: Ref) -> Ref:
    pixels = g.add(TO_PIXELS, _conv(g, x))
    rows = pixels.type.elements // pixels.type.shape[3]
    return g.add(Sigmoid(), g.add(Reshape((1, rows, pixels.type.shape[3])), pixels))


def _pooled(g: RandomPlanes, x: Ref) -> Ref:
    """Global pooling that removes the axes of rows and columns."""
    y = g.add(Dense(), g.add(Reduce("max", (2, 3)), x), g.normal(4, x.type.shape[1]))
    return g.add(LogSoftmax((1,)), y)


def _best(g: RandomPlanes, x: Ref) -> Ref:
    return g.add(ArgMax(1), x)


STEPS: list[Callable[[RandomPlanes, Ref], Ref]] = [
    _conv, _conv, _conv, _depthwise, _norm, _activation, _activation, _affine, _residual, _residual,
    _squeeze, _pool, _pad, _branches, _crop, _upsample, _there_and_back,
    _mix, _decoded,
]  # fmt: skip
HEADS: list[Callable[[RandomPlanes, Ref], Ref]] = [_classes, _boxes, _pooled, _best, _sensors]


def random_planes(seed: int, *, pixels: bool = False, twists: bool = False) -> Graph:
    """A random network that depends only on the arguments."""
    return RandomPlanes(seed, pixels, twists).graph()
