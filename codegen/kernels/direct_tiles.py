"""Tiles of convolutions of few channels, whose window rows are straight-line code.

The image has its channels together in each pixel, or one plane for each channel. In planes, the
taps of a window row are neighbours; otherwise the taps and channels are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product

import numpy as np

from ellc.codegen.blocks.schedule import GemmSchedule
from ellc.codegen.blocks.window import Tiles, column_tiles
from ellc.codegen.kernels.gemm import Products
from ellc.codegen.kernels.implicit_gemm import ConvShape, TileNest, TilePosition, pack_filters
from ellc.codegen.kir.in_order.product_loop import Product
from ellc.codegen.kir.ir import Imm, Operand
from ellc.ir.types import Array


@dataclass(frozen=True, slots=True)
class ImageRow:
    """The part of an image row that some pixels read, cut into vectors.

    Pixel p reads `length` values from index `starts[p]` on; a kernel multiplies `step` values of
    every pixel at a time. No vector extends beyond the first or the last value that is read.
    """

    starts: tuple[int, ...]
    length: int
    step: int

    @classmethod
    def of(
        cls, shape: ConvShape, schedule: GemmSchedule, length: int, pixels: Sequence[int]
    ) -> ImageRow:
        """The part of a row that these pixels of a tile read."""
        stride = _pixel_stride(shape)
        return cls(tuple(pixel * stride for pixel in pixels), length, schedule.k_step)

    @property
    def width(self) -> int:
        """The number of values in a vector."""
        span = self.starts[-1] + self.length - self.starts[0]
        return min(self.step, 1 << span.bit_length() - 1)

    def vector_of(self, index: int) -> int:
        """The start of the vector that holds value `index`. The last vector ends with the row."""
        begin, end, width = self.starts[0], self.starts[-1] + self.length, self.width
        return min(index - (index - begin) % width, end - width)

    def steps(self) -> Iterator[tuple[range, list[int]]]:
        """For each step, the values that it multiplies, and the vectors that it reads."""
        for start in range(0, self.length, self.step):
            values = range(start, min(start + self.step, self.length))
            yield values, sorted({self.vector_of(p + k) for p in self.starts for k in values})

    def vector_steps(self) -> dict[int, tuple[int, int]]:
        """For each vector, the first and the last step that reads it."""
        uses: dict[int, tuple[int, int]] = {}
        for number, (_, vectors) in enumerate(self.steps()):
            for vector in vectors:
                uses[vector] = (uses.get(vector, (number, number))[0], number)
        return uses


def row_products(
    shape: ConvShape, schedule: GemmSchedule, tiles: Tiles
) -> tuple[tuple[Product, ...], int]:
    """The products of a tile for one window row, and the number of loads.

    Products and loads are in the order in which the kernel has them.
    """
    groups = tuple(
        ((end - first) * shape.values_of_tap, pixels) for (first, end), pixels in tiles.tap_groups()
    )
    planes = shape.channels if shape.has_planes else 1
    return _row_products(_pixel_stride(shape), planes, groups, schedule)


def _pixel_stride(shape: ConvShape) -> int:
    """The distance in the image between the values of neighbouring columns of results."""
    return shape.columns.stride * shape.x.strides[2]


# The prediction of a layer asks for the same tile several times: with and without stages, in bands.
@lru_cache(maxsize=128)
def _row_products(
    pixel_stride: int,
    planes: int,
    groups: tuple[tuple[int, tuple[int, ...]], ...],
    schedule: GemmSchedule,
) -> tuple[tuple[Product, ...], int]:
    """`row_products`, for groups of pixels that read so many values."""
    products: list[Product] = []
    loads: dict[tuple[int, ...], int] = {}
    for channel, (number, (length, pixels)) in product(range(planes), enumerate(groups)):
        starts = tuple(pixel * pixel_stride for pixel in pixels)
        row = ImageRow(starts, length, schedule.k_step)
        if row.width != schedule.lanes:
            return (), 0
        place = partial(_numbered, loads, (channel, number))
        vectors = range(schedule.vectors)
        for values, image in row.steps():
            weights = {(k, v): place(0, k, v) for k, v in product(values, vectors)}
            vector = {at: place(1, at) for at in image}
            readers = list(zip(pixels, row.starts, strict=True))
            for k, (pixel, start), v in product(values, readers, vectors):
                at, total = row.vector_of(start + k), pixel * schedule.vectors + v
                products.append(Product(total, weights[k, v], vector[at], start + k - at))
    return tuple(products), len(loads)


def _numbered(loads: dict[tuple[int, ...], int], row: tuple[int, ...], *load: int) -> int:
    return loads.setdefault((*row, *load), len(loads))


class WindowRows(Products):
    """Adds the products of a whole window row in straight-line code."""

    def depth(
        self,
        sums: list[Operand],
        inside: Operand,
        panel: Operand,
        length: int,
        pixels: Sequence[int],
    ) -> list[Operand]:
        """The sums plus the products of `length` values. Each step loads first, then multiplies."""
        b, schedule = self._b, self._schedule
        row = ImageRow.of(self._shape, schedule, length, pixels)
        loaded: dict[int, Operand] = {}
        for values, vectors in row.steps():
            weights = [self._row(panel, k) for k in values]
            for at in vectors:
                if at not in loaded:
                    loaded[at] = b.load(self._x, inside, row.width, offset=at)
            for k, weight_row in zip(values, weights, strict=True):
                for pixel, start in zip(pixels, row.starts, strict=True):
                    at = row.vector_of(start + k)
                    value = b.op("splat_lane", loaded[at], attrs=(start + k - at, schedule.lanes))
                    for v, weight in enumerate(weight_row):
                        index = pixel * schedule.vectors + v
                        sums[index] = self.accumulate(weight, value, sums[index])
        return sums


def pack_planes(weights: Array, groups: int, block: int) -> Array:
    """As `pack_filters`, in the order of planes: [F, kh, kw, C] -> [.., kh, C, kw, block]."""
    return pack_filters(np.swapaxes(weights, 2, 3), groups, block)


class DirectNest(TileNest[WindowRows]):
    """Loops whose numbers of trips are constants, so that the innermost ones can be scheduled.

    Rows of results that read the same window rows have code of their own.
    """

    def _rows(
        self,
        image: Operand,
        group: Operand,
        block: Operand,
        first: Operand,
        last: Operand,
        valid: int,
        *,
        last_block: bool,
    ) -> None:
        b, shape = self._b, self._shape
        classes = column_tiles(shape.rows, 1)
        for rows in classes:
            begin, end = first, last
            if len(classes) > 1:
                begin = b.max(first, rows.start)
                end = b.min(last, rows.start + rows.count)
            (taps,) = rows.taps
            with b.loop("row", begin, end) as row:
                window = (Imm(taps[0]), Imm(taps[1]))
                position = TilePosition(image, group, block, row.index, window, valid, last_block)
                self._columns(position)

    def _taps(
        self,
        sums: list[Operand],
        inside: Operand,
        panel: Operand,
        taps: tuple[int, int],
        pixels: Sequence[int],
    ) -> list[Operand]:
        shape, block = self._shape, self._schedule.block
        if not shape.has_planes:
            return super()._taps(sums, inside, panel, taps, pixels)
        b, (first, end) = self._b, taps
        for channel in range(shape.channels):
            image_index = b.add(inside, channel * shape.x.strides[3] + first)
            weight_index = b.add(panel, (channel * shape.columns.taps + first) * block)
            sums = self._arithmetic.depth(sums, image_index, weight_index, end - first, pixels)
        return sums
