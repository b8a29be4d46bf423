"""Convolution as an implicit matrix product: packed weights, register tiles, no im2col.

A tile holds `pixels` x `block` sums in registers and loops over the window's taps and channels.
Weights are packed `[group][block][kernel row][kernel column][channel][lane]`, so that the inner
loop reads them in order. Taps that are consecutive in memory (a window row of an image without
gaps) share one inner loop if there is only one group. The loops, from the outermost: image, group,
band of rows and filter block (parallel), row, tile, window row, taps and channels. A
`TileArithmetic` defines how values are multiplied and added: as floats, integers or packed bits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.schedule import LINE_BYTES, GemmSchedule
from ellc.codegen.blocks.window import Axis, Tiles, column_tiles, spread
from ellc.codegen.kernels.weight_rows import WeightRows
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.ir.types import Array


@dataclass(frozen=True, slots=True)
class ConvShape:
    """The shape of a convolution. `filters` and `channels` are the numbers in one group."""

    x: Access
    walk: tuple[int, int, int, int]  # the result as (images, rows, columns, channels)
    rows: Axis
    columns: Axis
    channels: int
    filters: int
    groups: int

    @property
    def consecutive_taps(self) -> bool:
        """Whether neighbouring taps of a window row are consecutive in memory."""
        return self.columns.dilation == 1 and self.x.strides[2] == self.channels

    @property
    def has_planes(self) -> bool:
        """Whether each channel is a plane of its own, and the pixels of its rows are neighbours."""
        return self.channels > 1 and self.x.strides[2] == 1 and self.x.strides[3] != 1

    @property
    def values_of_tap(self) -> int:
        """The number of consecutive values that a tap of a window row reads."""
        return 1 if self.has_planes else self.channels

    def tiles(self, schedule: GemmSchedule) -> int:
        """The number of tiles in the whole result: in all images, rows and blocks of filters."""
        images, rows, columns, _ = self.walk
        blocks = self.groups * -(-self.filters // schedule.block)
        return images * rows * -(-columns // schedule.pixels) * blocks


def pack_filters(weights: Array, groups: int, block: int) -> Array:
    """[F, kh, kw, C] -> [groups, blocks, kh, kw, C, block], with zeros after the last filter."""
    filters = weights.shape[0] // groups
    blocks = -(-filters // block)
    packed = np.zeros((groups, blocks, *weights.shape[1:], block), weights.dtype)
    for group in range(groups):
        for index in range(blocks):
            part = weights[
                group * filters + index * block : group * filters
                + min(filters, (index + 1) * block)
            ]
            packed[group, index, ..., : len(part)] = np.moveaxis(part, 0, -1)
    return packed


def split_bands(schedule: GemmSchedule, shape: ConvShape, threads: int) -> GemmSchedule:
    """The schedule, with smaller bands if several threads would have fewer than 4 trips each."""
    blocks = -(-shape.filters // schedule.block) * shape.groups
    if blocks * -(-shape.rows.outputs // schedule.band_rows) < 4 * threads > 4:
        return replace(schedule, band_rows=max(1, shape.rows.outputs * blocks // (4 * threads)))
    return schedule


@dataclass(frozen=True, slots=True)
class TilePosition:
    """The position of a tile in the loop nest, without its column.

    The tile reads the window rows `row_taps`, [first, end). The first `valid` filters of the block
    exist. `last_block` says that the block is the last one.
    """

    image: Operand
    group: Operand
    block: Operand
    row: Operand
    row_taps: tuple[Operand, Operand]
    valid: int
    last_block: bool


@dataclass(frozen=True, slots=True)
class TilePixel:
    """A pixel of a tile: the tile's first column, and how many columns further it is."""

    column: Operand
    number: int


