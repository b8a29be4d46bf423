"""Convolutions and dense layers of floats and integers, as an implicit matrix product."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from ellc.codegen.blocks.candidates import Candidate, Prediction, kernel
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.schedule import (
    GemmSchedule,
    gemm_tile,
    gemm_tiles,
    ordered_tiles,
    pixel_limit,
)
from ellc.codegen.blocks.scratch import copy_cycles
from ellc.codegen.blocks.terms import ProductTypes, in_fewest_bytes
from ellc.codegen.blocks.window import Cut, Tiles, column_tiles, cut
from ellc.codegen.kernels.convolution import (
    Problem,
    Product,
    ProductArithmetic,
    TileInputs,
    folded,
    has_constant_operands,
    has_whole_bytes,
    problem_of,
)
from ellc.codegen.kernels.implicit_gemm import ConvShape, TilePixel, TilePosition, pack_filters
from ellc.codegen.kernels.loop_orders import has_loop_orders, long_note, loop_orders, stall_cycles
from ellc.codegen.kernels.tile_cycles import step_cycles, step_slots
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.target import Target
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense


@kernel(Conv2D, IntConv2D, Dense, IntDense, name="gemm")
def gemm(node: PlacedNode) -> Iterator[Candidate]:
    """Candidates for every convolution and every dense layer with constant weights."""
    if not has_constant_operands(node):
        return
    problem = problem_of(node)
    terms = in_fewest_bytes(problem.terms)
    total = terms.types.total
    shape = folded(node, problem.shape, pixel_limit(node.target, total, problem.shape.filters))
    pixels, filters = shape.columns.outputs, shape.filters
    usual = gemm_tile(node.target, total, pixels, filters)
    if has_loop_orders(node.target, total, _depth(problem.shape)) and shape.groups == 1:
        yield from _ordered(node, Problem(problem.shape, terms))
        return
    others = gemm_tiles(node.target, usual, pixels, filters)
    product = Product("gemm", Problem(shape, terms), Products, pack_filters)
    yield from product.candidates(node, gemm_cycles, usual, others)


def _depth(shape: ConvShape) -> int:
    """The products of each sum in the innermost loop; chains do not count."""
    return shape.channels * (shape.columns.taps if shape.consecutive_taps else 1)


def _ordered(node: PlacedNode, problem: Problem) -> Iterator[Candidate]:
    """Candidates with every loop order of every tile.

    The name of a tile means the order with the lowest predicted cost. These candidates come first,
    in the order of their costs. Longer names mean one order, with any number of threads. Tiles
    that cut rows into the same pieces are one candidate with several names.
    """
    target, terms = node.target, problem.terms
    result_bytes = Elem.of(node.result.type.dtype).bytes
    tiles: list[Candidate] = []
    others: list[Candidate] = []
    for shape, same in _tiles(node, problem):
        tile = same[0]
        product = Product("gemm", Problem(shape, terms), Products, pack_filters)
        slots = _slots(target, shape, tile, terms.types)
        costs: list[tuple[float, GemmSchedule]] = []
        for schedule in loop_orders(target, shape, tile, terms.types, node.threads):
            waits = stall_cycles(target, shape, schedule, terms.types, slots, result_bytes)
            costs.append((slots + waits + copy_cycles(shape.x), schedule))
        costs.sort(key=lambda cost: cost[0])
        for place, (cycles, schedule) in enumerate(costs):
            make = partial(product.call, node, schedule)
            named = [replace(schedule, pixels=tile.pixels) for tile in same]
            short, long = [s.note for s in named], [long_note(shape, s) for s in named]
            first, *aliases = long if place else [*short, *long]
            usual = Prediction("gemm", first, cycles, aliases=tuple(aliases))
            made = Candidate(usual, make)
            (others if place else tiles).append(made)
    yield from sorted(tiles, key=lambda c: c.prediction.known_cycles)
    yield from sorted(others, key=lambda c: c.prediction.known_cycles)


def _tiles(node: PlacedNode, problem: Problem) -> Iterable[tuple[ConvShape, list[GemmSchedule]]]:
    """The folded shape for each tile, with all tiles that cut its rows into the same pieces."""
    target, types = node.target, problem.terms.types
    found: dict[tuple[Cut, GemmSchedule], tuple[ConvShape, list[GemmSchedule]]] = {}
    depth = _depth(problem.shape)
    for tile in ordered_tiles(target, types.total, problem.shape.filters, depth):
        shape = folded(node, problem.shape, tile.pixels, short=True)
        if shape.columns.outputs < tile.pixels or not has_whole_bytes(node.result.type.dtype, tile):
            continue
        if tile.whole_registers > target.vector_registers and not step_cycles(target, tile):
            # LLVM would spill values of a tile that fills all registers.
            continue
        pieces = (cut(shape.columns.outputs, tile.pixels), replace(tile, pixels=0))
        found.setdefault(pieces, (shape, []))[1].append(tile)
    return found.values()


def _slots(target: Target, shape: ConvShape, tile: GemmSchedule, types: ProductTypes) -> float:
    """As `gemm_cycles`, with the sizes of the tiles into which rows are really cut."""
    taps = shape.rows.mean_taps
    row = sum(
        t.count * _tile_cycles(target, shape, replace(tile, pixels=t.size), types, (t, taps))
        for t in column_tiles(shape.columns, tile.pixels)
    )
    images, rows, _, _ = shape.walk
    return row * images * rows * -(-shape.filters // tile.block)


OVERHEAD_SLOTS = 32
"""Issue slots that each tile, and each of its runs of consecutive taps, spends on pointers, tests
of edges and counters. With 8 slots the planner chose this family for seven small grouped layers on
a Raspberry Pi 3 for which depthwise kernels take only 0.4 to 0.9 of the modelled cycles
(`tests/benchmarks/predictions.py --target pi3`)."""


_LOAD_WAIT = 6
"""How long each step of a tile that broadcasts values waits for its loads on an in-order core.
Modelled cycles of a step on pi3_64 and issue slots: 1x8 13.8 and 8, 1x16 20.0 and 14, 1x32 32.5 and
26."""


def gemm_cycles(
    target: Target, shape: ConvShape, schedule: GemmSchedule, types: ProductTypes
) -> float:
    """Issue slots of a kernel: multiply-adds, loads, widening of integers, and overhead of loops.

    A step of a tile adds the products for one channel of one tap. It executes `pixels * vectors`
    multiply-adds, loads the block's weights, and loads one value of each pixel. With `by_lane`, one
    vector of each pixel is loaded instead, once in `k_step` steps. A load costs `Core.load_cycles`.
    Values that do not fit in the registers are spilled and reloaded in every step. Each sum is
    initialised once and stored once. Each tile, and each of its runs of taps that are consecutive
    in memory, costs `OVERHEAD_SLOTS`. If ellc schedules the innermost loop, its length is known;
    the values of a run that fill no step are then broadcast one by one.
    """
    taps = ((0, shape.columns.taps),) * schedule.pixels
    inside = Tiles(0, schedule.pixels, 1, taps)
    rows = shape.rows.taps
    return shape.tiles(schedule) * _tile_cycles(target, shape, schedule, types, (inside, rows))


def _tile_cycles(
    target: Target,
    shape: ConvShape,
    schedule: GemmSchedule,
    types: ProductTypes,
    read: tuple[Tiles, float],
) -> float:
    """The issue slots of one tile that reads the taps of `Tiles`, and so many window rows.

    See `gemm_cycles`.
    """
    tiles, window_rows = read
    runs = cycles = 0.0
    for (first, end), pixels in tiles.tap_groups():
        length, parts = shape.channels, end - first
        if shape.consecutive_taps:
            length, parts = length * parts, 1
        runs += parts
        cycles += parts * _run_cycles(target, schedule, types, len(pixels), length)
    sums = schedule.pixels * schedule.vectors
    return window_rows * cycles + 2 * sums + OVERHEAD_SLOTS * (window_rows * runs + 1)


def _run_cycles(
    target: Target, schedule: GemmSchedule, types: ProductTypes, pixels: int, length: int
) -> float:
    """The issue slots in which a tile adds the products of `length` values of some pixels."""
    load = target.core.load_cycles
    weight = load + types.widening_slots(target)
    value = load + (1.0 if types.image is not types.factor else 0.0)
    values = pixels / (schedule.k_step if schedule.by_lane else 1)
    sums = pixels * schedule.vectors
    once = sums + schedule.vectors * weight + values * value
    if target.core.memory is not None and not schedule.by_lane:
        once += _LOAD_WAIT
    once += max(0, schedule.registers - target.vector_registers) * (load + 1)
    scheduled = step_slots(target, replace(schedule, pixels=pixels))
    if not scheduled or length < 2 * schedule.k_step:
        return once * length
    rest = length % schedule.k_step
    single = sums + schedule.vectors * weight + pixels * value + _LOAD_WAIT
    return (length - rest) // schedule.k_step * scheduled + rest * single


CHAIN = 256
"""The most float products that are added one after the other before their sum is added to a total,
except that a window row of fewer than twice as many products is not split. The rounding error of
such a chain grows with its length. With this limit the error of any sum is close to that of numpy's
sum. Each chain costs one addition, one load and one store."""
HALF_CHAIN = 128
"""The same for float16. Largest error of a layer relative to its largest result, of 3x3 and 1x1
layers with 512 to 4,608 products of random numbers: 32: 0.0022, 64: 0.0024, 128: 0.0022, 256:
0.0024, one chain: 0.0085. Rounding results to float16 alone gives 0.0005."""


class Products(ProductArithmetic):
    """Adds products to one register of sums for each pixel and each vector of filters.

    Sums of more than `CHAIN` float products are split into chains: a chain covers one or several
    window rows, or a part of one row if rows have at least `2 * CHAIN` products.
    """

    def __init__(
        self,
        b: KernelBuilder,
        shape: ConvShape,
        schedule: GemmSchedule,
        inputs: TileInputs,
    ) -> None:
        super().__init__(b, shape, schedule, inputs)
        types = inputs.types
        loads_half_registers = types.factor is Elem.I16 and schedule.block % 8 == 0
        # Eight bytes are half a register, and fill a register when they are widened to 16 bits.
        self.weights_at_once = 8 if loads_half_registers else 0
        self.stored_at_once = types.stored_at_once
        self._chain = HALF_CHAIN if types.total is Elem.F16 else CHAIN
        row = shape.columns.taps * shape.channels
        # A window row that is shorter than two chains is not split, because the loops of tiles at
        # edges are already short.
        self._in_parts = types.total.is_float and row >= 2 * self._chain
        # Parts of several taps would begin elsewhere in windows over an edge, and beside them.
        self.joins_taps = shape.columns.taps == 1 or not self._in_parts
        needs_chains = types.total.is_float and row * shape.rows.taps > self._chain
        if needs_chains and not self._in_parts and shape.rows.taps > 1:
            self.rows_at_once = max(1, self._chain // row)

    def start(self, position: TilePosition, taps: tuple[int, int]) -> list[Operand]:
        """The start values from the table (bias, contributions of taps outside the image), or 0."""
        if self._table is None:
            zero = self._b.const(0, VType(self._types.total, self._schedule.lanes))
            return [zero] * self._schedule.vectors
        return self._table.values(position, taps, self._schedule.lanes)

    def finish(
        self,
        position: TilePosition,
        taps: tuple[int, int],
        sums: list[Operand],
        pixel: TilePixel,
    ) -> list[Operand]:
        """The sums, joined in pairs if two of them fill a register after they are narrowed."""
        if self.weights_at_once != 2 * self._schedule.lanes:
            return sums
        return [self._b.op("join", *pair) for pair in zip(sums[::2], sums[1::2], strict=True)]

    def depth(
        self,
        sums: list[Operand],
        inside: Operand,
        panel: Operand,
        length: int,
        pixels: Sequence[int],
    ) -> list[Operand]:
        """The sums plus the products of `length` values, in chains if a window row is long."""
        if not self._in_parts:
            return self.inner_loop(sums, inside, panel, length, pixels)
        b, block = self._b, self._schedule.block
        pieces = cut(length, self._chain)
        loop_end = pieces.count * pieces.size
        with b.loop("part", 0, loop_end, pieces.size, carry=sums) as part:
            image_index, weight_index = (
                b.add(inside, part.index),
                b.add(panel, b.mul(part.index, block)),
            )
            part.carry(
                self._added(list(part.carried), image_index, weight_index, pieces.size, pixels)
            )
        sums = list(part.results)
        if pieces.rest:
            image_index, weight_index = b.add(inside, loop_end), b.add(panel, loop_end * block)
            sums = self._added(sums, image_index, weight_index, pieces.rest, pixels)
        return sums

    def _added(
        self,
        sums: list[Operand],
        image_index: Operand,
        weight_index: Operand,
        length: int,
        pixels: Sequence[int],
    ) -> list[Operand]:
        """The sums plus the products of `length` values, which are first summed from 0."""
        zeros: list[Operand] = [self._b.const(0, s) for s in sums]
        part_sums = self.inner_loop(zeros, image_index, weight_index, length, pixels)
        vectors = self._schedule.vectors
        of_pixels = {p * vectors + v for p in pixels for v in range(vectors)}
        return [
            self._b.add(s, part_sum) if i in of_pixels else s
            for i, (s, part_sum) in enumerate(zip(sums, part_sums, strict=True))
        ]

    def image_factor(self, value: Operand) -> Operand:
        """Image values, converted to the element type of factors."""
        return self._types.image_factor(self._b, value)

    def weight_factor(self, weight: Operand) -> Operand:
        """Weights, converted to the element type of factors."""
        return self._types.weight_factor(self._b, weight)

    def accumulate(self, weight: Operand, value: Operand, total: Operand) -> Operand:
        """`total + weight * value`."""
        return self._types.multiply_add(self._b, weight, value, total)
