"""Pointwise convolutions of bytes by `byte_dots` whose weights are too large for it.

Unsigned weights minus their zero point may need 9 bits, and two products with weights of -128 do
not fit in 16 bits. Most filters use only a part of that range. A number c is subtracted from all
weights of such a filter, so that what is left is small enough:

    sum of x * w = sum of x * (w - c) + c * sum of x

The sum of all values of a pixel is the same for all filters. A kernel of its own computes these
sums first. NEON multiplies bytes faster than numbers of 16 bits: on pi3_64, 96 -> 576 channels,
14x14, takes 3,859 thousand modelled cycles by `gemm`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import Candidate, kernel
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.schedule import GemmSchedule
from ellc.codegen.blocks.scratch import scratch
from ellc.codegen.blocks.terms import ProductTypes, Terms, in_bytes
from ellc.codegen.blocks.weights import constant
from ellc.codegen.blocks.window import column_tiles
from ellc.codegen.kernels.byte_dots import (
    ByteDots,
    dot_tile,
    dot_tiles,
    dots_cycles,
    is_short,
    pack_rows,
    pixel_limit,
)
from ellc.codegen.kernels.byte_pairs import (
    PIXELS,
    BytePairs,
    pack_fours,
    pair_tile,
    pair_tiles,
    pairs_cycles,
)
from ellc.codegen.kernels.convolution import (
    Problem,
    Product,
    TileInputs,
    folded,
    has_constant_operands,
    is_scheduled,
    problem_of,
)
from ellc.codegen.kernels.implicit_gemm import ConvShape, TilePixel, TilePosition
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand, Param
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.target import Target
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense
from ellc.ir.types import Array

_STEP, _HALF = 16, 8  # bytes in a register, and in half a register
_PIXELS = 4
"""The pixels whose sums are computed together: they fill a register."""
_MOST_SUM = 255
"""The magnitudes of two weights add up to at most this, so that two products fit in 16 bits."""


@kernel(IntConv2D, IntDense, name="centred_dots")
def centred_dots(node: PlacedNode) -> Iterator[Candidate]:
    """Candidates for pointwise layers of NEON whose weights `dots` cannot use as they are."""
    found = _centred(node)
    if found is None or is_short(node.target, found[0].shape):
        return
    problem, centres = found
    shape = folded(node, problem.shape, pixel_limit(node.target))
    pixels = shape.columns.outputs
    make = partial(_CentredDots, centres=centres)
    product = _CentredProduct("centred_dots", Problem(shape, problem.terms), make, pack_rows)
    usual, others = dot_tile(node.target, pixels), dot_tiles(node.target, pixels)
    yield from product.candidates(node, partial(_cycles, dots_cycles), usual, others)


@kernel(IntConv2D, IntDense, name="centred_pairs")
def centred_pairs(node: PlacedNode) -> Iterator[Candidate]:
    """The same with the arithmetic of `byte_pairs`."""
    found = _centred(node) if is_scheduled(node.target) else None
    if found is None:
        return
    problem, centres = found
    shape = folded(node, problem.shape, PIXELS)
    make = partial(_CentredPairs, centres=centres)
    product = _CentredProduct("centred_pairs", Problem(shape, problem.terms), make, pack_fours)
    cycles = partial(_cycles, pairs_cycles)
    yield from product.candidates(node, cycles, pair_tile(shape), pair_tiles(shape))


def _centred(node: PlacedNode) -> tuple[Problem, Array] | None:
    """The problem of a pointwise layer with centred weights, and each filter's number c."""
    if not has_constant_operands(node) or node.inputs[1].type.shape[-1] % _HALF:
        return None
    problem = problem_of(node)
    shape = problem.shape
    if shape.rows.taps * shape.columns.taps > 1 or shape.groups > 1:
        return None
    if not (shape.rows.is_interior and shape.columns.is_interior):
        return None
    centred = centred_terms(problem.terms, node.target)
    return None if centred is None else (Problem(shape, centred[0]), centred[1])