class TileArithmetic(ABC):
    """The arithmetic of a kernel: how a tile's sums begin, how products are added, how they end.

    A pixel has `sums_of_pixel` sums; 0 means one sum for each vector of filters. If `rows_at_once`
    is not 0, the products of this many window rows are first summed separately, and then added to
    the sums. If `weights_at_once` is not 0, one instruction loads this many weights, and another
    widens them. The epilogues of `stored_at_once` pixels are interleaved; if `vectors_at_once` is
    not 0, only for so many vectors of each. Without `joins_taps`, each tap has an inner loop of its
    own.

    In all methods, `inside` is the index of an element in the image, and `panel` is the index of an
    element in the packed weights.
    """

    rows_at_once: int = 0
    weights_at_once: int = 0
    stored_at_once: int = 1
    vectors_at_once: int = 0
    sums_of_pixel: int = 0
    joins_taps: bool = True

    def __init__(
        self, b: KernelBuilder, shape: ConvShape, schedule: GemmSchedule, x: Param, w: Param
    ) -> None:
        self._b, self._shape, self._schedule, self._x, self._w = b, shape, schedule, x, w

    @abstractmethod
    def start(self, position: TilePosition, taps: tuple[int, int]) -> list[Operand]:
        """The start values of a pixel's sums. The pixel reads the window columns `taps`."""

    @abstractmethod
    def depth(
        self,
        sums: list[Operand],
        inside: Operand,
        panel: Operand,
        length: int,
        pixels: Sequence[int],
    ) -> list[Operand]:
        """The sums plus the products of `length` consecutive values of each pixel in `pixels`.

        `sums` has the sums of all pixels of the tile. The sums of other pixels stay the same.
        """

    @abstractmethod
    def accumulate(self, weight: Operand, value: Operand, total: Operand) -> Operand:
        """`total` plus the products of a vector of weights and a vector of image values.

        In most kernels, all lanes of `value` are one image value.
        """

    def image_factor(self, value: Operand) -> Operand:
        """Loaded image values in the form that `accumulate` needs."""
        return value

    def weight_factor(self, weight: Operand) -> Operand:
        """Loaded weights in the form that `accumulate` needs."""
        return weight

    @abstractmethod
    def finish(
        self,
        position: TilePosition,
        taps: tuple[int, int],
        sums: list[Operand],
        pixel: TilePixel,
    ) -> list[Operand]:
        """The results of a pixel with these sums, as vectors of consecutive filters."""

    def inner_loop(
        self,
        sums: list[Operand],
        inside: Operand,
        panel: Operand,
        length: int,
        pixels: Sequence[int],
    ) -> list[Operand]:
        """`depth` as a loop over steps of `k_step` values, then straight-line code for the rest."""
        schedule = self._schedule
        done = 0
        for trip in dict.fromkeys((schedule.k_step * schedule.unroll, schedule.k_step)):
            end = length - length % trip
            sums = self._step_loop(sums, inside, panel, (done, end), pixels, trip)
            done = end
        if length > done:
            image_index, weight_index = self._at(inside, panel, Imm(done))
            sums = self._steps(sums, image_index, weight_index, pixels, length - done)
        return sums

    def _step_loop(
        self,
        sums: list[Operand],
        inside: Operand,
        panel: Operand,
        values: tuple[int, int],
        pixels: Sequence[int],
        trip: int,
    ) -> list[Operand]:
        """The sums plus the products of values [first, end), `trip` values on each trip."""
        b, step = self._b, self._schedule.k_step
        with b.loop("k", *values, trip, carry=sums) as k:
            image_index, weight_index = self._at(inside, panel, k.index)
            running = list(k.carried)
            ahead = self._prefetches(image_index, weight_index, pixels, trip)
            # The last step has none, unless it is the only one.
            share = -(-len(ahead) // max(1, trip // step - 1))
            for start in range(0, trip, step):
                at = self._at(image_index, weight_index, Imm(start))
                running = self._steps(running, *at, pixels, step, ahead[:share])
                ahead = ahead[share:]
            k.carry(running)
        return list(k.results)

    def _at(self, inside: Operand, panel: Operand, k: Operand) -> tuple[Operand, Operand]:
        """The indices of the image value and the weights `k` values further along."""
        b = self._b
        return b.add(inside, k), b.add(panel, b.mul(k, self._schedule.block))

    def _steps(
        self,
        sums: list[Operand],
        image_index: Operand,
        weight_index: Operand,
        pixels: Sequence[int],
        steps: int,
        ahead: Sequence[Callable[[], None]] = (),
    ) -> list[Operand]:
        """The sums plus the products of `steps` values of each pixel, in straight-line code.

        `ahead` writes prefetches. They come between the last products, or first if there is only
        one pixel: then the weights of a step are several lines, and prefetches that follow each
        other closely behind the loads come too late. A dense layer of 1024 numbers and 1024 results
        takes 3,710 thousand modelled cycles on pi3_64 with the former, 2,178 with the latter.
        """
        b, schedule = self._b, self._schedule
        if len(pixels) == 1:
            for write in ahead:
                write()
            ahead = ()
        pixel_stride = self._shape.columns.stride * self._shape.x.strides[2]
        by_lane = schedule.by_lane and steps == schedule.k_step
        values: dict[int, Operand] = {}
        if by_lane:
            loaded = {
                p: b.load(self._x, image_index, steps, offset=p * pixel_stride) for p in pixels
            }
            values = {p: self.image_factor(v) for p, v in loaded.items()}
        rows = WeightRows(
            partial(self._row, weight_index), self._widened_row, steps, self._ahead(by_lane)
        )
        for k in range(steps):
            row = rows.next()
            for at, pixel in enumerate(pixels):
                if at == len(pixels) // 2:
                    rows.widen_next()
                if by_lane:
                    value = b.op("splat_lane", values[pixel], attrs=(k, schedule.lanes))
                else:
                    single = b.load(self._x, image_index, offset=pixel * pixel_stride + k)
                    value = b.splat(self.image_factor(single), schedule.lanes)
                for v, weight in enumerate(row):
                    index = pixel * schedule.vectors + v
                    sums[index] = self.accumulate(weight, value, sums[index])
                behind = k * len(pixels) + at
                for write in spread(ahead, behind, steps * len(pixels)):
                    write()
        return sums

    def _prefetches(
        self, image_index: Operand, weight_index: Operand, pixels: Sequence[int], values: int
    ) -> list[Callable[[], None]]:
        """Functions that write the prefetches of a trip over `values` values.

        A trip that is shorter than a cache line prefetches lines of the image that other trips
        prefetch as well. Behind a multiply-add this takes no time.
        """
        b, schedule, x, w = self._b, self._schedule, self._x, self._w
        ahead, stride = schedule.ahead, self._shape.columns.stride * self._shape.x.strides[2]
        offsets: list[tuple[Param, Operand, int]] = []
        if ahead.image_tiles or ahead.image_bytes:
            further = ahead.image_tiles * len(pixels) * stride
            further += ahead.image_bytes // x.elem.bytes
            lines = range(0, values, LINE_BYTES // x.elem.bytes)
            # Where each pixel begins at a line, the trips reach new lines of different pixels.
            lags = max(1, LINE_BYTES // x.elem.bytes // values)
            offsets += [
                (x, image_index, further + p * stride + line + place % lags * schedule.k_step)
                for line in lines
                for place, p in enumerate(pixels)
            ]
        if ahead.weight_bytes:
            further = ahead.weight_bytes // w.elem.bytes
            lines = range(0, values * schedule.block, LINE_BYTES // w.elem.bytes)
            offsets += [(w, weight_index, further + line) for line in lines]
        return [
            partial(b.prefetch, param, index, offset=offset) for param, index, offset in offsets
        ]

    def _ahead(self, by_lane: bool) -> int:
        """How many rows of weights are loaded ahead of their use."""
        if by_lane and self._schedule.weights_first:
            return self._schedule.k_step
        return 1 if by_lane and self.weights_at_once else 0

    def _row(self, weight_index: Operand, k: int) -> list[Operand]:
        """Row `k` of a block's weights, in the stored element type."""
        b, block = self._b, self._schedule.block
        at_once = self.weights_at_once or self._schedule.lanes
        return [
            b.load(
                self._w,
                weight_index,
                at_once,
                offset=k * block + start,
                align_bytes=at_once * self._w.elem.bytes,
            )
            for start in range(0, block, at_once)
        ]

    def _widened_row(self, row: list[Operand]) -> list[Operand]:
        """A loaded row of weights, converted to the vectors that `accumulate` takes."""
        b, lanes = self._b, self._schedule.lanes
        widened = [self.weight_factor(v) for v in row]
        return [b.part(v, start, lanes) for v in widened for start in range(0, v.type.lanes, lanes)]


ArithmeticT = TypeVar("ArithmeticT", bound=TileArithmetic)


class TileNest(Generic[ArithmeticT]):
    """Writes the loops around the tile, and the tile."""

    def __init__(
        self,
        b: KernelBuilder,
        shape: ConvShape,
        schedule: GemmSchedule,
        arithmetic: ArithmeticT,
        epilogue: Epilogue,
    ) -> None:
        self._b, self._shape, self._schedule = b, shape, schedule
        self._arithmetic, self._epilogue = arithmetic, epilogue

    def write(self) -> int:
        """Write the loops and tiles.

        Returns the extent of the parallel loop, which visits (image, group, band, block).
        """
        b, shape, schedule = self._b, self._shape, self._schedule
        blocks = -(-shape.filters // schedule.block)
        bands = -(-shape.rows.outputs // schedule.band_rows)
        uneven = shape.filters % schedule.block != 0 or self._epilogue.has_tail
        with b.loop("part", b.begin, b.end) as part:
            block, rest = b.rem(part.index, blocks), b.div(part.index, blocks)
            band, rest = b.rem(rest, bands), b.div(rest, bands)
            group, image = b.rem(rest, shape.groups), b.div(rest, shape.groups)
            first = b.mul(band, schedule.band_rows)
            last = b.min(b.add(first, schedule.band_rows), shape.rows.outputs)
            if not uneven:
                self._rows(image, group, block, first, last, schedule.block, last_block=False)
            elif blocks == 1:
                self._rows(image, group, Imm(0), first, last, shape.filters, last_block=True)
            else:
                is_last = b.compare("eq", block, Imm(blocks - 1))
                with b.when(b.compare("lt", block, Imm(blocks - 1))):
                    self._rows(image, group, block, first, last, schedule.block, last_block=False)
                with b.when(is_last):
                    valid = shape.filters - (blocks - 1) * schedule.block
                    self._rows(image, group, Imm(blocks - 1), first, last, valid, last_block=True)
        return shape.walk[0] * shape.groups * bands * blocks

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
        """Write rows [first, last) of one block of filters.

        Tiles that read every tap share a loop; tiles at an edge have their own code.
        """
        with self._b.loop("row", first, last) as row:
            taps = self._shape.rows.dynamic_taps(self._b, row.index)
            position = TilePosition(image, group, block, row.index, taps, valid, last_block)
            self._columns(position)

    def _columns(self, position: TilePosition) -> None:
        """Write the tiles of a row."""
        for tiles in column_tiles(self._shape.columns, self._schedule.pixels):
            stop = tiles.start + tiles.count * tiles.size
            with self._b.loop("column", tiles.start, stop, tiles.size) as column:
                self._tile(position, column.index, tiles)

    def _tile(self, position: TilePosition, column: Operand, tiles: Tiles) -> None:
        """Write the sums of neighbouring pixels for one block of filters, and the epilogue."""
        b, shape, schedule = self._b, self._shape, self._schedule
        sums: list[Operand] = []
        for taps in tiles.taps:
            sums += self._arithmetic.start(position, taps)
        base = self._pixel(position, column)
        weights = self._panel(position)
        first, last = position.row_taps
        rows = partial(self._window_rows, base=base, weights=weights, tiles=tiles)
        row_count = self._arithmetic.rows_at_once
        if not row_count:
            results = rows(first, last, sums)
        else:
            # The parts begin at the same rows of all windows, also of those over an edge.
            aligned = b.sub(first, b.rem(first, row_count)) if row_count > 1 else first
            with b.loop("some_rows", aligned, last, row_count, carry=sums) as some_rows:
                begin = some_rows.index if aligned == first else b.max(some_rows.index, first)
                stop = b.min(b.add(some_rows.index, row_count), last)
                part_sums = rows(begin, stop, [b.const(0, s) for s in sums])
                some_rows.carry(
                    [b.add(s, f) for s, f in zip(some_rows.carried, part_sums, strict=True)]
                )
            results = list(some_rows.results)
        channel = b.add(b.mul(position.group, shape.filters), b.mul(position.block, schedule.block))
        at = (position.image, position.row, column, channel)
        width = self._arithmetic.sums_of_pixel or schedule.vectors
        at_once, vectors = self._arithmetic.stored_at_once, self._arithmetic.vectors_at_once
        for start in range(0, len(tiles.taps), at_once):
            finished = [
                (
                    self._arithmetic.finish(
                        position,
                        taps,
                        results[p * width : (p + 1) * width],
                        TilePixel(column, p),
                    ),
                    (0, 0, p, 0),
                )
                for p, taps in enumerate(tiles.taps[start : start + at_once], start)
            ]
            valid, ends = position.valid, position.last_block
            self._epilogue.store_pixels(
                finished, at, valid, last=ends, at_once=at_once, vectors_at_once=vectors
            )

    def _window_rows(
        self,
        first: Operand,
        last: Operand,
        sums: list[Operand],
        *,
        base: Operand,
        weights: Operand,
        tiles: Tiles,
    ) -> list[Operand]:
        """The sums plus the products of window rows [first, last)."""
        b, shape = self._b, self._shape
        with b.loop("window_row", first, last, carry=sums) as window_row:
            inside = b.add(base, b.mul(window_row.index, shape.rows.dilation * shape.x.strides[1]))
            step = shape.columns.taps * shape.channels * self._schedule.block
            panel = b.add(weights, b.mul(window_row.index, step))
            running = list(window_row.carried)
            for taps, pixels in tiles.tap_groups():
                running = self._taps(running, inside, panel, taps, pixels)
            window_row.carry(running)
        return list(window_row.results)

    def _pixel(self, position: TilePosition, column: Operand) -> Operand:
        """Index of the first image value of the tile's first pixel, for window row 0 and tap 0."""
        b, shape, strides = self._b, self._shape, self._shape.x.strides
        rows, columns = shape.rows, shape.columns
        index = b.mul(b.sub(b.mul(position.row, rows.stride), rows.before), strides[1])
        first_column = b.sub(b.mul(column, columns.stride), columns.before)
        index = b.add(index, b.mul(first_column, strides[2]))
        index = b.add(index, b.mul(position.image, strides[0]))
        return b.add(index, b.mul(position.group, shape.channels))

    def _panel(self, position: TilePosition) -> Operand:
        """Index of the block's first weight, for window row 0 and tap 0."""
        b, shape, schedule = self._b, self._shape, self._schedule
        taps = shape.rows.taps * shape.columns.taps
        size = taps * shape.channels * schedule.block
        blocks = -(-shape.filters // schedule.block)
        return b.mul(b.add(b.mul(position.group, blocks), position.block), size)

    def _taps(
        self,
        sums: list[Operand],
        inside: Operand,
        panel: Operand,
        taps: tuple[int, int],
        pixels: Sequence[int],
    ) -> list[Operand]:
        """The sums plus the products of neighbouring taps of a window row, which `pixels` read."""
        b, shape, schedule = self._b, self._shape, self._schedule
        first, end = taps
        tap_step = shape.columns.dilation * shape.x.strides[2]
        panel_step = shape.channels * schedule.block
        image_index, weight_index = (
            b.add(inside, first * tap_step),
            b.add(panel, first * panel_step),
        )
        if shape.consecutive_taps and shape.groups == 1 and self._arithmetic.joins_taps:
            return self._arithmetic.depth(
                sums, image_index, weight_index, (end - first) * shape.channels, pixels
            )
        with b.loop("tap", 0, end - first, carry=sums) as tap:
            tap_image_index = b.add(image_index, b.mul(tap.index, tap_step))
            tap_weight_index = b.add(weight_index, b.mul(tap.index, panel_step))
            tap.carry(
                self._arithmetic.depth(
                    list(tap.carried), tap_image_index, tap_weight_index, shape.channels, pixels
                )
            )
        return list(tap.results)
