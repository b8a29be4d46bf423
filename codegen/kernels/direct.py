"""Convolutions of few channels, such as a network's first layer, a window row at a time.

The pixels of a tile read overlapping parts of one image row. A kernel loads every vector of this
row once for all pixels and all taps of a window row, and multiplies by lanes of the vector. The
matrix product (`gemm.py`) loads the values of each pixel separately. A window row has few values
here, and therefore is straight-line code; the loops of a matrix product would take a large share of
the time.

The table compares this family (before the colon) with the matrix product (after it), each with its
own tile. Figures are thousands of cycles on a modelled Cortex-A53, by
`tests/benchmarks/predictions.py --first-layers`. A layer is described by its window, stride s,
channels -> filters, and rows of the image. `*` marks the family whose predicted cost is lower; the
planner takes this family:

| layer             | pi3_64           | pi3              |
|-------------------|------------------|------------------|
| 3x3 s2 3->32 224  | *5,311 :  6,169  |  8,048 : *8,467  |
| 3x3 s2 3->16 224  | *2,814 :  3,176  |  4,183 : *4,483  |
| 3x3 s1 3->64 96   | *6,712 :  8,341  | *9,147 : 11,583  |
| 3x3 s1 1->8 96    |   *310 :    464  |   *422 :    587  |
| 3x3 s1 1->32 96   | *1,673 :  2,049  | *1,938 :  2,362  |
| 3x3 s2 4->16 128  | *1,111 :  1,104  |  1,923 : *1,695  |
| 3x3 s2 3->24 192  | *2,978 :  3,394  |  4,468 : *4,841  |
| 3x3 s1 4->32 96   | *4,218 :  4,672  | *6,131 :  6,886  |
| 5x5 s2 3->32 128  | *4,004 :  4,876  |  6,097 : *6,517  |
| 5x5 s1 1->16 96   | *1,432 :  1,954  | *1,905 :  3,139  |
| 5x5 s2 3->8 160   | *1,571 :  1,919  |  2,655 : *2,512  |
| 5x5 s1 4->24 96   | *7,958 :  8,986  | *11,511 : 13,529 |
| 5x5 s2 1->64 128  | *2,775 :  3,528  | *3,847 :  5,564  |
| 3x3 s2 3->8 96    |   *220 :    258  |    357 :   *373  |
| 3x3 s1 3->12 112  | *1,773 :  2,694  | *2,356 :  4,177  |

For five layers with stride 2 on pi3, which has few registers, the prediction is wrong, and the
chosen kernel takes 4 to 8 % longer than the other one. On pi3_64 the prediction is wrong for one
layer, by less than 1 %. This family is not offered on x86-64, where one instruction loads and
broadcasts a value. There, even with its best tile, a kernel of this family takes 0.95 to 1.00 of
the matrix product's time for 16 or more filters, and 0.7 to 0.9 for 8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ellc.codegen.blocks.candidates import Candidate, kernel
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.schedule import GemmSchedule, gemm_tile, gemm_tiles
from ellc.codegen.blocks.terms import ProductTypes
from ellc.codegen.blocks.window import Tiles, column_tiles
from ellc.codegen.kernels.convolution import Product, has_whole_bytes, problem_of
from ellc.codegen.kernels.gemm import Products
from ellc.codegen.kernels.implicit_gemm import ConvShape, pack_filters
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target
from ellc.ir.ops.conv import Conv2D

MOST_CHANNELS = 4
"""The most channels that an image may have; enough for grey, RGB, or RGB with a mask."""
LONGEST_ROW = 48
"""The most values in a window row; 11 taps of 4 channels fit."""


@kernel(Conv2D, name="direct")
def direct(node: PlacedNode) -> Iterator[Candidate]:
    """Candidates for windows of at least 3x3 over float32 images without gaps, up to four channels.

    A window row has at most `LONGEST_ROW` values, and there is only one group. Candidates are
    offered on in-order cores whose multiply-adds take a lane as an operand. The constants of the
    cost model below were measured on a modelled Cortex-A53.
    """
    target = node.target
    if node.inputs[0].type.shape[3] > MOST_CHANNELS or not target.core.in_order:
        return
    problem = problem_of(node)
    shape, types = problem.shape, problem.terms.types
    if types.total is not Elem.F32 or shape.groups > 1 or not shape.consecutive_taps:
        return
    if min(shape.rows.taps, shape.columns.taps) < 3 or _row_length(shape) > LONGEST_ROW:
        return
    pixels, filters = shape.columns.outputs, shape.filters
    usual = gemm_tile(target, types.total, pixels, filters)
    if not usual.by_lane:
        return
    dtype = node.result.type.dtype
    tiles = [t for t in gemm_tiles(target, usual, pixels, filters) if has_whole_bytes(dtype, t)]
    if not tiles:
        return  # results are bits, and there are too few filters for a byte
    best = min(tiles, key=lambda tile: direct_cycles(target, shape, tile, types))
    product = Product("direct", problem, _WindowRows, pack_filters)
    yield from product.candidates(node, direct_cycles, best, tiles)


def _row_length(shape: ConvShape) -> int:
    """The number of values in a window row."""
    return shape.columns.taps * shape.channels


@dataclass(frozen=True, slots=True)
class _ImageRow:
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
    ) -> _ImageRow:
        """The part of a row that these pixels of a tile read."""
        pixel_stride = shape.columns.stride * shape.x.strides[2]
        return cls(tuple(pixel * pixel_stride for pixel in pixels), length, schedule.k_step)

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


# The following constants of the cost model are issue slots. For several values of a constant, each
# comment gives the error of the predictions: the mean difference from modelled cycles over all
# schedules of 15 layers, by `tests/benchmarks/predictions.py --first-layers --schedules`. Some also
# give the loss: how much slower the chosen schedules are than the fastest ones.
_TILE_SLOTS = 16
"""The cost of a tile's pointers, tests of edges and counters. Error on pi3_64 0: 7.9 %,
8: 6.8 %, 16: 6.0 %, 32: 5.5 %; on pi3 0: 13.5 %, 16: 10.3 %. Loss on pi3_64 16: 1.3 %, 32: 1.9 %.
"""
_STEP_SLOTS = 6.0
"""How long the first load of a step waits for multiply-adds, if loads can take offsets. On pi3_64,
for a row of a 3x3 window of 3 channels, an 8x8 tile has 198 instructions in three steps and takes
215 modelled cycles. Error on pi3_64 0: 13.2 %, 3: 9.1 %, 6: 6.0 %, 12: 7.7 %."""
_LOAD_SLOTS = 1.5
"""How long every load of weights waits if loads cannot take offsets (32-bit Arm). LLVM moves such
loads between the multiply-adds. Error on pi3 0: 21.2 %, 0.75: 15.8 %, 1.5: 10.3 %, 3: 4.6 %. Loss
on pi3 0.75: 5.6 %, 1.5 and 3: 0.2 %, as both choose the same schedules. But with 3, and
2.25 for loads of the matrix product, MobileNet V1 0.25 224 took 5 % more cycles on pi3: its first
layer alone 3.84 million, where the matrix product takes 2.32."""
_LINE_SLOTS = 4.0
"""The additional cost of a pixel if a block of filters has one vector instead of two: a cache line
of results is then written in twice as many pieces. Error on pi3 0: 13.8 %, 4: 10.3 %, 8: 9.5 %.
Loss on pi3 0: 1.6 %, 4: 0.2 %, 8: 6.3 %; on pi3_64 0: 1.1 %, 4: 1.3 %, 8: 1.9 %."""


def direct_cycles(
    target: Target, shape: ConvShape, schedule: GemmSchedule, types: ProductTypes
) -> float:
    """Issue slots of a kernel: multiply-adds, loads of weights and of the image row, overhead.

    The last block of filters has instructions only for vectors that contain filters.
    """
    images, rows, _, _ = shape.walk
    blocks, rest = divmod(shape.filters, schedule.block)
    cycles = blocks * _row_cycles(target, shape, schedule)
    if rest:
        cycles += _row_cycles(target, shape, replace(schedule, vectors=-(-rest // schedule.lanes)))
    return images * rows * cycles


def _row_cycles(target: Target, shape: ConvShape, schedule: GemmSchedule) -> float:
    """Issue slots of one row of results, for one block of filters."""
    return sum(
        tiles.count * _tile_cycles(target, shape, schedule, tiles)
        for tiles in column_tiles(shape.columns, schedule.pixels)
    )


def _tile_cycles(target: Target, shape: ConvShape, schedule: GemmSchedule, tiles: Tiles) -> float:
    """Issue slots of one tile.

    Values that do not fit in the registers are spilled and reloaded for every value of a window
    row.
    """
    load, sums = target.core.load_cycles, tiles.size * schedule.vectors
    loads_stay_together = target.isa.vector_loads_take_offsets
    weight = load if loads_stay_together else load + _LOAD_SLOTS
    cycles = 0.0
    for (first, end), pixels in tiles.tap_groups():
        row = _ImageRow.of(shape, schedule, (end - first) * shape.channels, pixels)
        used, steps = row.vector_steps().values(), range(-(-row.length // row.step))
        most = max(sum(a <= step <= z for a, z in used) for step in steps)
        values = -(-most * row.width // schedule.lanes)
        registers = sums + values + schedule.vectors * schedule.k_step
        spilled = max(0, registers - target.vector_registers)
        products = len(pixels) * schedule.vectors
        cycles += row.length * (products + schedule.vectors * weight + spilled * (load + 1))
        cycles += len(used) * load + len(steps) * (_STEP_SLOTS if loads_stay_together else 0.0)
    is_narrow = schedule.vectors == 1 and shape.filters > schedule.lanes
    stores = 2 * sums + (tiles.size * _LINE_SLOTS if is_narrow else 0.0)
    return cycles * shape.rows.taps + stores + _TILE_SLOTS


class _WindowRows(Products):
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
        row = _ImageRow.of(self._shape, schedule, length, pixels)
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
