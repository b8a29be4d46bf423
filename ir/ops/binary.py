"""Operators of binary networks: a value above 0 becomes +1, any other -1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import ClassVar

import numpy as np

from ellc.ir.op import Arrays, Case, Op, Pointwise, Types, exact, register_op, require
from ellc.ir.ops.common import (
    channel_reads,
    normal,
    parameter_reads,
    taps,
    want_operands,
    want_shape,
    window_sizes,
    window_taps,
)
from ellc.ir.ops.elementwise import SPECIAL, spread, want_kind
from ellc.ir.reads import Along, Reads, Window
from ellc.ir.types import Array, DType, Padding, TensorType


@register_op("binarize")
@dataclass(frozen=True, slots=True)
class Binarize(Pointwise):
    """x > 0 as bits of the same shape; 0 and NaN give -1. x is float or integer.

    x has at least one axis, since bits are packed along the last axis.
    """

    own_error = exact

    @property
    def jumps(self) -> bool:
        return True

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("binarize", inputs, 1)
        want_kind("binarize", inputs[0].dtype, "fi")
        require(inputs[0].rank > 0, "binarize: a tensor of rank 0 has no axis to pack bits along")
        return (TensorType(DType.BIT, inputs[0].shape),)

    def reference(self, *inputs: Array) -> Arrays:
        return (np.asarray(inputs[0] > 0),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        for shape, label in (
            ((1, 1, 1, 1), "one pixel"),
            ((1, 5, 7, 3), "odd sizes"),
            ((1, 4, 5, 64), "whole words"),
            ((1, 3, 3, 97), "a partial word"),
            ((45,), "vector"),
        ):
            yield Case(cls(), (spread(rng, -1.0, 1.0, *shape),), label=label)
        yield Case(cls(), (np.resize(SPECIAL, (1, 2, 2, 37)),), label="special values")
        yield Case(cls(), (rng.integers(-2, 3, (1, 3, 4, 33), np.int32),), label="integers")


@register_op("binary_conv2d")
@dataclass(frozen=True, slots=True)
class BinaryConv2D(Op):
    """Cross-correlation of signs: (x [N,H,W,C], w [F,kh,kw,C][, scale [F] f32]) -> f32.

    x and w are bits. y[n,r,c,f] = scale[f] * (sum of products of +-1). Without a scale, the result
    is the sum, an integer. The padding has a single value: with 0, taps outside the image
    contribute nothing; with -1 or +1, all pixels outside have that value. Extents are as in
    `Conv2D`.
    """

    takes_stages: ClassVar[bool] = True
    reads_bordered: ClassVar[bool] = True
    writes_bordered: ClassVar[bool] = True

    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("binary_conv2d", inputs, 2, 3)
        x, w, *scale = inputs
        require(
            x.dtype is DType.BIT and w.dtype is DType.BIT,
            f"binary_conv2d: needs bits, not {x.dtype.value} and {w.dtype.value}",
        )
        require(w.rank == 4, f"binary_conv2d: weights of rank {w.rank}, expected [F,kh,kw,C]")
        require(
            self.padding.values in ((0,), (-1,), (1,)),
            f"binary_conv2d: padding values {self.padding.values}, expected one of 0, -1 and 1",
        )
        filters, rows, columns, depth = w.shape
        sizes = window_sizes("binary_conv2d", x, (rows, columns), self.stride, self.padding)
        require(x.shape[3] == depth, f"binary_conv2d: {x.shape[3]} channels, weights for {depth}")
        if scale:
            want_shape("binary_conv2d", "scale", scale[0], filters)
            require(scale[0].dtype is DType.F32, "binary_conv2d: the scale must be f32")
        return (TensorType(DType.F32, (x.shape[0], *sizes, filters)),)

    def with_border(self, border: Padding) -> BinaryConv2D | None:
        """None unless the border is -1 or +1: bits cannot store a border of 0."""
        signs = border.values in ((-1.0,), (1.0,))
        padding = self.padding.around(border) if signs else None
        return None if padding is None else replace(self, padding=padding)

    def slides(self, operands: Types) -> Window:
        return Window(taps(operands[1]), self.stride, self.padding)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        reads = self.slides(operands).reads(channel_reads(operands, 1))
        return (reads, *parameter_reads(operands[1:], 3))

    def reference(self, *inputs: Array) -> Arrays:
        x, w, *scale = inputs
        window = (w.shape[1], w.shape[2])
        image = TensorType(DType.BIT, x.shape)
        sizes = window_sizes("binary_conv2d", image, window, self.stride, self.padding)
        top, left, bottom, right = self.padding.amounts
        amounts = ((0, 0), (top, bottom), (left, right), (0, 0))
        # Every sum is exact in float32: a window has far fewer than 2**24 elements.
        outside = np.float32(self.padding.values[0])
        signs = np.pad(_signs(x), amounts, constant_values=outside)
        total = np.zeros((x.shape[0], *sizes, w.shape[0]), np.float32)
        for i, j, pixels in window_taps(signs, window, self.stride, sizes):
            # A single product of two large matrices, since numpy is slow with many small ones.
            total += (pixels.reshape(-1, w.shape[3]) @ _signs(w[:, i, j]).T).reshape(total.shape)
        return (total * scale[0] if scale else total,)

    def own_error(self, operands: Arrays, result: Array) -> Array:
        scaled = len(operands) > 2  # without a scale the sums are exact integers
        return np.asarray(scaled * np.abs(result))

    def macs(self, inputs: Types, outputs: Types) -> int:
        return outputs[0].elements * prod(inputs[1].shape[1:])

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        case = partial(_case, rng)
        one = Padding.same(1)
        yield case(cls(), (1, 1, 1, 1), (1, 1, 1, 1), "one pixel")
        yield case(cls(padding=one), (1, 7, 6, 16), (24, 3, 3, 16), "few channels")
        yield case(cls(padding=one), (1, 6, 5, 64), (19, 3, 3, 64), "whole words")
        yield case(cls(padding=one), (1, 5, 5, 100), (8, 3, 3, 100), "partial words", scale=True)
        yield case(cls(padding=one), (1, 5, 5, 3), (5, 3, 3, 3), "odd channels")
        minus, plus = Padding.same(1, -1.0), Padding(1, 0, 2, 1, (1.0,))
        yield case(cls(padding=minus), (1, 5, 6, 32), (7, 3, 3, 32), "minus ones outside")
        yield case(cls((2, 1), plus), (1, 6, 5, 40), (6, 2, 3, 40), "ones outside", scale=True)
        yield case(cls((2, 2)), (1, 8, 9, 128), (12, 1, 1, 128), "1x1 stride 2")
        yield case(cls((3, 4), one), (1, 9, 11, 33), (4, 2, 2, 33), "stride beyond the window")
        yield case(cls(), (1, 4, 5, 65), (10, 4, 5, 65), "whole image", scale=True)
        yield case(cls(padding=one), (1, 5, 7, 64), (16, 3, 3, 64), "half registers", scale=True)
        yield case(cls(padding=Padding(1, 2, 1, 0)), (2, 4, 6, 128), (8, 3, 3, 128), "two images")
        yield case(cls((2, 1), plus), (1, 6, 5, 192), (8, 2, 3, 192), "rows of half registers")
        yield case(cls(padding=minus), (1, 2, 3, 512), (8, 3, 3, 512), "many counts", scale=True)


def _signs(bits: Array) -> Array:
    """A float32 array: +1 for every 1, -1 for every 0."""
    return np.where(bits, np.float32(1), np.float32(-1))


def _case(
    rng: np.random.Generator,
    op: BinaryConv2D,
    x: tuple[int, ...],
    w: tuple[int, ...],
    label: str,
    scale: bool = False,
) -> Case:
    arrays: list[Array] = [rng.random(x) < 0.5, rng.random(w) < 0.5]
    arrays += [normal(rng, w[0])] if scale else []
    constants = tuple(range(1, len(arrays)))
    return Case(op, tuple(arrays), constants, (DType.BIT, DType.BIT), label)


@register_op("bit_pool2d")
@dataclass(frozen=True, slots=True)
class BitPool2D(Op):
    """Whether any bit of a window is set, inverted where `flips` is: x [N,H,W,C], flips [C], bits.

    With x inverted as well, an inverted channel says whether all bits are set. The padding counts
    as 0, whatever its value. Extents are as in `MaxPool2D`.
    """

    window: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding = Padding()

    own_error = exact

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("bit_pool2d", inputs, 2)
        x, flips = inputs
        require(
            x.dtype is DType.BIT and flips.dtype is DType.BIT,
            f"bit_pool2d: needs bits, not {x.dtype.value} and {flips.dtype.value}",
        )
        sizes = window_sizes("bit_pool2d", x, self.window, self.stride, self.padding)
        want_shape("bit_pool2d", "inverted channels", flips, x.shape[3])
        return (TensorType(DType.BIT, (x.shape[0], *sizes, x.shape[3])),)

    def slides(self, operands: Types) -> Window:
        return Window(self.window, self.stride, self.padding)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return (self.slides(operands).reads(Along(3)), *parameter_reads(operands[1:], 3))

    def reference(self, *inputs: Array) -> Arrays:
        x, flips = inputs
        image = TensorType(DType.BIT, x.shape)
        sizes = window_sizes("bit_pool2d", image, self.window, self.stride, self.padding)
        top, left, bottom, right = self.padding.amounts
        padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
        any_set = np.zeros((x.shape[0], *sizes, x.shape[3]), np.bool_)
        for _, _, pixels in window_taps(padded, self.window, self.stride, sizes):
            any_set |= pixels
        return (any_set ^ flips,)

    def inner_steps(self, inputs: Types, outputs: Types) -> int:
        return outputs[0].elements * prod(self.window)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        def case(op: BitPool2D, x: tuple[int, ...], label: str) -> Case:
            arrays: tuple[Array, ...] = (rng.random(x) < 0.2, rng.random(x[3]) < 0.3)
            return Case(op, arrays, (1,), (DType.BIT, DType.BIT), label)

        one = Padding.same(1)
        yield case(cls((1, 1), (1, 1)), (1, 1, 1, 1), "one pixel")
        yield case(cls((2, 2), (2, 2)), (1, 6, 8, 64), "2x2")
        yield case(cls((3, 3), (2, 2), one), (1, 7, 9, 100), "3x3 padded, partial words")
        yield case(cls((3, 2), (1, 1), Padding(1, 0, 2, 1)), (2, 5, 6, 33), "uneven padding")
        yield case(cls((2, 3), (3, 5)), (1, 9, 13, 256), "stride beyond the window")
