"""What a kernel of products multiplies and adds: element types, weights, start values of sums.

Floats are multiplied directly. Integers are widened first, unless NEON can multiply them as bytes
(`in_bytes`). The zero point `a` of the image is moved out of the loops:

    sum of (x - a)(w - b) = sum of x * (w - b) - a * sum of (w - b)

An integer convolution multiplies the stored values x by `w - b`, where `b` is the zero point of the
weights. The second sum is constant and becomes part of the bias. Taps outside the image read the
stored value `a`. All integer arithmetic is modulo 2^32.
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
"""The most products of bytes that are summed in 16 bits, if the weights are small enough. More than
two products give no further gain. Millions of modelled cycles on pi3_64 by
`tests/benchmarks/constants.py` for 3x3, 64 channels, 28x28: 1: 9.39, 2: 7.79, 4: 7.79, 8: 7.80."""
# Products are summed in 16 bits only if the magnitudes of their weights add up to at most this.
_LARGEST_SUM = 32767 // 128


@dataclass(frozen=True, slots=True)
class ProductTypes:
    """The element types in which a kernel reads, multiplies and sums, and how it converts values.

    `image` and `weight` are the stored types. Both are converted to `factor` before they are
    multiplied; `weight_zero` is subtracted from weights. With `flipped` the bytes of the image are
    unsigned, and 128 is subtracted from them. Sums have the type `total`; `products_at_once`
    products of bytes are first summed in 16 bits. With `short`, factors of 32 bits hold signed
    numbers of 16 bits, so that an instruction for pairs can multiply them.
    """

    image: Elem
    weight: Elem
    factor: Elem
    total: Elem
    flipped: bool = False
    products_at_once: int = 1
    weight_zero: int = 0
    short: bool = False

    @staticmethod
    def floats(elem: Elem) -> ProductTypes:
        """The types for floats: the same element type for everything."""
        return ProductTypes(elem, elem, elem, elem)

    @staticmethod
    def integers(image: Elem, weight: Elem, target: Target) -> ProductTypes:
        """The types for operands of 8 or 16 bits and sums of 32 bits.

        NEON multiplies factors of 16 bits and adds the products to sums of 32 bits. AVX-512 with
        VNNI does the same in one instruction, but needs two for factors of 32 bits. Other x86-64
        cores need two in either case, and gain nothing (measured). For unsigned bytes of the image,
        LLVM finds the instruction without help.
        """
        factor = Elem.I16 if target.has("neon") else Elem.I32
        short = target.has("avx512_vnni") and image.is_signed and weight is not Elem.U16
        return ProductTypes(image, weight, factor, Elem.I32, short=short)

    @property
    def stored_at_once(self) -> int:
        """How many pixels' epilogues are interleaved: two for integers, whose stages are long."""
        return 1 if self.total.is_float else 2

    @property
    def sums_products(self) -> bool:
        """Whether several products are summed in 16 bits before they are added to a total."""
        return self.products_at_once > 1

    def image_factor(self, b: KernelBuilder, value: Operand) -> Operand:
        """A stored value of the image, converted to a factor."""
        if self.flipped:
            return b.bitcast(b.op("xor", value, b.const(128, value)), Elem.I8)
        return self.widened(b, value)

    def weight_factor(self, b: KernelBuilder, value: Operand) -> Operand:
        """Stored weights, widened, minus their zero point. NEON does both in one instruction."""
        widened = self.widened(b, value)
        return b.sub(widened, b.const(self.weight_zero, widened)) if self.weight_zero else widened

    def widened(self, b: KernelBuilder, value: Operand) -> Operand:
        """A stored value, converted to the type of factors."""
        return b.convert(value, self.factor)

    def widening_slots(self, target: Target) -> float:
        """The number of instructions that convert a vector of stored weights to factors."""
        if self.weight is self.factor:
            return 0.0
        return 2.0 if self.weight_zero and not target.has("neon") else 1.0

    def multiply_add(
        self, b: KernelBuilder, weight: Operand, value: Operand, total: Operand | None
    ) -> Operand:
        """`total + weight * value`, or the product alone if there is no total yet."""
        if self.factor in (Elem.I8, Elem.I16):
            if total is None:
                return b.op("wide_mul", weight, value)
            return b.op("wide_mul_add", weight, value, total)
        if self.short:
            product = b.op("mul_short", weight, value)
            return product if total is None else b.add(total, product)
        return b.mul(weight, value) if total is None else b.mul_add(weight, value, total)


@dataclass(frozen=True, slots=True)
class ZeroPoints:
    """The stored integers that stand for 0.

    `left` is the zero point of the image or left matrix. `right` has the zero points of the weights
    or right matrix: one for all, or one for each filter or column.
    """

    left: int = 0
    right: tuple[int, ...] = (0,)


NO_ZEROS = ZeroPoints()


