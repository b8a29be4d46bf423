"""Random quantised networks, with exact results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.fixed_point import softmax_scaling
from ellc.ir.graph import Graph
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pointwise import Cast, Clip, Maximum, Minimum, Mul, Relu, Sub
from ellc.ir.ops.pool import MaxPool2D
from ellc.ir.ops.quantised import Dequantize, Lookup, Quantize, Requantize
from ellc.ir.ops.quantised_arithmetic import QuantAdd, QuantMul
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense
from ellc.ir.ops.quantised_pool import IntAvgPool2D
from ellc.ir.ops.quantised_softmax import QuantSoftmax
from ellc.ir.ops.reduce import Reduce
from ellc.ir.ops.shape import Concat, Reshape, Slice
from ellc.ir.types import Array, DType, Padding, Quant, TensorType

T = TypeVar("T")
LARGEST = 12  # the largest number of rows, columns or channels


class RandomBytes:
    """Draws a network of about `steps` layers, with pictures of up to 12x12 pixels."""

    def __init__(self, seed: int, steps: int = 12) -> None:
        self.rng = np.random.default_rng([21, seed])
        self.b = GraphBuilder(f"bytes{seed}")
        shape = (1, *(int(e) for e in self.rng.integers(1, 10, 3)))
        self.pictures = [
            self.b.input("picture", TensorType(self.pick((DType.I8, DType.U8)), shape))
        ]
        for _ in range(steps):
            # Use the newest value most of the time, and sometimes an older one, to get branches.
            x = self.pictures[-1] if self.rng.random() < 0.8 else self.pick(self.pictures)
            self.pictures.append(self.pick(STEPS)(self, x))
        for index, x in enumerate(dict.fromkeys([self.pictures[-1], self.pick(self.pictures)])):
            self.b.output(f"picture{index}", x)
        self._head(self.pictures[-1])

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self.rng.integers(len(items)))]

    def numbers(self, dtype: DType, *shape: int) -> Array:
        """Random integers of an 8-bit type."""
        info = np.iinfo(dtype.numpy)
        return self.rng.integers(info.min, info.max, shape, dtype.numpy, endpoint=True)

    def zero(self, dtype: DType) -> int:
        """A random zero point."""
        return int(self.numbers(dtype, 1)[0])

    def stored(self, sums: Ref, span: float) -> Ref:
        """Sums with magnitudes of about `span`, requantised to bytes by a random rule."""
        dtype = self.pick((DType.I8, DType.U8))
        info = np.iinfo(dtype.numpy)
        low = info.min if self.rng.random() < 0.5 else info.min + 100
        channels = self.pick((1, sums.type.shape[-1]))
        rule = self.pick(("tflite", "tflite_once", "half_even"))
        op = Requantize(rule, self.zero(dtype), low, info.max, dtype)
        if rule == "half_even":
            scale = (100 / span * self.rng.uniform(0.5, 2, channels)).astype(np.float32)
            return self.b.add(op, sums, self.b.constant(scale))
        shift = -int(np.log2(span / 100))
        mantissas = self.rng.integers(1 << 30, (1 << 31) - 1, channels, np.int32)
        shifts = (shift + self.rng.integers(-1, 2, channels)).astype(np.int32)
        return self.b.add(op, sums, self.b.constant(mantissas), self.b.constant(shifts))

    def _head(self, x: Ref) -> None:
        flat = self.b.add(Reshape((1, x.type.elements)), x)
        weights = self.numbers(DType.I8, 7, x.type.elements)
        op = IntDense(self.zero(x.type.dtype), (0,))
        scores = self.stored(self.b.add(op, flat, self.b.constant(weights)), 5e3)
        softmax = QuantSoftmax(*softmax_scaling(1.0, 0.1), DType.I8)
        self.b.output("classes", self.b.add(softmax, scores))


Step = Callable[[RandomBytes, Ref], Ref]


def _conv(g: RandomBytes, x: Ref) -> Ref:
    _, rows, columns, channels = x.type.shape
    window = (g.pick([k for k in (1, 2, 3) if k <= rows]), g.pick([1, min(3, columns)]))
    stride, padding = (g.pick((1, 1, 2)), g.pick((1, 1, 2))), _frame(g, window)
    grouped = g.rng.random() < 0.4
    filters = channels if grouped else int(g.rng.integers(1, LARGEST))
    op = IntConv2D(
        stride, padding, groups=channels if grouped else 1, input_zero=g.zero(x.type.dtype)
    )
    weights = g.numbers(DType.I8, filters, *window, 1 if grouped else channels)
    bias = g.rng.integers(-2000, 2000, filters, np.int32)
    sums = g.b.add(op, x, g.b.constant(weights), *([g.b.constant(bias)] if g.pick((0, 1)) else []))
    return g.stored(sums, 8e3 * float(np.sqrt(weights[0].size)))


def _frame(g: RandomBytes, window: tuple[int, int]) -> Padding:
    rows, columns = window
    amounts = [int(g.rng.integers(0, reach)) for reach in (rows, columns, rows, columns)]
    return Padding(*amounts)


def _sum(g: RandomBytes, x: Ref) -> Ref:
    """The sum with an older picture of the same type, or else with itself."""
    y = g.pick([p for p in g.pictures if p.type == x.type])
    scales = g.rng.uniform(0.01, 0.1, 2)
    dtype = x.type.dtype
    first, second = (Quant((float(s),), (g.zero(dtype),)) for s in scales)
    result = Quant((float(scales.max()) * 1.3,), (g.zero(dtype),))
    info = np.iinfo(dtype.numpy)
    subtract = bool(g.rng.random() < 0.3)
    op = QuantAdd.of(first, second, dtype, result, int(info.min), int(info.max), subtract)
    return g.b.add(op, x, y)


def _product(g: RandomBytes, x: Ref) -> Ref:
    dtype = x.type.dtype
    first, second, last = (Quant((s,), (g.zero(dtype),)) for s in (0.02, 0.03, 0.05))
    info = np.iinfo(dtype.numpy)
    op = QuantMul.of(first, second, dtype, last, int(info.min), int(info.max))
    return g.b.add(op, x, g.b.constant(g.numbers(dtype, x.type.shape[-1])))


def _pool(g: RandomBytes, x: Ref) -> Ref:
    window = (min(2, x.type.shape[1]), min(3, x.type.shape[2]))
    stride = (g.pick((1, 2)), g.pick((1, 2)))
    if g.rng.random() < 0.5:
        info = np.iinfo(x.type.dtype.numpy)
        op = IntAvgPool2D(window, stride, _frame(g, window), int(info.min), int(info.max) - 20)
        return g.b.add(op, x)
    low = MaxPool2D(window, stride).padding.values
    frame = Padding(*_frame(g, window).amounts, low)
    return g.b.add(MaxPool2D(window, stride, frame), x)


def _pad(g: RandomBytes, x: Ref) -> Ref:
    if max(x.type.shape) > LARGEST:
        return _clip(g, x)
    value = float(g.pick((g.zero(x.type.dtype), 0)))
    before, after = ((0, *(int(a) for a in g.rng.integers(0, 3, 2)), 0) for _ in range(2))
    return _conv_behind(g, g.b.add(Pad(before, after, value), x), int(value))


def _conv_behind(g: RandomBytes, x: Ref, zero: int) -> Ref:
    """A convolution whose padding has the same number, or no padding."""
    if g.rng.random() < 0.3:
        return x
    weights = g.numbers(DType.U8, 5, 1, 1, x.type.shape[3])
    op = IntConv2D(padding=Padding(0, 0, 0, 0), input_zero=zero, weight_zero=(128,))
    return g.stored(g.b.add(op, x, g.b.constant(weights)), 2e4)


def _table(g: RandomBytes, x: Ref) -> Ref:
    dtype = g.pick((DType.I8, DType.U8))
    return g.b.add(Lookup(dtype), x, g.b.constant(g.numbers(dtype, 256)))


def _clip(g: RandomBytes, x: Ref) -> Ref:
    low, high = sorted(int(v) for v in g.numbers(x.type.dtype, 2))
    bound = g.b.constant(g.numbers(x.type.dtype, 1))
    choices = [(Clip(low, high), (x,)), (Minimum(), (x, bound)), (Maximum(), (x, bound))]
    op, operands = g.pick(choices)
    return g.b.add(op, *operands)


def _join(g: RandomBytes, x: Ref) -> Ref:
    fits = [
        p
        for p in g.pictures
        if p.type.dtype is x.type.dtype and p.type.shape[:3] == x.type.shape[:3]
    ]
    y = g.pick(fits)
    if y.type.shape[3] + x.type.shape[3] > LARGEST:
        return _part(g, x)
    return g.b.add(Concat(3), x, y)


def _part(g: RandomBytes, x: Ref) -> Ref:
    starts = tuple(int(g.rng.integers(0, (e + 1) // 2)) for e in x.type.shape)
    sizes = tuple(e - s for e, s in zip(x.type.shape, starts, strict=True))
    return g.b.add(Slice(starts, sizes, (1, 1, 1, 1)), x)


def _mean(g: RandomBytes, x: Ref) -> Ref:
    axis = g.pick((1, 2))
    total = g.b.add(Reduce("sum", (axis,), True), g.b.add(Cast(DType.I32), x))
    zero = g.b.constant(np.array([g.zero(x.type.dtype) * x.type.shape[axis]], np.int32))
    return g.stored(g.b.add(Sub(), total, zero), 200.0 * x.type.shape[axis])


def _floats(g: RandomBytes, x: Ref) -> Ref:
    """Real numbers that are exact in float32."""
    scale = g.b.constant(np.array([g.pick((0.25, 0.5))], np.float32))
    zero = g.b.constant(np.array([g.zero(x.type.dtype)], np.int32))
    real = g.b.add(Dequantize(), x, scale, zero)
    if g.rng.random() < 0.5:
        factors = g.rng.choice(np.array([0.5, 1.0, -2.0], np.float32), x.type.shape[-1])
        real = g.b.add(Mul(), real, g.b.constant(factors))
    if g.rng.random() < 0.5:
        real = g.b.add(Relu(), real)
    step = g.b.constant(np.array([g.pick((0.25, 0.3))], np.float32))
    dtype = g.pick((DType.I8, DType.U8))
    after = g.b.constant(np.array([g.zero(dtype)], np.int32))
    return g.b.add(Quantize(g.pick(("half_even", "half_away")), dtype), real, step, after)


STEPS: tuple[Step, ...] = (
    _conv, _conv, _conv, _sum, _sum, _product, _pool, _pad, _table, _clip, _join, _part, _mean,
    _floats,
)  # fmt: skip


def random_byte_graph(seed: int) -> Graph:
    """A random network that depends only on the seed."""
    return RandomBytes(seed).b.build()
