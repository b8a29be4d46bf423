"""Pooling over windows of an image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ellc.ir.op import Arrays, Case, Op, Types, exact, register_op, sizes
from ellc.ir.ops.common import (
    normal,
    pad_image,
    padded_elements,
    want_floats,
    want_operands,
    window_sizes,
    window_taps,
)
from ellc.ir.ops.elementwise import SPECIAL, want_kind
from ellc.ir.reads import Along, Reads, Window
from ellc.ir.types import Array, Padding, TensorType, type_of

# The default padding of a maximum: no element is smaller.
LOWEST = Padding(values=(-math.inf,))
_LOWEST_FINITE = float(np.finfo(np.float32).min)


@register_op("max_pool2d")
@dataclass(frozen=True, slots=True)
class MaxPool2D(Op):
    """The maximum over a window: x [N,H,W,C], float or integer -> [N,OH,OW,C] of the same type.

    OH = floor((H + top + bottom - dilation*(rows-1) - 1) / stride) + 1. Padding values count like
    pixels (rounded and saturated for integers). NaN in a window gives NaN.
    """

    takes_stages: ClassVar[bool] = True
    reads_bordered: ClassVar[bool] = True
    writes_bordered: ClassVar[bool] = True

    window: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding = LOWEST
    dilation: tuple[int, int] = (1, 1)

    own_error = exact

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("max_pool2d", inputs, 1)
        (x,) = inputs
        want_kind("max_pool2d", x.dtype, "fi")
        sizes = self._sizes(x)
        return (x.with_shape(x.shape[0], *sizes, x.shape[3]),)

    def wanted_border(self) -> Padding:
        return self.padding

    def with_border(self, border: Padding) -> MaxPool2D | None:
        if self._only_hangs_over(border):
            return replace(self, padding=Padding.of(self.padding.widened(border), border.values))
        padding = self.padding.around(border)
        return None if padding is None else replace(self, padding=padding)

    def _only_hangs_over(self, border: Padding) -> bool:
        """Whether replacing the padding's values by the border's would change no result.

        That is the case if no padding value is larger than a border value, and every window that
        reaches the padding also contains an element of the border. The second condition holds if
        every side with padding has a border, too, and padding that is narrower than the window, and
        if the window is not dilated.
        """
        own = self.padding
        if own.is_empty or self.dilation != (1, 1) or max(own.values) > min(border.values):
            return False
        sides = zip(own.amounts, border.amounts, self.window * 2, strict=True)
        return all(a == 0 or (b > 0 and a < w) for a, b, w in sides)

    def changes_nothing(self, operands: Types, results: Types) -> bool:
        return self.window == self.stride == (1, 1) and self.padding.is_empty

    @property
    def takes_largest(self) -> bool:
        return self.padding.is_empty or max(self.padding.values) <= _LOWEST_FINITE

    def slides(self, operands: Types) -> Window:
        return Window(self.window, self.stride, self.padding, self.dilation)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return (self.slides(operands).reads(Along(3)),)

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        padded, sizes = pad_image(x, self.padding), self._sizes(type_of(x))
        taps = window_taps(padded, self.window, self.stride, sizes, self.dilation)
        _, _, best = next(taps)
        for _, _, pixels in taps:
            best = np.maximum(best, pixels)
        return (best.copy(),)

    def carried_error(self, operands: Arrays, errors: Arrays) -> Array:
        return replace(self, padding=self.padding.of_errors()).reference(*errors)[0]

    def _sizes(self, x: TensorType) -> tuple[int, int]:
        return window_sizes("max_pool2d", x, self.window, self.stride, self.padding, self.dilation)

    def inner_steps(self, inputs: Types, outputs: Types) -> int:
        taps = outputs[0].elements * math.prod(self.window)
        return taps + padded_elements(inputs[0], self.padding)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        low = LOWEST.values
        one = Padding(1, 1, 1, 1, low)

        def case(op: MaxPool2D, *shape: int, label: str) -> Case:
            return Case(op, (normal(rng, *shape) - 1,), label=label)

        yield case(cls((1, 1), (1, 1)), 1, 1, 1, 1, label="one pixel")
        yield case(cls((2, 2), (2, 2)), 1, 8, 6, 16, label="2x2")
        yield case(cls((3, 3), (2, 2), one), 1, 7, 9, 5, label="3x3 padded")
        yield case(cls((3, 3), (2, 2), Padding(0, 0, 1, 1, low)), 1, 8, 8, 19, label="late padding")
        yield case(cls((3, 3), (1, 1), one), 1, 5, 5, 33, label="stride 1")
        yield case(cls((2, 3), (3, 5)), 1, 9, 13, 1, label="stride beyond the window")
        yield case(cls((5, 4), (1, 1)), 1, 5, 4, 12, label="whole image")
        zero, each = Padding(1, 0, 2, 1), Padding(1, 1, 1, 1, (-1.5, 0.0, -9.0))
        yield case(cls((3, 2), (2, 1), zero), 1, 6, 5, 8, label="zeros outside")
        yield case(cls((3, 3), (2, 2), each), 1, 6, 7, 3, label="padding per channel")
        bytes_ = rng.integers(-128, 128, (1, 7, 7, 11), np.int8)
        yield Case(cls((3, 3), (2, 2), one), (bytes_,), label="int8")
        dilated = cls((3, 2), (2, 1), one, (2, 3))
        yield case(dilated, 1, 9, 8, 5, label="dilation")
        yield case(cls((3, 3), (1, 1), dilation=(3, 1)), 1, 8, 8, 4, label="dilation of rows")
        special = np.resize(SPECIAL, (1, 5, 5, SPECIAL.size - 1))  # infinities in every channel
        yield Case(cls((2, 2), (2, 2)), (special,), label="special values")


@register_op("avg_pool2d")
@dataclass(frozen=True, slots=True)
class AvgPool2D(Op):
    """The mean over a window: x [N,H,W,C], float -> [N,OH,OW,C]; OH and OW are as in `MaxPool2D`.

    With `include_padding`, padding values are part of the mean, and the divisor is the window's
    area. Without it, only elements inside the image count; a window without such elements gives
    NaN. The mean of a whole image is a pool with a window of the image's size.
    """

    takes_stages: ClassVar[bool] = True
    reads_bordered: ClassVar[bool] = True
    writes_bordered: ClassVar[bool] = True

    window: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding = Padding()
    include_padding: bool = True
    dilation: tuple[int, int] = (1, 1)

    def infer(self, *inputs: TensorType) -> Types:
        want_operands("avg_pool2d", inputs, 1)
        (x,) = inputs
        dtype = want_floats("avg_pool2d", x)
        sizes = self._sizes(x, self.padding)
        return (TensorType(dtype, (x.shape[0], *sizes, x.shape[3])),)

    def wanted_border(self) -> Padding | None:
        return self.padding if self.include_padding else None

    def with_border(self, border: Padding) -> AvgPool2D | None:
        """The pool with the border as further padding; it counts, since pixels of the border count.

        None if the pool has padding that it does not count, or padding with other values.
        """
        padding = self.padding.around(border)
        if padding is None or not (self.include_padding or self.padding.is_empty):
            return None
        return replace(self, padding=padding, include_padding=True)

    def changes_nothing(self, operands: Types, results: Types) -> bool:
        return self.window == self.stride == (1, 1) and self.padding.is_empty

    def slides(self, operands: Types) -> Window:
        return Window(self.window, self.stride, self.padding, self.dilation)

    def reads(self, operands: Types, results: Types, index: int = 0) -> tuple[Reads, ...]:
        return (self.slides(operands).reads(Along(3)),)

    def reference(self, *inputs: Array) -> Arrays:
        (x,) = inputs
        if self.include_padding:
            area = self.window[0] * self.window[1]
            return (self._sums(x, self.padding) / x.dtype.type(area),)
        zeros = Padding(*self.padding.amounts)
        cells = self._sums(np.ones((1, *x.shape[1:3], 1), x.dtype), zeros)
        return (self._sums(x, zeros) / cells,)

    def own_error(self, operands: Arrays, result: Array) -> Array:
        (terms,) = replace(self, padding=self.padding.of_sizes()).reference(*sizes(operands))
        return np.asarray((math.prod(self.window) + 1) * terms)

    def carried_error(self, operands: Arrays, errors: Arrays) -> Array:
        return replace(self, padding=self.padding.of_errors()).reference(*errors)[0]

    def _sums(self, x: Array, padding: Padding) -> Array:
        sizes = self._sizes(type_of(x), padding)
        total = np.zeros((x.shape[0], *sizes, x.shape[3]), x.dtype)
        padded = pad_image(x, padding)
        for _, _, pixels in window_taps(padded, self.window, self.stride, sizes, self.dilation):
            total += pixels
        return total

    def _sizes(self, x: TensorType, padding: Padding) -> tuple[int, int]:
        return window_sizes("avg_pool2d", x, self.window, self.stride, padding, self.dilation)

    def inner_steps(self, inputs: Types, outputs: Types) -> int:
        taps = outputs[0].elements * math.prod(self.window)
        return taps + padded_elements(inputs[0], self.padding)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Case]:
        one = Padding.same(1)

        def case(op: AvgPool2D, *shape: int, label: str) -> Case:
            return Case(op, (normal(rng, *shape),), label=label)

        yield case(cls((1, 1), (1, 1)), 1, 1, 1, 1, label="one pixel")
        yield case(cls((2, 2), (2, 2)), 1, 8, 6, 16, label="2x2")
        yield case(cls((7, 5), (1, 1)), 1, 7, 5, 37, label="whole image")
        yield case(cls((3, 3), (2, 2), one), 1, 7, 9, 5, label="counting the padding")
        yield case(cls((3, 3), (2, 2), one, False), 1, 7, 9, 5, label="not counting the padding")
        late = Padding(0, 0, 1, 1)
        yield case(cls((3, 3), (2, 2), late, False), 1, 8, 8, 12, label="late padding")
        yield case(cls((2, 3), (3, 5)), 1, 9, 13, 1, label="stride beyond the window")
        dilated = cls((3, 2), (2, 1), Padding.same(1), False, (2, 3))
        yield case(dilated, 1, 9, 8, 5, label="dilation")
        valued = Padding(1, 1, 1, 1, (2.0, -1.0, 0.5))
        yield case(cls((3, 3), (1, 1), valued), 1, 5, 6, 3, label="padding per channel")
        yield case(cls((4, 2), (1, 3), Padding(2, 0, 1, 1), False), 1, 5, 7, 4, label="uneven")
        ignored = Padding(1, 1, 1, 1, (7.0,))
        yield case(cls((3, 3), (2, 2), ignored, False), 1, 6, 5, 9, label="a value not counted")
