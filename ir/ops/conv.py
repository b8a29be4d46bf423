"""Convolution of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import ClassVar

import numpy as np

from ellc.ir.op import Arrays, Case, Op, Types, carried_by_products, register_op, require, sizes
from ellc.ir.ops.common import (
    channel_reads,
    normal,
    pad_image,
    padded_elements,
    parameter_reads,
    taps,
    want_floats,
    want_operands,
    want_shape,
    weights,
    window_sizes,
    window_taps,
)
from ellc.ir.reads import Reads, Window
from ellc.ir.types import Array, Padding, TensorType, type_of


@register_op("conv2d")
@dataclass(frozen=True, slots=True)
class Conv2D(Op):
    """Cross-correlation: (x [N,H,W,C], w [F,kh,kw,C/groups][, bias [F]]) -> [N,OH,OW,F], float.

    y[n,r,c,f] = bias[f] + sum of x[n, r*stride+i*dilation, c*stride+j*dilation, ch] * w[f,i,j,ch]
    over i, j and ch, where x is padded, and filter f reads only the channels of group
    f // (F/groups). A depthwise convolution has `groups == C`. OH = floor((H + top + bottom -
    dilation*(kh-1) - 1) / stride) + 1. A padding value of 0 times an infinite weight gives NaN.
    """

    takes_stages: ClassVar[bool] = True
    reads_bordered: ClassVar[bool] = True
    writes_bordered: ClassVar[bool] = True

    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("conv2d", inputs, 2, 3)
        dtype = want_floats("conv2d", *inputs)
        x, w, *bias = inputs
        require(w.rank == 4, f"conv2d: weights of rank {w.rank}, expected [F,kh,kw,C/groups]")
        filters, rows, columns, depth = w.shape
        sizes = window_sizes("conv2d", x, (rows, columns), self.stride, self.padding, self.dilation)
        require(
            self.groups >= 1 and depth * self.groups == x.shape[3],
            f"conv2d: {x.shape[3]} channels, weights for {self.groups} groups of {depth}",
        )
        good = filters % self.groups == 0
        require(good, f"conv2d: {self.groups} groups do not divide {filters} filters")
        if bias:
            want_shape("conv2d", "bias", bias[0], filters)
        return (TensorType(dtype, (x.shape[0], *sizes, filters)),)

    def wanted_border(self) -> Padding:
        return self.padding

    def with_border(self, border: Padding) -> Conv2D | None:
        padding = self.padding.around(border)
        return None if padding is None else replace(self, padding=padding)

    def slides(self, operands: Types) -> Window:
        return Window(taps(operands[1]), self.stride, self.padding, self.dilation)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        reads = self.slides(operands).reads(channel_reads(operands, self.groups))
        return (reads, *parameter_reads(operands[1:], 3))

    def reference(self, *inputs: Array) -> Arrays:
        x, w, *bias = inputs
        window = (w.shape[1], w.shape[2])
        sizes = window_sizes("conv2d", type_of(x), window, self.stride, self.padding, self.dilation)
        total = np.zeros((x.shape[0], *sizes, w.shape[0]), x.dtype)
        padded = pad_image(x, self.padding)
        for i, j, pixels in window_taps(padded, window, self.stride, sizes, self.dilation):
            total += _tap(pixels, w[:, i, j], self.groups)
        return (total + bias[0] if bias else total,)

    def own_error(self, operands: Arrays, result: Array) -> Array:
        (terms,) = replace(self, padding=self.padding.of_sizes()).reference(*sizes(operands))
        return np.asarray((prod(operands[1].shape[1:]) + 1) * terms)

    def carried_error(self, operands: Arrays, errors: Arrays) -> Array:
        bare = replace(self, padding=self.padding.of_errors())
        padded = replace(self, padding=self.padding.of_sizes())
        return carried_by_products(bare, padded, operands, errors)

    def macs(self, inputs: Types, outputs: Types) -> int:
        return outputs[0].elements * prod(inputs[1].shape[1:])

    def inner_steps(self, inputs: Types, outputs: Types) -> int:
        return self.macs(inputs, outputs) + padded_elements(inputs[0], self.padding)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        case = partial(_case, rng)
        same = Padding.same(1)
        odd_padding = Padding(0, 2, 1, 1, (0.5, -2.0, 0.0))
        late = Padding(0, 0, 1, 1)  # TensorFlow's SAME for an even extent and stride 2
        yield case(cls(), (1, 1, 1, 1), (1, 1, 1, 1), "one pixel")
        yield case(cls(padding=same), (1, 5, 7, 3), (5, 3, 3, 3), "odd sizes", bias=True)
        yield case(cls(padding=same), (1, 14, 13, 16), (24, 3, 3, 16), "3x3")
        yield case(cls(), (1, 7, 9, 33), (65, 1, 1, 33), "1x1", bias=True)
        yield case(cls((2, 2), Padding.same(3)), (1, 17, 17, 3), (8, 7, 7, 3), "7x7 stride 2")
        yield case(cls((3, 4)), (1, 10, 11, 5), (6, 2, 2, 5), "stride beyond the window")
        yield case(cls((1, 2), odd_padding), (1, 6, 5, 3), (4, 2, 3, 3), "padding per channel")
        yield case(cls(padding=Padding.same(4, 1.5)), (1, 3, 2, 2), (3, 3, 2, 2), "wide padding")
        yield case(cls((2, 1), same, (2, 3)), (1, 9, 12, 4), (7, 3, 3, 4), "dilation")
        yield case(cls(padding=same, groups=3), (1, 6, 6, 6), (9, 3, 3, 2), "groups", bias=True)
        yield case(cls(), (1, 4, 6, 10), (10, 4, 6, 10), "whole image")
        yield case(cls(padding=same), (2, 5, 5, 1), (3, 3, 3, 1), "batch of 2")
        depthwise = cls(padding=same, groups=19)
        yield case(depthwise, (1, 6, 7, 19), (19, 3, 3, 1), "depthwise", bias=True)
        depthwise = cls((2, 2), late, groups=32)
        yield case(depthwise, (1, 8, 8, 32), (32, 3, 3, 1), "depthwise stride 2")
        multiplied = cls(padding=Padding.same(2, -1.0), groups=4)
        yield case(multiplied, (1, 5, 3, 4), (8, 5, 5, 1), "depthwise, two filters a channel")
        computed = (normal(rng, 1, 6, 5, 4), weights(rng, 6, 3, 2, 4), normal(rng, 6))
        yield Case(cls((2, 1), Padding.same(1, 0.5)), computed, label="computed weights")
        grouped = (computed[0], weights(rng, 6, 3, 2, 2))
        yield Case(cls(groups=2), grouped, label="computed weights of groups")


def _tap(pixels: Array, w: Array, groups: int) -> Array:
    """The products of one tap: pixels [N,OH,OW,C], weights [F,C/groups] -> [N,OH,OW,F]."""
    if groups == 1:
        product: Array = pixels @ w.T
        return product
    grouped = pixels.reshape(*pixels.shape[:3], groups, w.shape[1])
    stacked = w.reshape(groups, w.shape[0] // groups, w.shape[1])
    parts: Array = np.einsum("nrcgd,gfd->nrcgf", grouped, stacked)
    return parts.reshape(*pixels.shape[:3], w.shape[0])


def _case(
    rng: np.random.Generator,
    op: Conv2D,
    x: tuple[int, ...],
    w: tuple[int, ...],
    label: str,
    bias: bool = False,
) -> Case:
    arrays = [normal(rng, *x), weights(rng, *w)]
    arrays += [normal(rng, w[0])] if bias else []
    return Case(op, tuple(arrays), tuple(range(1, len(arrays))), label=label)
