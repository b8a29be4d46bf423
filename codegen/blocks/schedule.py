"""Schedules of implicit matrix products: tiles and bands, and the rules that choose them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target

_MOST_PIXELS = 14
"""The most pixels of a tile. 14 divides the rows of common networks: 14, 28, 56, 112 pixels."""
_MOST_WIDE_PIXELS = 8
"""The same limit for vectors of 64 bytes. On an AMD EPYC with AVX-512, MobileNet V1 0.25 224 takes
402 us with 14 pixels and 357 us with 8 in floats, 421 and 423 us in 8 bits. With 8 pixels, the code
of an 8-bit face detector is smaller by 150 KB and takes 3 % longer. Tiles of one vector may have 14
pixels, because 8 sums do not hide the latency of the loop: 56x56, 64 -> 16 channels, 8 pixels 28.4
us, 14 24.9; 112x112, 32 -> 16, 55.6 and 51.3."""
_PIXEL_VECTORS, _FEW_PIXEL_VECTORS = 8, 4
"""The most vectors of a tile with one pixel, for 32 registers and for fewer. Thousand modelled
cycles by `tests/benchmarks/constants.py`, 64 -> 256 channels: pi3_64 2: 30.2, 4: 21.2, 6: 18.8,
8: 17.2, 12: 16.8; pi3 1: 36.4, 2: 28.4, 4: 20.2, 6: 20.4, 8: 22.7."""
_WEIGHT_EIGHTHS, _L1_EIGHTHS = 4, 6
"""How much of the first-level cache all weights may fill if bands are chosen for this cache, and
how much weights and a band may fill together, both in eighths. Thousand modelled cycles by the same
script for `_L1_EIGHTHS` on pi3_64: 1x1, 64 channels, 28x28 3: 1,333, 4: 1,333, 6: 1,388; 1x1,
16 -> 96, 56x56 1: 2,460, 3: 2,460, 4: 2,550, 6: 2,597; 8-bit 1x1, 64, 28x28 1: 1,183, 3: 1,127,
6: 1,131. On an AMD EPYC, 1 to 8 take the same time (within 1 %). But whole networks, whose images
are in the caches already, take 1 % more with 3 than with 6 (`run.py model`, keyword spotting):
1,320 and 1,307, on pi3 1,760 and 1,735."""
_L2_TENTHS = 7
"""How many tenths of the second-level cache rows and weights may fill; other programs and the stack
need the rest. Million modelled cycles on pi3_64: 1x1, 256 channels, 28x28 5: 25.6, 6 to 10: 24.1;
3x3, 192, 14x14 3: 31.1, 5: 29.1, 7 to 10: 28.1; 3x3, 128, 28x28 5: 51.4, 6 to 10: 51.0."""


def most_pixels(target: Target) -> int:
    """The most pixels that a tile may have on this target."""
    return _MOST_WIDE_PIXELS if target.vector_bytes >= 64 else _MOST_PIXELS


LINE_BYTES = 64
"""The size of a cache line. Where lines are shorter, kernels prefetch only every other line."""

Order = Literal["", "blocks", "panels"]
"""The order of loops: low bands or one band, both with prefetches (`kernels.loop_orders`)."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """How far ahead of its loads a tile prefetches.

    The innermost loop prefetches the image values that lie `image_tiles` tiles and `image_bytes`
    bytes after those that it loads, and the weights that lie `weight_bytes` bytes after. It leaves
    out what has a distance of 0.
    """

    image_tiles: int = 0
    image_bytes: int = 0
    weight_bytes: int = 0


NOTHING_AHEAD = Ahead()
_MOST_ROWS_AHEAD = 8


@dataclass(frozen=True, slots=True)
class GemmSchedule:
    """The register tile of an implicit matrix product, and the height of its bands.

    A tile has `pixels` x (`vectors` * `lanes`) accumulators. A step of the innermost loop covers
    `k_step` channels. With `by_lane` it loads them as one vector for each pixel, and multiplies by
    single lanes of the vector (fmla by element); otherwise it loads and broadcasts each value. With
    `weights_first` a step loads all its weights before it multiplies: on an in-order core, loads
    between multiply-adds cost more than the additional registers. A trip of the innermost loop has
    `unroll` steps. A band of `band_rows` output rows is finished for all filters before the next
    band starts. `order` names the rule by which this number was chosen, if bands are chosen before
    the kernel is written.
    """

    pixels: int
    vectors: int
    lanes: int
    k_step: int
    by_lane: bool
    band_rows: int
    weights_first: bool = False
    order: Order = ""
    unroll: int = 1
    ahead: Ahead = NOTHING_AHEAD

    @property
    def block(self) -> int:
        """The number of filters in one tile."""
        return self.vectors * self.lanes

    @property
    def registers(self) -> int:
        """How many vector registers hold sums, image values of a step, and loaded weights."""
        sums = self.pixels * self.vectors
        values = -(-self.pixels * min(self.k_step, self.lanes) // self.lanes) if self.by_lane else 1
        return sums + values + self.vectors * (self.k_step if self.weights_first else 1)

    @property
    def whole_registers(self) -> int:
        """The same if image values of whole vectors and two rows of weights are there.

        If a tile needs more than there are, only a scheduler of our own can keep it in registers.
        """
        return self.pixels * (self.vectors + 1) + 2 * self.vectors

    @property
    def note(self) -> str:
        """A short name for reports, such as `8x8`."""
        return f"{self.pixels}x{self.block}"


@dataclass(frozen=True, slots=True)
class GemmTraffic:
    """What an implicit matrix product reads and writes; the choice of bands depends on it.

    If it `is_quick`, it would wait for weights that it reads again for each row.
    """

    rows: int
    input_row_bytes: int
    output_row_bytes: int
    weight_bytes: int
    is_quick: bool = False


_BAND_EIGHTHS = 3
"""The part of the first-level cache that a band of a quick product may fill. Modelled on pi3_64,
scheduled products of bytes, 1x1, 256 channels, 14x14: 3.97 multiply-adds in a cycle, with bands of
one row 3.71; MobileNet V2 takes 115.2 million cycles instead of 117.5."""
_SCHEDULED_DEPTH = 16
_WHOLE_SCHEDULED_DEPTH = 8
"""The least products of each sum for which a loop is worth scheduling if registers are few, and the
same if they fill whole vectors. The first layer of a network (112x112x3 -> 32, strides of 2) has 9
for each window row: in 32-bit code it takes 1.78 million modelled cycles with steps of two channels
and 2.13 with steps of four. 1x1, 8 -> 16 channels, 48x48: 0.25 and 0.15 (pi3_64 0.14)."""


def gemm_tile(
    target: Target, total: Elem, pixels: int, filters: int, *, depth: int = 0
) -> GemmSchedule:
    """The usual tile for rows of `pixels` pixels, `filters` filters and sums of type `total`.

    Its bands are one row high. If the innermost loop is a plain loop of products, `depth` is the
    number of products that it adds to each sum.
    """
    if not total.is_float:
        return _integer_tile(target, pixels, filters)
    lanes = target.lanes(total.bytes)
    if total is Elem.F64 and not target.vector_f64:
        lanes = 1
    budget = max(4, target.vector_registers)
    vectors = _vectors(lanes, budget, pixels, filters)
    by_lane = target.lane_fma and lanes in (4, 8) and pixels > 1
    # Eight steps' weights of float16 would take half of the registers.
    weights_first = by_lane and lanes == 4 and budget >= 32
    whole_vectors = (
        weights_first
        or (by_lane and lanes == 8)
        or (by_lane and bool(target.core.scheduler) and _is_deep(depth, lanes))
    )
    most = _pixels(target, budget, vectors, by_lane, whole_vectors=whole_vectors)
    tile, step = min(most, max(1, pixels)), lanes if whole_vectors else 2
    return GemmSchedule(tile, vectors, lanes, step, by_lane, 1, weights_first)


def ordered_tiles(target: Target, total: Elem, filters: int, depth: int) -> Iterator[GemmSchedule]:
    """Every tile that may keep the sums, image values and weights of a step in the registers.

    Tiles of one pixel load and broadcast each of its values. At least one tile fills whole bytes if
    results are bits. Whether the scheduler finds an order for a tile, `kernels.tile_cycles` knows.
    """
    many = 1 << 16
    usual = gemm_tile(target, total, many, many, depth=depth)
    single = gemm_tile(target, total, 1, many)
    for vectors in range(1, max(2, -(-filters // usual.lanes)) + 1):
        one = replace(single, vectors=vectors)
        if one.registers <= target.vector_registers:
            yield one
        # Tiles of more pixels prefetch more lines at once than these cores can fetch.
        most = most_pixels(target) if vectors == 1 else _MOST_ROWS_AHEAD
        if target.vector_registers < 32:
            most = _MOST_POINTERS
        for pixels in range(2, most + 1):
            tile = replace(usual, pixels=pixels, vectors=vectors)
            if _held(target.vector_registers, tile) <= target.vector_registers:
                yield tile


def _is_deep(depth: int, lanes: int) -> bool:
    """Whether a loop over so many products is worth scheduling with few registers."""
    return depth >= (_SCHEDULED_DEPTH if depth % lanes else _WHOLE_SCHEDULED_DEPTH)


_MOST_POINTERS = 5
"""The most pixels of a tile in the 32-bit state: each has a pointer, and core registers are few.
Million modelled cycles on pi3, 1x1, 512 channels, 14x14: 5x8 19.3, 7x4 94.6, compiled by LLVM."""


def _held(registers: int, tile: GemmSchedule) -> int:
    """How many of the vector registers a tile with steps of four channels needs at the same time.

    With 16 registers, half of one for each pixel and two for weights are enough, as halves are
    loaded one by one (`kir.in_order.modulo_halves`).
    """
    if registers >= 32:
        return tile.whole_registers
    return tile.pixels * tile.vectors + -(-tile.pixels // 2) + 2


def gemm_tiles(
    target: Target, usual: GemmSchedule, pixels: int, filters: int
) -> Iterator[GemmSchedule]:
    """Every tile that fits in the registers, with at most `pixels` pixels.

    It also has at most `most_pixels(target)` pixels. Its sums, one row of weights and one vector of
    image values must fit. It has no more vectors than `filters` filters need, and loads operands in
    the same way as the usual tile.
    """
    most_tile_pixels = min(most_pixels(target), pixels)
    for vectors in range(1, -(-filters // usual.lanes) + 1):
        fitting = (target.vector_registers - 1) // vectors - 1
        if fitting < 1:
            return
        for tile_pixels in range(1, min(most_tile_pixels, fitting) + 1):
            yield replace(usual, pixels=tile_pixels, vectors=vectors)


def _integer_tile(target: Target, pixels: int, filters: int) -> GemmSchedule:
    """The usual tile for 32-bit sums. NEON multiplies by single lanes of 8 image values."""
    lanes = target.lanes(4)
    if lanes == 1:
        # Pointers and counters take most of the 13 or so core registers, and leave few for sums.
        return GemmSchedule(min(2, pixels), min(2, filters), 1, 2, False, 1)
    by_lane = target.has("neon")
    vectors = _vectors(lanes, target.vector_registers, pixels, filters)
    budget = target.vector_registers
    if not by_lane:
        tile = _pixels(target, budget, vectors, by_lane)
    else:
        # Each pixel has a register of image values. On 32-bit Arm an instruction can multiply only
        # by lanes of the lower quarter of the register file. Four more registers hold the weights
        # in use and the weights that are being loaded.
        tile = max(1, min(budget // 4, (budget - 4) // (vectors + 1)))
    return GemmSchedule(min(tile, max(1, pixels)), vectors, lanes, 8 if by_lane else 2, by_lane, 1)


def band_rows(traffic: GemmTraffic, blocks: int, target: Target) -> int:
    """The number of rows in a band.

    If all weights fit in half of the first-level cache, a band is as large as possible so that it
    and all weights fill at most three quarters of that cache. Memory is then read and written once,
    in order.

    If a quick product has more weights than that, but all of it fits in the second-level cache, a
    band and its results fill a part of the first-level cache, so that weights are read seldom.

    Otherwise, of the sizes 1, 2, 4, .. and all rows, the band is chosen for which the fewest bytes
    are moved between memory and the part of the second-level cache that may be filled. If a band,
    its results and all weights fit in that cache, everything is moved once. If only a band and the
    weights of one block fit, all weights are moved once per band. If not even these fit, input and
    results are moved once per block of filters.

    If several sizes move equally many bytes, the largest is taken, because it reads the weights
    least often. But if all weights stay in the cache, the smallest is taken, because blocks that
    share a cache line of results then follow each other closely.
    """
    row_bytes = traffic.input_row_bytes + traffic.output_row_bytes
    if traffic.weight_bytes <= target.l1_bytes * _WEIGHT_EIGHTHS // 8:
        spare = target.l1_bytes * _L1_EIGHTHS // 8 - traffic.weight_bytes
        return max(1, min(traffic.rows, spare // row_bytes))
    usable = (target.l2_bytes or 256 * 1024) * _L2_TENTHS // 10
    if traffic.is_quick and traffic.rows * row_bytes + traffic.weight_bytes <= usable:
        spare = target.l1_bytes * _BAND_EIGHTHS // 8
        return max(1, min(traffic.rows, spare // row_bytes))
    best = (0, 0)
    band = 1
    while True:
        bands = -(-traffic.rows // band)
        working = band * row_bytes
        once = traffic.rows * row_bytes
        resident = working + traffic.weight_bytes <= usable
        if resident:
            moved = once + traffic.weight_bytes
        elif working + traffic.weight_bytes // blocks <= usable:
            moved = once + bands * traffic.weight_bytes
        else:
            moved = once * blocks + traffic.weight_bytes
        if best[1] == 0 or moved < best[0] or (moved == best[0] and not resident):
            best = (moved, band)
        if band >= traffic.rows:
            return best[1]
        band = min(band * 2, traffic.rows)


def _vectors(lanes: int, registers: int, pixels: int, filters: int) -> int:
    """The number of vectors in a tile: at most two, but more for scalars and for a single pixel."""
    needed = -(-filters // lanes)
    if pixels == 1:
        return min(needed, _PIXEL_VECTORS if registers >= 32 else _FEW_PIXEL_VECTORS)
    return min(needed, 4 if lanes == 1 else 2)


def pixel_limit(target: Target, total: Elem, filters: int) -> int:
    """The most pixels that the usual tile for so many filters has, for any length of rows."""
    return gemm_tile(target, total, 1 << 16, filters).pixels


def _pixels(
    target: Target, registers: int, vectors: int, by_lane: bool, *, whole_vectors: bool = False
) -> int:
    """The most pixels whose sums, weights and image values fit in the registers."""
    limit = most_pixels(target) if vectors > 1 else _MOST_PIXELS
    if by_lane and registers >= 32:
        # A step has four channels. It needs a register of image values per pixel, and four rows of
        # weights.
        return max(1, min(limit, (registers - 4 * vectors) // (vectors + 1)))
    if by_lane and whole_vectors:
        # A step has four channels.
        return max(1, min(limit, _MOST_POINTERS))
    if by_lane:
        # A step has two channels. It needs half a register of image values per pixel, and one
        # register of weights at a time. The tile has one pixel fewer than would fit, because the
        # half registers must be in the lower half of the register file.
        return max(1, min(limit, 2 * (registers - 1) // (2 * vectors + 1) - 1))
    spare = vectors + (2 if registers >= 32 else 1)
    return max(1, min(limit, (registers - spare) // vectors))
