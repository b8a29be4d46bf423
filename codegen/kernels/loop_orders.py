"""Loop orders of implicit matrix products on cores that execute in order, and what they wait for.

Such a core waits for every cache line that has not arrived. The height of the bands decides which
lines are read again and again. In low bands (`blocks`), the inputs of a band stay in the caches
while all weights pass by. In one band of all rows (`panels`), the weights of one block of filters
stay there while the image passes by. In both orders, the innermost loop prefetches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import exp, gcd, hypot

from ellc.codegen.blocks.schedule import LINE_BYTES, Ahead, GemmSchedule, gemm_tile
from ellc.codegen.blocks.terms import ProductTypes
from ellc.codegen.kernels.implicit_gemm import ConvShape, split_bands
from ellc.codegen.kernels.tile_cycles import step_cycles
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target

_USABLE = 0.75
"""The part of a cache that a kernel can fill before lines that it still needs are replaced. The
caches of these cores replace lines at random."""
_WEIGHTS_AHEAD_BYTES, _IMAGE_AHEAD_BYTES = 512, 128
"""How far ahead a tile prefetches weights, and image values if it does not prefetch those of the
next tile. Thousand modelled cycles on pi3_64, 1x1, 7x7, 1,024 -> 1,024: image 0 26,849, 64: 19,459,
128: 18,744. Before ellc scheduled loops, 14x14, 512 -> 512, in one band: without prefetches 32,980;
weights 512, image 0: 31,820, 64: 24,173, next tile: 26,390. 56x56, 64 -> 128, in low bands:
without 12,010; weights 256, image 0: 11,929, next tile: 11,450; weights 512: 11,435."""
_LINES_AHEAD = 13
"""With a single pixel, the weights of a trip and the prefetches before them are one burst. So many
lines may be on their way: 8 fills, and 5 that the Cortex-A53 fetches by itself. Further prefetches
are dropped, and their lines are fetched only when they are loaded. Thousand modelled cycles on
pi3_64, 1024 numbers -> 1000 results, bytes ahead: 1x32 (4 lines in a trip) 512: 2,173, 640: 2,968;
1x48 (6) 448: 2,175, 512: 2,642; 1x56 (7) 384: 2,143, 448: 3,063."""
_IN_TIME, _LATE_LINE = 12, 12.0
"""So many lines on their way come in time, and how long a trip waits for each further one. Thousand
modelled cycles on pi3_64 in networks, 512 numbers -> 1000 results, 1x20 (10.5 lines) 1,062, 1x28
(11.5) 1,070, 1x36 (12.5) 1,104, 1x40 (13) 1,157; 1280 numbers, 1x28 2,714, 1x36 2,801."""

_MOST_AGAIN = 8
"""After so many tiles, nearly all lines of a block are in the second-level cache."""

_PART_CYCLES = 30
"""What the start of a band for one block of filters takes: two divisions and a few addresses."""


def has_loop_orders(target: Target, total: Elem, depth: int) -> bool:
    """Whether `loop_orders` has orders for sums of this type, of `depth` products in a loop.

    It needs the costs of cache lines, and tiles whose steps are whole vectors of channels.
    """
    many = 1 << 16
    tile = gemm_tile(target, total, many, many, depth=depth)
    return target.core.memory is not None and tile.by_lane and tile.k_step == tile.lanes


def loop_orders(
    target: Target, shape: ConvShape, tile: GemmSchedule, types: ProductTypes, threads: int
) -> Iterator[GemmSchedule]:
    """The tile in bands of 1, 2, 4, .. rows, and in one band of all rows."""
    rows = shape.rows.outputs
    band = 1
    while band < rows:
        yield _ahead(target, shape, replace(tile, band_rows=band, order="blocks"), types)
        band *= 2
    whole = replace(tile, band_rows=rows, order="panels")
    yield _ahead(target, shape, split_bands(whole, shape, threads), types)


def long_note(shape: ConvShape, schedule: GemmSchedule) -> str:
    """A name that also tells the order, such as `8x8b4`: the rows of a band of a single thread."""
    rows = shape.rows.outputs if schedule.order == "panels" else schedule.band_rows
    return f"{schedule.note}b{rows}"


def _ahead(
    target: Target, shape: ConvShape, schedule: GemmSchedule, types: ProductTypes
) -> GemmSchedule:
    """The schedule with prefetches, and with trips of one cache line of each pixel.

    If the image values of two tiles and the weights of a block fit in the first-level cache, the
    values of the next tile are prefetched. Otherwise they would be replaced before their use. An
    image of one pixel, as in a dense layer, is read again for every block, and stays in that cache.
    """
    sizes = _sizes(shape, schedule, types, 0)
    fits = 2 * sizes.tile + sizes.panel <= target.l1_bytes
    image = Ahead(image_tiles=1) if fits else Ahead(image_bytes=_IMAGE_AHEAD_BYTES)
    weight_bytes = _WEIGHTS_AHEAD_BYTES
    is_single = shape.rows.outputs * shape.columns.outputs == 1
    if is_single:
        image = Ahead()
        lines = -(-schedule.k_step * schedule.block * types.weight.bytes // LINE_BYTES)
        weight_bytes = min(weight_bytes, max(1, _LINES_AHEAD - lines) * LINE_BYTES)
    unroll = LINE_BYTES // (schedule.k_step * types.image.bytes)
    ahead = replace(image, weight_bytes=weight_bytes)
    if is_single or step_cycles(target, schedule):
        # The scheduler puts prefetches where they take no time, however short the trips are. For a
        # single pixel, prefetches of longer trips run too far ahead, in bursts: 1024 numbers and
        # 1024 results take 3,513 thousand modelled cycles, with short trips 2,183.
        unroll = 1
    return replace(schedule, ahead=ahead, unroll=max(1, unroll))


@dataclass(frozen=True, slots=True)
class _Sizes:
    """The bytes that a kernel and its parts touch, and the numbers of these parts.

    `tile`, `band` and `image` are inputs, `panel` and `weights` the weights of one block and of
    all blocks, `result` and `band_result` the outputs.
    """

    tile: int
    band: int
    image: int
    panel: int
    weights: int
    result: int
    bands: int
    blocks: int
    tiles_of_band: float

    @property
    def band_result(self) -> float:
        return self.result / self.bands


def _sizes(
    shape: ConvShape, schedule: GemmSchedule, types: ProductTypes, result_bytes: int
) -> _Sizes:
    rows, columns = shape.rows, shape.columns
    pixel = shape.channels * types.image.bytes

    def touched(outputs: int, taps: int, stride: int) -> int:
        """How many inputs along an axis so many neighbouring outputs read."""
        return taps + (outputs - 1) * min(stride, taps)

    row = touched(columns.outputs, columns.taps, columns.stride) * pixel
    tile = touched(min(schedule.pixels, columns.outputs), columns.taps, columns.stride) * pixel
    bands = -(-rows.outputs // schedule.band_rows)
    blocks = -(-shape.filters // schedule.block)
    panel = rows.taps * columns.taps * shape.channels * schedule.block * types.weight.bytes
    return _Sizes(
        rows.taps * tile,
        touched(schedule.band_rows, rows.taps, rows.stride) * row,
        touched(rows.outputs, rows.taps, rows.stride) * row,
        panel,
        panel * blocks,
        rows.outputs * columns.outputs * shape.filters * result_bytes,
        bands,
        blocks,
        rows.outputs / bands * -(-columns.outputs // schedule.pixels),
    )


def stall_cycles(
    target: Target,
    shape: ConvShape,
    schedule: GemmSchedule,
    types: ProductTypes,
    slots: float,
    result_bytes: int,
) -> float:
    """The cycles that the loop order costs, if all other instructions take `slots` cycles.

    They are the waits for cache lines and the starts of bands. The image has just been written; the
    weights and the memory of the result are in no cache. Lines from memory arrive while
    instructions run, at most `Core.memory_bytes` in a cycle; where they are as slow as the
    instructions, both wait for each other. If the second cache keeps the weights,
    only the first band fetches them.
    """
    memory = target.core.memory
    if memory is None:
        return 0.0
    s = _sizes(shape, schedule, types, result_bytes)
    l2_bytes = target.l2_bytes * _USABLE
    keeps_weights = s.band + s.band_result + s.weights <= l2_bytes
    fetches = 1 if keeps_weights else s.bands
    inputs = float(s.weights * fetches + s.image * _image_fetches(s, l2_bytes))
    near = max(0.0, _reads(target, s, schedule) - inputs)
    # A line of results is fetched and written back. If it leaves a cache before all blocks in it
    # are written, it comes back.
    block_bytes = schedule.block * result_bytes
    visits = (LINE_BYTES + block_bytes - gcd(LINE_BYTES, block_bytes)) / block_bytes
    returned = s.result * (min(visits, s.blocks) - 1)
    near += returned if s.band + s.panel + s.band_result > target.l1_bytes * _USABLE else 0
    outputs = 2.0 * s.result
    outputs += 2 * returned if s.band + s.panel + s.band_result > l2_bytes else 0
    waits = near / LINE_BYTES * memory.near_wait + _PART_CYCLES * s.bands * s.blocks
    waits += _late_lines(shape, schedule, types)
    weights = s.weights if keeps_weights else s.weights / s.bands * fetches
    image = (inputs - s.weights * fetches) / s.bands
    again = _fetched_again(target, s, schedule)
    for phases, new in ((1, weights), (s.bands - 1, 0.0 if keeps_weights else weights)):
        # The first tiles of the blocks wait for weights that come from memory for the first time.
        tiles = max(1.0, s.tiles_of_band)
        for share, size in ((1 / tiles, new), (1 - 1 / tiles, new * again)):
            stores, size = outputs / s.bands * share, size + image * share
            beyond = (size + stores) / target.core.memory_bytes - slots / s.bands * share
            late = size / LINE_BYTES * memory.far_wait + stores / LINE_BYTES * memory.store_wait
            waits += phases * hypot(max(0.0, beyond), late)
    return waits


def _late_lines(shape: ConvShape, schedule: GemmSchedule, types: ProductTypes) -> float:
    """The waits of a single pixel for weights that a trip does not fetch in time."""
    if shape.rows.outputs * shape.columns.outputs > 1:
        return 0.0
    lines = schedule.k_step * schedule.block * types.weight.bytes / LINE_BYTES
    late = schedule.ahead.weight_bytes / LINE_BYTES + lines - _IN_TIME
    values = shape.rows.taps * shape.columns.taps * shape.channels
    trips = shape.tiles(schedule) * values / schedule.k_step
    return trips * max(0.0, late) * _LATE_LINE


def _fetched_again(target: Target, s: _Sizes, schedule: GemmSchedule) -> float:
    """How often the weights of a block come from memory again, while its other tiles read them.

    Both caches replace lines at random: of the lines of a block, exp(-n) are left in a cache after
    others that fill it n times, here those of the block that come again.
    """
    if s.tile * (1 + schedule.ahead.image_tiles) + s.panel <= target.l1_bytes * _USABLE:
        return 0.0
    filled = s.panel / (target.l2_bytes * _USABLE)
    part, total = 1.0, 0.0
    for _ in range(min(_MOST_AGAIN, round(s.tiles_of_band) - 1)):
        part = 1 - exp(-filled * part)
        total += part
    return total


def _reads(target: Target, s: _Sizes, schedule: GemmSchedule) -> float:
    """The bytes of inputs and weights that come from outside the first-level cache."""
    l1_bytes = target.l1_bytes * _USABLE
    tile = s.tile * (1 + schedule.ahead.image_tiles)
    if tile + s.weights <= l1_bytes:
        weight_reads = 1.0
    elif tile + s.panel <= l1_bytes:
        weight_reads = float(s.bands)
    else:
        weight_reads = s.bands * s.tiles_of_band
    image_reads = 1 if s.band + s.panel <= l1_bytes else s.blocks
    return s.weights * weight_reads + s.image * image_reads


def _image_fetches(s: _Sizes, l2_bytes: float) -> int:
    """How often the image comes from memory."""
    if s.image + s.weights <= l2_bytes:
        return 0
    return 1 if s.band + s.panel + s.band_result <= l2_bytes else s.blocks