def centred_terms(terms: Terms, target: Target) -> tuple[Terms, Array] | None:
    """The terms with weights of which two products fit in 16 bits, and each filter's number c.

    None if `dots` can use the weights as they are, or if a filter uses too large a range.
    """
    if not target.has("neon") or terms.types.image.bytes > 1:
        return None
    weights = terms.weights.astype(np.int16)
    if terms.types.weight is Elem.I8 and in_bytes(terms, target).types.sums_products:
        return None
    flat = weights.reshape(weights.shape[0], -1)
    largest = np.sort(np.abs(flat), axis=1)[:, -2:].sum(axis=1)
    least, most = flat.min(axis=1), flat.max(axis=1)
    is_small = (largest <= _MOST_SUM) & (least >= -128) & (most <= 127)
    centres = np.where(is_small, 0, (least + most + 1) // 2).astype(np.int32)
    moved = weights - centres.reshape(-1, 1, 1, 1)
    if moved.min() < -128 or moved.max() > 127:
        return None
    types = replace(terms.types, weight=Elem.I8)
    key = f"{terms.key}centred:"
    made = in_bytes(replace(terms, types=types, weights=moved.astype(np.int8), key=key), target)
    return (made, centres) if made.types.sums_products else None


def _cycles(
    products: Callable[[Target, ConvShape, GemmSchedule, ProductTypes], float],
    target: Target,
    shape: ConvShape,
    schedule: GemmSchedule,
    types: ProductTypes,
) -> float:
    """Predicted issue slots: those of `products`, and those of the sums of pixels.

    Sixteen values of a pixel are loaded and added by two instructions. In each tile, sums and
    numbers c are loaded, and each vector of results takes a multiply-add.
    """
    load = target.core.load_cycles
    images, rows, columns, _ = shape.walk
    sums = images * rows * columns * (-(-shape.channels // _STEP) * (load + 2) + _PIXELS)
    vectors = schedule.block // 4
    each = load * (1 + vectors) + vectors * schedule.pixels
    return products(target, shape, schedule, types) + sums + shape.tiles(schedule) * each


class _Centred(ByteDots):
    """Adds, for each filter, c times the sum of the pixel's values."""

    def __init__(
        self,
        b: KernelBuilder,
        shape: ConvShape,
        schedule: GemmSchedule,
        inputs: TileInputs,
        *,
        centres: Array,
    ) -> None:
        super().__init__(b, shape, schedule, inputs)
        images, rows, columns, _ = shape.walk
        # The last pixels of a row may be fewer than a vector.
        self.sums = scratch(Elem.I32, (images * rows * columns + schedule.pixels + _PIXELS,))
        filters = -(-shape.filters // schedule.block) * schedule.block
        padded = np.pad(centres, (0, filters - shape.filters))
        self._sums = b.param("sums", Elem.I32, self.sums.align_bytes)
        self._centres = b.param("centres", Elem.I32, 64)
        self.args = (access_arg(self.sums), constant(padded))

    def finish(
        self,
        position: TilePosition,
        taps: tuple[int, int],
        sums: list[Operand],
        pixel: TilePixel,
    ) -> list[Operand]:
        """The totals, plus c times the sum of the pixel's values."""
        b, (_, rows, columns, _) = self._b, self._shape.walk
        totals = super().finish(position, taps, sums, pixel)
        row = b.add(b.mul(position.image, rows), position.row)
        first = b.add(b.mul(row, columns), pixel.column)
        at = pixel.number - pixel.number % _PIXELS
        loaded = b.load(self._sums, first, _PIXELS, offset=at)
        value = b.op("splat_lane", loaded, attrs=(pixel.number % _PIXELS, 4))
        index = b.mul(position.block, self._schedule.block)
        centres = [
            b.load(self._centres, index, 4, offset=4 * v, align_bytes=16)
            for v in range(len(totals))
        ]
        return [b.mul_add(c, value, t) for c, t in zip(centres, totals, strict=True)]


class _CentredDots(_Centred, ByteDots):
    """The arithmetic of `dots`."""


class _CentredPairs(_Centred, BytePairs):
    """The arithmetic of `byte_pairs`."""


@dataclass(frozen=True, eq=False, slots=True)
class _CentredProduct(Product[_Centred]):
    """A convolution whose first kernel computes the sums of pixels."""

    def call(self, node: PlacedNode, tile: GemmSchedule) -> list[KernelCall]:
        """The call that computes the sums, and the one that computes the results."""
        products, arithmetic = self.written(node, tile)
        shape, types = self.problem.shape, self.problem.terms.types
        return [_pixel_sums(node, shape, types, arithmetic.sums), products]


def _pixel_sums(
    node: PlacedNode, shape: ConvShape, types: ProductTypes, sums: Access
) -> KernelCall:
    """The kernel that adds all values of each pixel; it is parallel over rows."""
    b = KernelBuilder(f"{node.name}_sums")
    x = b.param("x", types.image, shape.x.align_bytes)
    y = b.param("y", Elem.I32, sums.align_bytes, writable=True)
    images, rows, columns, _ = shape.walk
    strides, step = shape.x.strides, shape.columns.stride
    with b.loop("row", b.begin, b.end) as row:
        image = b.div(row.index, rows)
        start = b.mul(image, strides[0])
        inside = b.mul(b.sub(row.index, b.mul(image, rows)), shape.rows.stride * strides[1])
        start = b.add(start, inside)
        target = b.mul(row.index, columns)
        for tiles in column_tiles(shape.columns, _PIXELS):
            stop = tiles.start + tiles.count * tiles.size
            with b.loop("column", tiles.start, stop, tiles.size) as column:
                first = b.add(start, b.mul(column.index, step * strides[2]))
                offsets = [pixel * step * strides[2] for pixel in range(tiles.size)]
                total = _totals(b, _sums(b, shape, x, first, offsets))
                b.store_some(total, y, b.add(target, column.index), tiles.size)
    args = (access_arg(shape.x), access_arg(sums))
    return KernelCall(b.finish(), args, images * rows, "sums of pixels")


def _sums(
    b: KernelBuilder, shape: ConvShape, x: Param, first: Operand, offsets: Sequence[int]
) -> list[Operand]:
    """Four partial sums of the values of each pixel at `first` plus an offset.

    The sums of all pixels are interleaved, because each waits for its previous addition. Thousands
    of modelled cycles on pi3_64 for one pixel after the other and for four at once, 144 channels,
    56x56: 486 and 220; 24 channels 175 and 59.
    """
    wide = x.elem.wider
    whole = shape.channels - shape.channels % _STEP
    zeros = b.const(0, VType(wide, _HALF))

    def added(totals: Sequence[Operand], at: Operand, count: int) -> list[Operand]:
        values = [b.load_some(x, at, _STEP, count, offset=offset) for offset in offsets]
        pairs = [b.op("add_pairs", zeros, value) for value in values]
        return [b.op("add_pairs", t, p) for t, p in zip(totals, pairs, strict=True)]

    starts = [b.const(0, VType(wide.wider, 4))] * len(offsets)
    with b.loop("k", 0, whole, _STEP, carry=starts) as k:
        k.carry(added(k.carried, b.add(first, k.index), _STEP))
    totals, rest = list(k.results), shape.channels - whole
    return added(totals, b.add(first, whole), rest) if rest else totals


def _totals(b: KernelBuilder, partial_sums: list[Operand]) -> Operand:
    """The sums of up to four vectors, one in each lane."""
    vectors = partial_sums + partial_sums[-1:] * (_PIXELS - len(partial_sums))
    while len(vectors) > 1:
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [b.op("pair_sums", b.op("join", *pair)) for pair in pairs]
    return b.bitcast(vectors[0], Elem.I32)
