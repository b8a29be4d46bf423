"""The mean of stored integers over windows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from ellc.ir.op import Arrays, Case, Op, Types, exact, register_op, require
from ellc.ir.ops.common import pad_image, padded_elements, want_operands, window_sizes, window_taps
from ellc.ir.ops.quantised import BYTES, want_range, want_type
from ellc.ir.reads import Along, Reads, Window
from ellc.ir.types import Array, DType, Padding, TensorType, type_of


@register_op("int_avg_pool2d")
@dataclass(frozen=True, slots=True)
class IntAvgPool2D(Op):
    """The mean over a window: x [N,H,W,C] i8|u8|i16 -> [N,OH,OW,C]; OH and OW as in `MaxPool2D`.

    Only elements inside the image count, and every window must contain at least one; `padding` has
    no values. The mean is rounded to the nearest integer, halves away from zero, and clamped to
    `low`..`high`. Operand and result have the same scale and zero point.
    """

    takes_stages: ClassVar[bool] = True

    window: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding
    low: int
    high: int

    own_error = exact

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("int_avg_pool2d", inputs, 1)
        (x,) = inputs
        want_type("int_avg_pool2d", "x", x, *BYTES, DType.I16)
        sizes = window_sizes("int_avg_pool2d", x, self.window, self.stride, self.padding)
        require(self.padding.values == (0.0,), "int_avg_pool2d: padding values are not supported")
        inside = all(a < w for a, w in zip(self.padding.amounts, self.window * 2, strict=True))
        described = f"window {self.window} with padding {self.padding.amounts}"
        require(inside, f"int_avg_pool2d: {described} can be entirely outside the image")
        want_range("int_avg_pool2d", self.low, self.high, x.dtype)
        return (x.with_shape(x.shape[0], *sizes, x.shape[3]),)

    def slides(self, operands: Types) -> Window:
        return Window(self.window, self.stride, self.padding)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return (self.slides(operands).reads(Along(3)),)

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        total = self._sums(x.astype(np.int32))
        cells = self._sums(np.ones((1, *x.shape[1:3], 1), np.int32))
        mean = np.sign(total) * ((np.abs(total) + cells // 2) // cells)
        return (np.clip(mean, self.low, self.high).astype(x.dtype),)

    def _sums(self, x: Array) -> Array:
        sizes = window_sizes("int_avg_pool2d", type_of(x), self.window, self.stride, self.padding)
        total = np.zeros((x.shape[0], *sizes, x.shape[3]), np.int32)
        padded = pad_image(x, self.padding)
        for _, _, pixels in window_taps(padded, self.window, self.stride, sizes):
            total += pixels
        return total

    def inner_steps(self, inputs: Types, outputs: Types) -> int:
        taps = outputs[0].elements * math.prod(self.window)
        return taps + padded_elements(inputs[0], self.padding)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        case, none = partial(_case, rng), Padding()
        signed, unsigned, one = (-128, 127), (0, 255), Padding.same(1)
        yield case("one pixel", cls((1, 1), (1, 1), none, *signed), 1, 1, 1, 1)
        yield case("2x2", cls((2, 2), (2, 2), none, *signed), 1, 8, 6, 16)
        yield case("whole image", cls((7, 5), (1, 1), none, *unsigned), 1, 7, 5, 37, dtype=DType.U8)
        yield case("padded", cls((3, 3), (2, 2), one, *signed), 1, 7, 9, 5)
        late = Padding(0, 0, 1, 1)
        yield case(
            "late padding", cls((3, 3), (2, 2), late, *unsigned), 1, 8, 8, 12, dtype=DType.U8
        )
        yield case("beyond the window", cls((2, 3), (3, 5), none, *signed), 1, 9, 13, 1)
        uneven = cls((4, 2), (1, 3), Padding(2, 0, 1, 1), -20, 33)
        yield case("uneven, with bounds", uneven, 1, 5, 7, 4)
        yield case("large window", cls((13, 11), (2, 1), one, *signed), 1, 16, 14, 20)
        wide = cls((3, 2), (2, 1), one, -(2**15), 2**15 - 1)
        yield case("16 bits", wide, 1, 7, 6, 9, dtype=DType.I16)
        halves = np.arange(-128, 128).astype(np.int8)
        pairs = np.stack([halves, np.roll(halves, 1)]).reshape(1, 1, 2, 256)
        yield Case(cls((1, 2), (1, 1), none, *signed), (pairs,), label="halves")


def _case(
    rng: np.random.Generator, label: str, op: IntAvgPool2D, *shape: int, dtype: DType = DType.I8
) -> Case:
    info = np.iinfo(dtype.numpy)
    x = rng.integers(info.min, info.max, shape, dtype.numpy, endpoint=True)
    return Case(op, (x,), label=label)
