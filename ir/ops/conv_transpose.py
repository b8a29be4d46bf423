"""Transposed convolution, which enlarges images; it is the gradient of a convolution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from ellc.ir.op import Arrays, Case, Op, Types, exact, of_largest, register_op, require
from ellc.ir.ops.common import (
    normal,
    parameter_reads,
    taps,
    want_floats,
    want_operands,
    want_shape,
    weights,
)
from ellc.ir.ops.quantised_conv import want_zeros
from ellc.ir.reads import Along, Reads, Window
from ellc.ir.types import Array, DType, TensorType

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Enlargement:
    """One axis of a transposed convolution.

    Input i times tap t is added to output i * stride + t * dilation - before. `before` and `after`
    are the crop, `extra` is the output padding.
    """

    extent: int
    taps: int
    stride: int
    dilation: int
    before: int
    after: int
    extra: int

    @property
    def reach(self) -> int:
        """The number of elements of the result before cropping and output padding."""
        return (self.extent - 1) * self.stride + (self.taps - 1) * self.dilation + 1

    @property
    def size(self) -> int:
        """The number of elements of the result."""
        return self.reach - self.before - self.after + self.extra

    def slices(self, tap: int) -> tuple[slice, slice]:
        """For a tap: (inputs whose products are not cropped, elements that the products go to)."""
        shift = tap * self.dilation - self.before
        first = max(0, -(shift // self.stride))  # the first input whose product is not cropped
        count = min(self.extent, -((shift - self.size) // self.stride)) - first
        if count <= 0:
            return slice(0), slice(0)
        start = first * self.stride + shift
        stop = start + (count - 1) * self.stride + 1
        return slice(first, first + count), slice(start, stop, self.stride)


class _ConvTranspose(Op):
    """Base of the float and the integer operator: shapes and sums."""

    composite: ClassVar[bool] = True
    stride: Pair
    crop: tuple[int, int, int, int]
    output_padding: Pair
    dilation: Pair
    groups: int

    def axes(self, x: tuple[int, ...], w: tuple[int, ...]) -> tuple[Enlargement, Enlargement]:
        """The axes (rows, columns) for operands of these shapes."""
        top, left, bottom, right = self.crop
        rows, columns = (
            Enlargement(
                x[i + 1],
                w[i + 1],
                self.stride[i],
                self.dilation[i],
                (top, left)[i],
                (bottom, right)[i],
                self.output_padding[i],
            )
            for i in (0, 1)
        )
        return rows, columns

    def result_shape(self, x: TensorType, w: TensorType) -> tuple[int, ...]:
        """The result's shape; raises `ShapeError` if the operands do not fit."""
        name = self.name
        good = x.rank == 4 and w.rank == 4
        require(good, f"{name}: operands of rank {x.rank} and {w.rank}, expected rank 4")
        filters, _, _, depth = w.shape
        good = min(*self.stride, *self.dilation, self.groups) >= 1 and min(w.shape) >= 1
        require(good, f"{name}: stride, dilation, groups and weight extents must be at least 1")
        good = min(*self.crop, *self.output_padding) >= 0
        amounts = f"crop {self.crop} and output padding {self.output_padding}"
        require(good, f"{name}: {amounts} must not be negative")
        good = depth * self.groups == x.shape[3] and filters % self.groups == 0
        parts = f"{x.shape[3]} channels, {self.groups} groups and weights {w.shape}"
        require(good, f"{name}: {parts} do not fit together")
        rows, columns = self.axes(x.shape, w.shape)
        good = min(rows.size, columns.size) >= 1
        extents = f"{rows.size}x{columns.size}"
        require(good, f"{name}: the result of {x.shape} would have {extents} pixels")
        return (x.shape[0], rows.size, columns.size, filters)

    def sums(self, x: Array, w: Array) -> Array:
        """The result without a bias: sums of products of input pixels and taps."""
        rows, columns = self.axes(x.shape, w.shape)
        filters, depth = w.shape[0], w.shape[3]
        grouped = x.reshape(*x.shape[:3], self.groups, depth)
        stacked = w.reshape(self.groups, filters // self.groups, *w.shape[1:3], depth)
        total = np.zeros((x.shape[0], rows.size, columns.size, filters), x.dtype)
        for i in range(rows.taps):
            for j in range(columns.taps):
                (of_rows, to_rows), (of_columns, to_columns) = rows.slices(i), columns.slices(j)
                pixels = grouped[:, of_rows, of_columns]
                part = np.einsum("nrcgd,gfd->nrcgf", pixels, stacked[:, :, i, j])
                total[:, to_rows, to_columns] += part.reshape(*pixels.shape[:3], filters)
        return total

    def spreads(self, operands: Types) -> Window:
        return Window(taps(operands[1]), self.stride, dilation=self.dilation)

    def macs(self, inputs: Types, outputs: Types) -> int:
        return inputs[0].elements * prod(inputs[1].shape[:3]) // self.groups


@register_op("conv_transpose2d")
@dataclass(frozen=True, slots=True)
class ConvTranspose2D(_ConvTranspose):
    """(x [N,H,W,C], w [F,kh,kw,C/groups][, bias [F]]) -> [N,OH,OW,F], float.

    Input pixel (r, c) times tap (i, j) is added to output pixel (r*stride + i*dilation - top,
    c*stride + j*dilation - left). Filter f reads the channels of group f // (F/groups). `crop` is
    the number of pixels (top, left, bottom, right) that are removed from the result. OH =
    (H-1)*stride + dilation*(kh-1) + 1 - top - bottom + output_padding. A kernel may pad x or the
    window with zeros; their products with NaN or infinities then give NaN at additional pixels.
    """

    stride: Pair = (1, 1)
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    output_padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    own_error = of_largest

    def infer(self, *inputs: TensorType) -> Types:
        want_operands(self.name, inputs, 2, 3)
        dtype = want_floats(self.name, *inputs)
        x, w, *bias = inputs
        shape = self.result_shape(x, w)
        if bias:
            want_shape(self.name, "bias", bias[0], w.shape[0])
        return (TensorType(dtype, shape),)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return ((Along(0), None, None, None), *parameter_reads(operands[1:], 3))

    def reference(self, *inputs: Array) -> Arrays:
        x, w, *bias = inputs
        total = self.sums(x, w)
        return (total + bias[0] if bias else total,)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(
            op: ConvTranspose2D,
            x: tuple[int, ...],
            w: tuple[int, ...],
            label: str,
            bias: bool = False,
        ) -> Case:
            arrays = [normal(rng, *x), weights(rng, *w)]
            arrays += [normal(rng, w[0])] if bias else []
            return Case(op, tuple(arrays), tuple(range(1, len(arrays))), label=label)

        one = (1, 1, 1, 1)
        yield case(cls(), (1, 1, 1, 1), (1, 1, 1, 1), "one pixel")
        yield case(cls(), (1, 5, 7, 3), (4, 3, 3, 3), "stride 1", bias=True)
        yield case(cls((2, 2)), (1, 5, 4, 6), (5, 2, 2, 6), "2x2 stride 2")
        yield case(cls((2, 2), one, (1, 1)), (1, 5, 4, 6), (5, 3, 3, 6), "3x3 stride 2", bias=True)
        yield case(cls((2, 2), one), (1, 4, 5, 3), (8, 4, 4, 3), "4x4 stride 2")
        yield case(cls((2, 2), (0, 0, 1, 1)), (1, 4, 5, 3), (8, 3, 3, 3), "late crop")
        yield case(cls((2, 3), (2, 0, 1, 2), (1, 2)), (1, 4, 5, 3), (2, 5, 4, 3), "uneven")
        yield case(cls((3, 4)), (1, 3, 4, 2), (3, 2, 2, 2), "stride beyond the kernel")
        yield case(cls((2, 1), one, (0, 0), (2, 3)), (1, 5, 6, 2), (3, 3, 2, 2), "dilation")
        yield case(cls((2, 2), groups=2), (1, 4, 3, 4), (6, 3, 3, 2), "groups", bias=True)
        yield case(cls((2, 2), one, groups=5), (1, 4, 3, 5), (5, 4, 4, 1), "depthwise")
        yield case(cls((2, 2), (3, 3, 3, 3)), (2, 6, 5, 2), (3, 3, 3, 2), "crop beyond the kernel")
        computed = (normal(rng, 1, 4, 3, 4), weights(rng, 6, 3, 3, 2), normal(rng, 6))
        yield Case(cls((2, 2), groups=2), computed, label="computed weights")
        yield Case(cls(), (*computed[:1], weights(rng, 2, 2, 3, 4)), label="computed, stride 1")


@register_op("int_conv_transpose2d")
@dataclass(frozen=True, slots=True)
class IntConvTranspose2D(_ConvTranspose):
    """(x i8|u8|i16, w i8|u8 [F,kh,kw,C/groups][, bias i32 [F]]) -> i32, modulo 2^32.

    `ConvTranspose2D` of x - input_zero and w - weight_zero; `weight_zero` has one number, or one
    per filter.
    """

    stride: Pair = (1, 1)
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    output_padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    input_zero: int = 0
    weight_zero: tuple[int, ...] = (0,)

    own_error = exact

    def infer(self, *inputs: TensorType) -> Types:
        want_operands(self.name, inputs, 2, 3)
        x, w, *bias = inputs
        want_zeros(self.name, x, (self.input_zero,), 1, DType.I8, DType.U8, DType.I16)
        shape = self.result_shape(x, w)
        want_zeros(self.name, w, self.weight_zero, w.shape[0])
        if bias:
            kind = bias[0].dtype
            require(kind is DType.I32, f"{self.name}: bias of {kind.value}, expected i32")
            want_shape(self.name, "bias", bias[0], w.shape[0])
        return (TensorType(DType.I32, shape),)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return ((Along(0), None, None, None), *parameter_reads(operands[1:], 3))

    def reference(self, *inputs: Array) -> Arrays:
        x, w, *bias = inputs
        zeros = np.array(self.weight_zero, np.int32).reshape(-1, 1, 1, 1)
        total = self.sums(
            x.astype(np.int32) - np.int32(self.input_zero), w.astype(np.int32) - zeros
        )
        return (total + bias[0] if bias else total,)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(
            op: IntConvTranspose2D, x: Array, w: tuple[int, ...], label: str, bias: bool = False
        ) -> Case:
            arrays = [x, rng.integers(-128, 128, w, np.int8)]
            arrays += [rng.integers(-999, 999, w[0], np.int32)] if bias else []
            return Case(op, tuple(arrays), tuple(range(1, len(arrays))), label=label)

        signed = rng.integers(-128, 128, (1, 5, 4, 6), np.int8)
        unsigned = rng.integers(0, 256, (1, 4, 3, 4), np.uint8)
        zeros = tuple(range(-2, 3))
        yield case(cls(), signed[:, :1, :1, :1], (1, 1, 1, 1), "one pixel")
        yield case(cls((2, 2), input_zero=-7), signed, (5, 2, 2, 6), "2x2", bias=True)
        each = cls((2, 2), (1, 1, 1, 1), (1, 0), weight_zero=zeros, input_zero=3)
        yield case(each, signed, (5, 3, 3, 6), "zero per filter")
        wide = rng.integers(-(2**15), 2**15, (1, 4, 3, 6), np.int16)
        yield case(cls((2, 2)), wide, (5, 3, 3, 6), "16 bits", bias=True)
        yield case(cls((2, 1), groups=2, input_zero=128), unsigned, (6, 3, 3, 2), "groups")