@dataclass(frozen=True, eq=False)
class Terms:
    """A convolution's weights [F,kh,kw,C/groups] minus their zero points, its bias and padding.

    `exact` is the bias in the type in which start values are computed. `key` distinguishes these
    weights from the weights of the graph.
    """

    types: ProductTypes
    weights: Array
    exact: Array | None
    padding: Padding
    key: str = ""

    @property
    def stored(self) -> Array:
        """The weights in the form in which they are stored."""
        kind, zero = self.types.weight.numpy, self.types.weight_zero
        return self.weights if self.weights.dtype == kind else (self.weights + zero).astype(kind)

    def starts_at_zero(self, *, edges: bool) -> bool:
        """Whether every sum starts from 0. `edges`: whether some windows reach beyond the image."""
        return self.exact is None and not self.depends_on_taps(edges=edges)

    def depends_on_taps(self, *, edges: bool) -> bool:
        """Whether the start value of a sum depends on which taps its output reads."""
        return edges and self._padding_adds

    @cached_property
    def _padding_adds(self) -> bool:
        """Whether taps outside the image may change a sum. 0 times an infinite weight is NaN."""
        return not self.padding.is_zero or not bool(np.isfinite(self.weights).all())

    def start(self, groups: int, taps: Sequence[tuple[int, int]] | None) -> Array:
        """The start value of each filter's sum, for an output that reads the given taps.

        `taps` is (window rows, window columns), both [first, end); None means all taps. A tap that
        is not read adds the constant `padding value * weight`.
        """
        filters, depth = self.weights.shape[0], self.weights.shape[3]
        kind = np.dtype(np.float64 if self.types.total.is_float else np.int64)
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
        return total.astype(self.types.total.numpy)


def in_bytes(terms: Terms, target: Target) -> Terms:
    """The terms with bytes as factors, if NEON can sum two or more of their products in 16 bits.

    The magnitude of a product of a weight and a signed byte is at most 128 times the weight's.
    Therefore the largest weights of each filter limit how many products fit. Terms for which fewer
    than two products fit are returned unchanged.
    """
    weights, types = terms.weights, terms.types
    if types.weight is not Elem.I8 or types.image.bytes > 1 or not target.has("neon"):
        return terms
    sizes = np.abs(weights.reshape(weights.shape[0], -1).astype(np.int16))
    most_products = min(_MOST_PRODUCTS, sizes.shape[1])
    largest = np.partition(sizes, -most_products, axis=1)[:, -most_products:]
    largest = np.sort(largest, axis=1)[:, ::-1]
    products_at_once = int((np.cumsum(largest, axis=1) <= _LARGEST_SUM).all(axis=0).sum())
    if products_at_once < 2:
        return terms
    summed = replace(types, products_at_once=products_at_once)
    return in_signed_bytes(replace(terms, types=summed))


def in_signed_bytes(terms: Terms) -> Terms:
    """The terms of signed bytes as weights, with signed bytes as factors.

    If the image has unsigned bytes, 128 is subtracted from each of them, and the bias and the value
    of the padding make up for this.
    """
    flipped = terms.types.image is Elem.U8
    types = replace(terms.types, factor=Elem.I8, flipped=flipped)
    if not flipped:
        return replace(terms, types=types)
    share = 128 * terms.weights.sum(axis=(1, 2, 3), dtype=np.int64)
    exact = share if terms.exact is None else terms.exact + share
    (zero,) = terms.padding.values
    return replace(
        terms, types=types, exact=exact, padding=replace(terms.padding, values=(zero - 128,))
    )


def in_fewest_bytes(terms: Terms) -> Terms:
    """The terms, with weights stored as bytes if the weights differ by at most 255.

    Unsigned bytes minus their zero point may need 9 bits. If they are stored as bytes, kernels
    widen them and subtract the zero point. This takes one more instruction for each vector of
    weights, but halves their memory. Kernels that have few weights and read them for every tile
    (`depthwise`) would become slower.
    """
    weights, types = terms.weights, terms.types
    if types.weight is not Elem.I16 or not weights.size:
        return terms
    least, most = int(weights.min()), int(weights.max())
    if most - least > np.iinfo(np.uint8).max:
        return terms
    byte_types = replace(types, weight=Elem.U8, weight_zero=-least)
    return replace(terms, types=byte_types, key=f"{terms.key}above {least}:")


def float_terms(image: Elem, weights: Array, bias: Array | None, padding: Padding) -> Terms:
    """The terms of a convolution of floats. The weights are [F,kh,kw,C/groups]."""
    exact = None if bias is None else bias.astype(np.float64)
    return Terms(ProductTypes.floats(image), weights, exact, padding)


def integer_terms(
    image: Elem,
    stored: Array,
    bias: Array | None,
    padding: Padding,
    zeros: ZeroPoints,
    target: Target,
) -> Terms:
    """The terms of a convolution of integers.

    The weights minus their zero points are stored as bytes if they all fit, else as 16-bit
    integers.
    """
    weights = stored.astype(np.int16) - np.reshape(zeros.right, (-1, 1, 1, 1)).astype(np.int16)
    is_byte = weights.min() >= -128 and weights.max() <= 127
    weights = weights.astype(np.int8) if is_byte else weights
    types = ProductTypes.integers(image, Elem.I8 if is_byte else Elem.I16, target)
    exact = None if bias is None else bias.astype(np.int64)
    if zeros.left:
        share = zeros.left * weights.sum(axis=(1, 2, 3), dtype=np.int64)
        exact = -share if exact is None else exact - share
    padding = replace(padding, values=(float(zeros.left),))
    return Terms(types, weights, exact, padding, f"minus {zeros.right}:{is_byte}:")
