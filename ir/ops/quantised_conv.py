"""Convolution, dense layer and matrix product of stored integers, with sums modulo 2^32.

A stored integer stands for the real number `scale * (stored - zero)`. These operators multiply and
add only the differences `stored - zero`; a `Requantize` after them applies the scales.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import ClassVar

import numpy as np

from ellc.ir.arrangement import Permutation
from ellc.ir.op import Arranged, Arrays, Case, Op, Types, exact, register_op, require
from ellc.ir.ops.common import (
    along_last,
    channel_reads,
    matrix_reads,
    pad_image,
    padded_elements,
    parameter_reads,
    taps,
    want_operands,
    want_shape,
    window_sizes,
    window_taps,
)
from ellc.ir.ops.quantised import want_type
from ellc.ir.reads import Reads, Window, apart_from
from ellc.ir.types import Array, DType, Padding, TensorType, type_of

_BYTES = (DType.I8, DType.U8)
_IMAGES = (*_BYTES, DType.I16)


@register_op("int_conv2d")
@dataclass(frozen=True, slots=True)
class IntConv2D(Op):
    """(x [N,H,W,C] i8|u8|i16, w [F,kh,kw,C/groups] i8|u8[, bias i32 [F]]) -> i32 [N,OH,OW,F].

    y[n,r,c,f] = bias[f] + sum of (x - input_zero) * (w[f] - weight_zero[f]) over the same elements
    as in `Conv2D`, modulo 2^32. Pixels outside the image contribute 0, so `padding` has no values.
    `weight_zero` has one number, or one per filter.
    """

    takes_stages: ClassVar[bool] = True

    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    input_zero: int = 0
    weight_zero: tuple[int, ...] = (0,)

    own_error = exact

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("int_conv2d", inputs, 2, 3)
        x, w, *bias = inputs
        require(w.rank == 4, f"int_conv2d: weights of rank {w.rank}, expected [F,kh,kw,C/groups]")
        filters, rows, columns, depth = w.shape
        window = (rows, columns)
        sizes = window_sizes("int_conv2d", x, window, self.stride, self.padding, self.dilation)
        require(
            self.groups >= 1 and depth * self.groups == x.shape[3],
            f"int_conv2d: {x.shape[3]} channels, weights for {self.groups} groups of {depth}",
        )
        good = filters % self.groups == 0
        require(good, f"int_conv2d: {self.groups} groups do not divide {filters} filters")
        require(self.padding.values == (0.0,), "int_conv2d: padding values are not supported")
        want_zeros("int_conv2d", x, (self.input_zero,), 1, *_IMAGES)
        want_zeros("int_conv2d", w, self.weight_zero, filters)
        _want_bias("int_conv2d", bias, filters)
        return (TensorType(DType.I32, (x.shape[0], *sizes, filters)),)

    def with_border(self, border: Padding) -> IntConv2D | None:
        if border.values != (float(self.input_zero),):
            return None
        return replace(self, padding=Padding(*self.padding.widened(border)))

    def slides(self, operands: Types) -> Window:
        return Window(taps(operands[1]), self.stride, self.padding, self.dilation)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        reads = self.slides(operands).reads(channel_reads(operands, self.groups))
        return (reads, *parameter_reads(operands[1:], 3))

    def reference(self, *inputs: Array) -> Arrays:
        x, w, *bias = inputs
        window = (w.shape[1], w.shape[2])
        sizes = window_sizes(
            "int_conv2d", type_of(x), window, self.stride, self.padding, self.dilation
        )
        padded = pad_image(_difference(x, self.input_zero), self.padding)
        factors = _difference(w, np.reshape(self.weight_zero, (-1, 1, 1, 1)))
        total = np.zeros((x.shape[0], *sizes, w.shape[0]))
        for i, j, pixels in window_taps(padded, window, self.stride, sizes, self.dilation):
            total += _tap(pixels, factors[:, i, j], self.groups)
        return (_wrapped(total, *bias),)

    def macs(self, inputs: Types, outputs: Types) -> int:
        return outputs[0].elements * prod(inputs[1].shape[1:])

    def inner_steps(self, inputs: Types, outputs: Types) -> int:
        return self.macs(inputs, outputs) + padded_elements(inputs[0], self.padding)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        case = partial(_conv_case, rng)
        same = Padding.same(1)
        late = Padding(0, 0, 1, 1)  # TensorFlow's SAME for an even extent and stride 2
        yield case(cls(), (1, 1, 1, 1), (1, 1, 1, 1), "one pixel")
        yield case(cls(padding=same, input_zero=-7), (1, 5, 7, 3), (5, 3, 3, 3), "odd sizes")
        zeros = cls(padding=same, input_zero=131, weight_zero=(122,))
        yield case(zeros, (1, 14, 13, 16), (24, 3, 3, 16), "bytes without sign", kinds="uu")
        yield case(cls(input_zero=-128), (1, 7, 9, 33), (65, 1, 1, 33), "1x1")
        plain = cls(input_zero=3, weight_zero=(255,))
        yield case(plain, (1, 4, 5, 6), (7, 1, 1, 6), "1x1 zeros", kinds="iu", bias=False)
        deep = cls((2, 2), Padding.same(3), input_zero=128)
        yield case(deep, (1, 17, 17, 3), (8, 7, 7, 3), "7x7 stride 2", kinds="ui")
        yield case(cls((3, 4)), (1, 10, 11, 5), (6, 2, 2, 5), "stride beyond the window")
        padded = cls((1, 2), Padding(0, 2, 1, 1), input_zero=9, weight_zero=(1, -2, 3, 127))
        yield case(padded, (1, 6, 5, 3), (4, 2, 3, 3), "zero per filter", bias=False)
        yield case(
            cls(padding=Padding.same(4), input_zero=5), (1, 3, 2, 2), (3, 3, 2, 2), "padding"
        )
        yield case(cls((2, 1), same, (2, 3)), (1, 9, 12, 4), (7, 3, 3, 4), "dilation")
        grouped = cls(padding=same, groups=3, input_zero=255, weight_zero=(7, 0, 9) * 3)
        yield case(grouped, (1, 6, 6, 6), (9, 3, 3, 2), "groups", kinds="uu")
        yield case(cls(input_zero=-1), (1, 4, 6, 10), (10, 4, 6, 10), "whole image")
        yield case(cls(padding=same, input_zero=77), (2, 5, 5, 1), (3, 3, 3, 1), "batch of 2")
        channels = cls(padding=same, groups=19, input_zero=-20)
        yield case(channels, (1, 6, 7, 19), (19, 3, 3, 1), "depthwise")
        channels = cls((2, 2), late, groups=32, input_zero=128, weight_zero=(120,))
        yield case(channels, (1, 8, 8, 32), (32, 3, 3, 1), "depthwise stride 2", kinds="uu")
        channels = cls(padding=same, groups=5, weight_zero=(3, -3, 100, 0, -128))
        yield case(channels, (2, 4, 3, 5), (5, 3, 3, 1), "depthwise, zeros", kinds="ui")
        channels = cls(padding=same, groups=9, input_zero=140)
        yield case(channels, (1, 5, 9, 9), (9, 3, 3, 1), "depthwise, small weights", kinds="us")
        yield _extreme_case(cls(padding=same, groups=8, input_zero=127), 1, "depthwise, extremes")
        yield _extreme_case(cls(padding=same, input_zero=-128), 8, "extremes")
        yield case(cls(), (1, 6, 5, 16), (6, 3, 3, 16), "sixteen channels", kinds="is")
        strided = cls((2, 1), same, (1, 2), 2, input_zero=200)
        yield case(strided, (1, 7, 9, 48), (10, 3, 3, 24), "groups of 24 channels", kinds="us")
        yield case(cls(input_zero=9), (2, 3, 5, 40), (9, 1, 1, 40), "small weights", kinds="us")
        channels = cls(padding=Padding.same(2), groups=4, input_zero=50)
        yield case(channels, (1, 5, 3, 4), (8, 5, 5, 1), "depthwise, two filters a channel")
        yield case(cls(padding=same), (1, 5, 7, 16), (9, 3, 3, 16), "16 bits", kinds="wi")
        yield case(cls(), (1, 4, 5, 40), (10, 1, 1, 40), "16 bits, 1x1", kinds="ws")
        wide = cls((2, 1), late, groups=19)
        yield case(wide, (1, 6, 7, 19), (19, 3, 3, 1), "16 bits, depthwise", kinds="ws")
        x, w = _bytes(rng, "i", 1, 6, 5, 4), _bytes(rng, "u", 6, 3, 2, 4)
        yield Case(cls((2, 1), same, input_zero=-9, weight_zero=(99,)), (x, w), label="computed")
        grouped = cls(groups=2, input_zero=5, weight_zero=(7,))
        yield Case(grouped, (x, w[..., :2].copy()), label="computed weights of groups")
        strided = cls((2, 1), input_zero=131, weight_zero=(150,))
        yield case(strided, (2, 5, 9, 56), (9, 1, 1, 56), "1x1 of unsigned weights", kinds="uu")


@register_op("int_dense")
@dataclass(frozen=True, slots=True)
class IntDense(Op):
    """(x [...,K] i8|u8|i16, w [F,K] i8|u8[, bias i32 [F]]) -> i32 [...,F], along the last axis.

    y[..,f] = bias[f] + sum of (x - input_zero) * (w[f] - weight_zero[f]), modulo 2^32.
    `weight_zero` has one number, or one per output.
    """

    takes_stages: ClassVar[bool] = True

    input_zero: int = 0
    weight_zero: tuple[int, ...] = (0,)

    own_error = exact

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("int_dense", inputs, 2, 3)
        x, w, *bias = inputs
        require(w.rank == 2, f"int_dense: weights of rank {w.rank}, expected [outputs,inputs]")
        require(
            x.rank >= 1 and x.shape[-1] == w.shape[1],
            f"int_dense: operand {x.shape} does not fit weights {w.shape}",
        )
        want_zeros("int_dense", x, (self.input_zero,), 1, *_IMAGES)
        want_zeros("int_dense", w, self.weight_zero, w.shape[0])
        _want_bias("int_dense", bias, w.shape[0])
        return (TensorType(DType.I32, (*x.shape[:-1], w.shape[0])),)

    def arranged(self, operands: Types, results: Types, p: Permutation) -> Arranged | None:
        return along_last(self, operands, p)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        last = operands[0].rank - 1
        return (apart_from((last,), last + 1), *parameter_reads(operands[1:], last))

    def reference(self, *inputs: Array) -> Arrays:
        x, w, *bias = inputs
        factors = _difference(w, np.reshape(self.weight_zero, (-1, 1)))
        return (_wrapped(np.matmul(_difference(x, self.input_zero), factors.T), *bias),)

    def macs(self, inputs: Types, outputs: Types) -> int:
        return outputs[0].elements * inputs[1].shape[1]

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(
            op: IntDense, x: tuple[int, ...], outputs: int, label: str, *, bias: bool = False,
            kinds: str = "ii", fixed: bool = True,
        ) -> Case:  # fmt: skip
            arrays = [_bytes(rng, kinds[0], *x), _bytes(rng, kinds[1], outputs, x[-1])]
            arrays += [_bias(rng, outputs)] if bias else []
            constants = tuple(range(1, len(arrays))) if fixed else ()
            return Case(op, tuple(arrays), constants, label=label)

        yield case(cls(), (1, 1), 1, "one number")
        yield case(cls(-128), (1, 64), 32, "round sizes", bias=True)
        yield case(cls(200, (3,)), (1, 37), 19, "odd sizes", bias=True, kinds="uu")
        yield case(cls(5), (1, 1), 33, "one input", kinds="ui")
        yield case(cls(-3, (-128,)), (1, 259), 1, "one output", bias=True)
        yield case(cls(255, (0,)), (1, 1024), 10, "long sums", kinds="uu")
        yield case(cls(17, tuple(range(11))), (7, 30), 11, "several rows", bias=True)
        yield case(cls(1), (1, 3, 2, 9), 5, "pixels", kinds="iu")
        yield case(cls(-1), (21,), 6, "rank 1", bias=True)
        yield case(cls(), (3, 70), 11, "16 bits", bias=True, kinds="wi")
        computed = cls(128, (1, 20, 33, 4, 5, 250, 9))
        yield case(computed, (2, 12), 7, "computed weights", bias=True, kinds="uu", fixed=False)


@register_op("int_mat_mul")
@dataclass(frozen=True, slots=True)
class IntMatMul(Op):
    """(a [...,M,K] i8|u8, b [...,K,N] i8|u8) -> i32 [...,M,N]: (a - a_zero) times (b - b_zero).

    This is the matrix product, with sums modulo 2^32. `b_zero` has one number, or one for each of
    the N columns. With `transpose_a` or `transpose_b`, the last two axes of that operand are
    exchanged first. Leading axes broadcast as in numpy; both operands have rank 2 or more.
    """

    takes_stages: ClassVar[bool] = True

    a_zero: int = 0
    b_zero: tuple[int, ...] = (0,)
    transpose_a: bool = False
    transpose_b: bool = False

    own_error = exact

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("int_mat_mul", inputs, 2)
        a, b = inputs
        require(
            min(a.rank, b.rank) >= 2,
            f"int_mat_mul: ranks {a.rank} and {b.rank}, expected at least 2",
        )
        rows, depth = a.shape[-2:][:: -1 if self.transpose_a else 1]
        other, columns = b.shape[-2:][:: -1 if self.transpose_b else 1]
        require(depth == other, f"int_mat_mul: {a.shape} and {b.shape} do not fit")
        want_zeros("int_mat_mul", a, (self.a_zero,), 1)
        want_zeros("int_mat_mul", b, self.b_zero, columns)
        try:
            batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        except ValueError:
            require(False, f"int_mat_mul: {a.shape} and {b.shape} do not broadcast")
            raise
        return (TensorType(DType.I32, (*batch, rows, columns)),)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return matrix_reads(operands, results[0].shape, self.transpose_a, self.transpose_b)

    def reference(self, *inputs: Array) -> Arrays:
        a, b = inputs
        left = np.swapaxes(a, -1, -2) if self.transpose_a else a
        right = np.swapaxes(b, -1, -2) if self.transpose_b else b
        factors = _difference(right, np.array(self.b_zero))
        return (_wrapped(np.matmul(_difference(left, self.a_zero), factors)),)

    def macs(self, inputs: Types, outputs: Types) -> int:
        return outputs[0].elements * inputs[0].shape[-2 if self.transpose_a else -1]

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(
            op: IntMatMul, a: tuple[int, ...], b: tuple[int, ...], label: str, *,
            kinds: str = "ii", fixed: bool = False,
        ) -> Case:  # fmt: skip
            arrays = (_bytes(rng, kinds[0], *a), _bytes(rng, kinds[1], *b))
            return Case(op, arrays, (1,) if fixed else (), label=label)

        yield case(cls(), (1, 1), (1, 1), "one number")
        yield case(cls(-7, (3,)), (5, 7), (7, 3), "odd sizes")
        yield case(cls(128, (-1,)), (16, 32), (32, 24), "round sizes", kinds="ui", fixed=True)
        yield case(cls(1, (4,), True), (7, 5), (7, 9), "first transposed", kinds="uu")
        yield case(cls(0, (0,), False, True), (4, 19), (6, 19), "second transposed")
        both = cls(9, (1, 2, 3, 4, 5), True, True)
        yield case(both, (8, 3), (5, 8), "both transposed", kinds="iu", fixed=True)
        yield case(cls(2, (9, 8, 7, 6, 255)), (3, 4, 6), (3, 6, 5), "batch", kinds="uu")
        yield case(cls(transpose_b=True), (2, 3, 4, 6), (3, 5, 6), "batch broadcast")
        yield case(cls(-128, (127,)), (1, 40), (40, 1), "dot product")


def want_zeros(
    name: str, type_: TensorType, zeros: tuple[int, ...], count: int, *allowed: DType
) -> None:
    """Raise `ShapeError` unless an operand's type is allowed and its zero points are valid.

    If no types are given, bytes are allowed. There must be 1 or `count` zero points. Zero points of
    16-bit numbers must be 0, so that differences have 16 bits, too.
    """
    want_type(name, "an operand", type_, *(allowed or _BYTES))
    good = type_.dtype in _BYTES or not any(zeros)
    require(good, f"{name}: zero points of 16-bit numbers must be 0")
    require(len(zeros) in (1, count), f"{name}: {len(zeros)} zero points for {count} outputs")
    info = np.iinfo(type_.dtype.numpy)
    good = all(info.min <= zero <= info.max for zero in zeros)
    require(good, f"{name}: zero points {zeros} do not fit into {type_.dtype.value}")


def _want_bias(name: str, bias: list[TensorType], outputs: int) -> None:
    if bias:
        want_shape(name, "bias", bias[0], outputs)
        require(bias[0].dtype is DType.I32, f"{name}: bias of {bias[0].dtype.value}, expected i32")


def _difference(stored: Array, zero: int | Array) -> Array:
    """`stored - zero` in float64, which is exact for sums of up to 2^36 products of bytes."""
    difference: Array = stored.astype(np.float64) - zero
    return difference


def _wrapped(total: Array, *bias: Array) -> Array:
    """Exact sums plus a bias, if there is one, as 32-bit integers modulo 2^32."""
    exact: Array = total.astype(np.int64)
    for more in bias:
        exact = exact + more
    return exact.astype(np.int32)


def _tap(pixels: Array, w: Array, groups: int) -> Array:
    """The products of one tap: pixels [N,OH,OW,C], weights [F,C/groups] -> [N,OH,OW,F]."""
    if groups == 1:
        product: Array = pixels @ w.T
        return product
    if w.shape[1] == 1:
        each: Array = np.repeat(pixels, w.shape[0] // groups, axis=-1) * w[:, 0]
        return each
    grouped = pixels.reshape(*pixels.shape[:3], groups, 1, w.shape[1])
    stacked = w.reshape(groups, w.shape[0] // groups, w.shape[1])
    parts: Array = grouped @ np.swapaxes(stacked, 1, 2)
    return parts.reshape(*pixels.shape[:3], w.shape[0])


def _bytes(rng: np.random.Generator, kind: str, *shape: int) -> Array:
    """Random integers of a kind: `i` i8, `u` u8, `s` i8 from -25 to 25, `w` i16."""
    low, high = {"i": (-128, 128), "u": (0, 256), "s": (-25, 26), "w": (-(2**15), 2**15)}[kind]
    dtype = {"u": np.uint8, "w": np.int16}.get(kind, np.int8)
    return rng.integers(low, high, shape).astype(dtype)


def _bias(rng: np.random.Generator, outputs: int) -> Array:
    """Biases of typical sizes, and some at the ends of the type, so that sums wrap around."""
    values = rng.integers(-30_000, 30_000, outputs)
    values[::7] = np.where(values[::7] < 0, -(2**31), 2**31 - 1)
    return values.astype(np.int32)


def _conv_case(
    rng: np.random.Generator,
    op: IntConv2D,
    x: tuple[int, ...],
    w: tuple[int, ...],
    label: str,
    *,
    kinds: str = "ii",
    bias: bool = True,
) -> Case:
    arrays = [_bytes(rng, kinds[0], *x), _bytes(rng, kinds[1], *w)]
    arrays += [_bias(rng, w[0])] if bias else []
    return Case(op, tuple(arrays), tuple(range(1, len(arrays))), label=label)


def _extreme_case(op: IntConv2D, depth: int, label: str) -> Case:
    """A case with sums of the largest possible magnitude: all products in a window are extreme.

    `depth` is the number of channels per group.
    """
    ends = np.array([-128, 127], np.int8)
    x = np.zeros((1, 6, 6, 8), np.int8) + (
        ends[[0, 0, 0, 0, 1, 1, 1, 1]] if depth == 1 else ends[0]
    )
    w = np.zeros((8, 3, 3, depth), np.int8) + ends[[0, 0, 1, 1, 0, 0, 1, 1]][:, None, None, None]
    return Case(op, (x, np.maximum(w, -127)), (1,), label=label)
