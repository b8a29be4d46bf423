"""What a product kernel multiplies and adds: element types, weights, and start values of sums.

Floats are multiplied as they are. Bytes are widened first. The zero point `a` of the image and `b`
of the weights are moved out of the loops:

    sum of (x - a)(w - b) = sum of x * (w - b) - a * sum of (w - b)

So an integer convolution computes with the stored values x and the weights `w - b`; the second sum
is constant and becomes part of the bias, and taps outside the image read the stored value `a`.
Everything is modulo 2^32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target
from ellc.ir.types import Array, Padding

_MOST_PRODUCTS = 4
"""The most products of bytes that are summed in 16 bits, if the weights are small enough. Two
already give the whole gain; million modelled cycles on pi3_64 by `tests/benchmarks/constants.py`
for 3x3, 64 channels, 28x28: 1: 9.39, 2: 7.79, 4: 7.79, 8: 7.80."""
_LARGEST_SUM = 32767 // 128  # of the magnitudes of weights whose products are summed in 16 bits


@dataclass(frozen=True, slots=True)
class Numbers:
    """The arithmetic of a product kernel: element types of image, weights, factors and sums.

    `image` and `weight` are the stored types, `factor` is that in which both are multiplied.
    `weight_zero` is subtracted from stored weights before they are multiplied. With `flipped` the
    image's bytes are unsigned and 128 is subtracted from them. `products_at_once` products of bytes
    are summed in 16 bits before they are added to a sum of 32.
    """

    image: Elem
    weight: Elem
    factor: Elem
    total: Elem
    flipped: bool = False
    products_at_once: int = 1
    weight_zero: int = 0

    @staticmethod
    def floats(elem: Elem) -> Numbers:
        """The arithmetic of floats: one element type for everything."""
        return Numbers(elem, elem, elem, elem)

    @staticmethod
    def integers(image: Elem, weight: Elem, target: Target) -> Numbers:
        """Operands of 8 or 16 bits, sums of 32; NEON multiplies factors of 16 bits into these."""
        return Numbers(image, weight, Elem.I16 if target.has("neon") else Elem.I32, Elem.I32)

    @property
    def stored_at_once(self) -> int:
        """Pixels whose epilogues are interleaved: two for integers, whose epilogues are long."""
        return 1 if self.total.is_float else 2

    @property
    def sums_products(self) -> bool:
        """Whether several products are summed in 16 bits before they are added to a sum."""
        return self.products_at_once > 1

    def image_factor(self, b: KernelBuilder, value: Operand) -> Operand:
        """A stored value of the image, converted to the type in which it is multiplied."""
        if self.flipped:
            return b.bitcast(b.op("xor", value, b.const(128, value)), Elem.I8)
        return self.widened(b, value)

    def weight_factor(self, b: KernelBuilder, value: Operand) -> Operand:
        """Stored weights, widened and minus their zero point; one instruction does both on NEON."""
        wide = self.widened(b, value)
        return b.sub(wide, b.const(self.weight_zero, wide)) if self.weight_zero else wide

    def widened(self, b: KernelBuilder, value: Operand) -> Operand:
        """A stored value, converted to the type in which it is multiplied."""
        return b.convert(value, self.factor)

    def widening_slots(self, target: Target) -> float:
        """The number of instructions that convert a vector of stored weights to factors."""
        if self.weight is self.factor:
            return 0.0
        return 2.0 if self.weight_zero and not target.has("neon") else 1.0

    def multiply_add(
        self, b: KernelBuilder, weight: Operand, value: Operand, total: Operand | None
    ) -> Operand:
        """A sum with one more product; the product alone if there is no sum yet."""
        if self.factor in (Elem.I8, Elem.I16):
            if total is None:
                return b.op("wide_mul", weight, value)
            return b.op("wide_mul_add", weight, value, total)
        return b.mul(weight, value) if total is None else b.mul_add(weight, value, total)


@dataclass(frozen=True, slots=True)
class ZeroPoints:
    """The stored integers that mean 0: `left` in the image or left matrix, `right` in the weights.

    `right` has one number, or one for each filter or column of the right matrix.
    """

    left: int = 0
    right: tuple[int, ...] = (0,)


NO_ZEROS = ZeroPoints()


@dataclass(frozen=True, eq=False)
class Terms:
    """A convolution's weights [F,kh,kw,C/groups] as they are multiplied, its bias and padding.

    `exact` is the bias in the type in which start values are computed. `key` distinguishes these
    weights from the stored ones.
    """

    numbers: Numbers
    weights: Array
    exact: Array | None
    padding: Padding
    key: str = ""

    @property
    def stored(self) -> Array:
        """The weights as they are stored."""
        kind, zero = self.numbers.weight.numpy, self.numbers.weight_zero
        return self.weights if self.weights.dtype == kind else (self.weights + zero).astype(kind)

    def starts_at_zero(self, *, edges: bool) -> bool:
        """Whether every sum starts from 0; `edges`: some windows reach beyond the image."""
        return self.exact is None and not self.depends_on_taps(edges=edges)

    def depends_on_taps(self, *, edges: bool) -> bool:
        """Whether the start value of a sum depends on the taps that its output reads."""
        return edges and self._padding_adds

    @cached_property
    def _padding_adds(self) -> bool:
        """Whether a tap outside the image adds anything; 0 times an infinite weight adds NaN."""
        return not self.padding.is_zero or not bool(np.isfinite(self.weights).all())

    def start(self, groups: int, taps: Sequence[tuple[int, int]] | None) -> Array:
        """The start value of each filter's sum; `taps`: the window rows and columns that are read.

        A tap that is not read adds the constant `padding value * weight`. None means all taps.
        """
        filters, depth = self.weights.shape[0], self.weights.shape[3]
        kind = np.dtype(np.float64 if self.numbers.total.is_float else np.int64)
        total = np.zeros(filters, kind) if self.exact is None else self.exact
        if taps is not None and self._padding_adds:
            (top, bottom), (left, right) = taps
            outside = np.ones(self.weights.shape[1:3], bool)
            outside[top:bottom, left:right] = False
            outer = np.resize(np.array(self.padding.values).astype(kind), groups * depth)
            share = outer.reshape(groups, depth)[np.arange(filters) // (filters // groups)]
            missed = self.weights[:, outside].astype(kind)
            with np.errstate(invalid="ignore"):
                total = total + (missed * share[:, None, :]).sum(axis=(1, 2))
        return total.astype(self.numbers.total.numpy)


def in_bytes(terms: Terms, target: Target) -> Terms:
    """The terms with bytes as factors, if NEON can sum two or more of their products in 16 bits.

    A product of a weight and a signed byte is at most 128 times the weight in magnitude, so the
    largest weights of a filter decide how many products are sure to fit.
    """
    weights, numbers = terms.weights, terms.numbers
    if numbers.weight is not Elem.I8 or numbers.image.bytes > 1 or not target.has("neon"):
        return terms
    sizes = np.abs(weights.reshape(weights.shape[0], -1).astype(np.int16))
    most = min(_MOST_PRODUCTS, sizes.shape[1])
    largest = np.sort(np.partition(sizes, -most, axis=1)[:, -most:], axis=1)[:, ::-1]
    products_at_once = int((np.cumsum(largest, axis=1) <= _LARGEST_SUM).all(axis=0).sum())
    if products_at_once < 2:
        return terms
    flipped = numbers.image is Elem.U8
    narrow = replace(numbers, factor=Elem.I8, flipped=flipped, products_at_once=products_at_once)
    if not flipped:
        return replace(terms, numbers=narrow)
    share = 128 * weights.sum(axis=(1, 2, 3), dtype=np.int64)
    exact = share if terms.exact is None else terms.exact + share
    (zero,) = terms.padding.values
    return replace(
        terms, numbers=narrow, exact=exact, padding=replace(terms.padding, values=(zero - 128,))
    )


def in_fewest_bytes(terms: Terms) -> Terms:
    """The terms with weights stored as bytes if the largest minus the smallest fits in one.

    Unsigned bytes minus their zero point may need 9 bits. If they are stored as bytes, kernels
    widen them and subtract the zero point. That takes one more instruction for each vector of
    weights, but half of the memory. Kernels that have few weights and read them for every tile
    (`depthwise`) would get slower.
    """
    weights, numbers = terms.weights, terms.numbers
    if numbers.weight is not Elem.I16 or not weights.size:
        return terms
    least, most = int(weights.min()), int(weights.max())
    if most - least > np.iinfo(np.uint8).max:
        return terms
    bytewise = replace(numbers, weight=Elem.U8, weight_zero=-least)
    return replace(terms, numbers=bytewise, key=f"{terms.key}above {least}:")


def float_terms(image: Elem, weights: Array, bias: Array | None, padding: Padding) -> Terms:
    """The terms of a convolution of floats; weights [F,kh,kw,C/groups]."""
    exact = None if bias is None else bias.astype(np.float64)
    return Terms(Numbers.floats(image), weights, exact, padding)


def integer_terms(
    image: Elem,
    stored: Array,
    bias: Array | None,
    padding: Padding,
    zeros: ZeroPoints,
    target: Target,
) -> Terms:
    """The terms of a convolution of bytes.

    The weights minus their zero points are bytes if all of them fit, else 16-bit integers.
    """
    weights = stored.astype(np.int16) - np.reshape(zeros.right, (-1, 1, 1, 1)).astype(np.int16)
    is_byte = weights.min() >= -128 and weights.max() <= 127
    weights = weights.astype(np.int8) if is_byte else weights
    numbers = Numbers.integers(image, Elem.I8 if is_byte else Elem.I16, target)
    exact = None if bias is None else bias.astype(np.int64)
    if zeros.left:
        share = zeros.left * weights.sum(axis=(1, 2, 3), dtype=np.int64)
        exact = -share if exact is None else exact - share
    padding = replace(padding, values=(float(zeros.left),))
    return Terms(numbers, weights, exact, padding, f"minus {zeros.right}:{is_byte}:")
