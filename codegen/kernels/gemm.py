"""Convolutions and dense layers of floats and bytes, as an implicit matrix product."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ellc.codegen.blocks.candidates import Candidate, kernel
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.schedule import GemmSchedule, gemm_tile, gemm_tiles, pixel_limit
from ellc.codegen.blocks.terms import Numbers, in_fewest_bytes
from ellc.codegen.blocks.window import cut
from ellc.codegen.kernels.convolution import (
    Problem,
    Product,
    ProductArithmetic,
    TileInputs,
    folded,
    has_constant_operands,
    problem_of,
)
from ellc.codegen.kernels.implicit_gemm import ConvShape, TilePosition, pack_filters
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.target import Target
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense


@kernel(Conv2D, IntConv2D, Dense, IntDense, name="gemm")
def gemm(node: PlacedNode) -> Iterator[Candidate]:
    """Every convolution and every dense layer with constant weights."""
    if not has_constant_operands(node):
        return
    problem = problem_of(node)
    terms = in_fewest_bytes(problem.terms)
    total = terms.numbers.total
    shape = folded(node, problem.shape, pixel_limit(node.target, total))
    pixels, filters = shape.columns.outputs, shape.filters
    usual = gemm_tile(node.target, total, pixels, filters)
    others = gemm_tiles(node.target, usual, pixels, filters)
    product = Product("gemm", Problem(shape, terms), Products, pack_filters)
    yield from product.candidates(node, gemm_cycles, usual, others)


OVERHEAD_SLOTS = 32
"""Slots for pointers, tests of edges and counters of each tile and each of its runs. With 8, this
family was chosen for seven small grouped layers on a Raspberry Pi 3 for which depthwise kernels
need 0.4 to 0.9 of the modelled cycles: `tests/benchmarks/predictions.py --target pi3`."""


def gemm_cycles(
    target: Target, shape: ConvShape, schedule: GemmSchedule, numbers: Numbers
) -> float:
    """Issue slots: multiply-adds, loads, instructions that widen bytes, and overhead of loops.

    A step of a tile over one channel of one tap multiplies `pixels * vectors` registers. It loads
    the block's weights, and for each pixel a value, or a vector of `k_step` of them where lanes
    multiply. A load counts as `Core.load_cycles`. Every sum is started and stored, and every run of
    taps that are consecutive in memory, as every tile, has `OVERHEAD_SLOTS` of its own. What does
    not fit in the registers is stored and loaded again in every step.
    """
    load = target.core.load_cycles
    weight = load + numbers.widening_slots(target)
    value = load + (1.0 if numbers.image is not numbers.factor else 0.0)
    values = schedule.pixels / (schedule.k_step if schedule.by_lane else 1)
    sums = schedule.pixels * schedule.vectors
    once = sums + schedule.vectors * weight + values * value
    once += max(0, schedule.registers - target.vector_registers) * (load + 1)
    taps = shape.rows.taps * shape.columns.taps
    runs = shape.rows.taps if shape.consecutive_taps else taps
    around = 2 * sums + OVERHEAD_SLOTS * (runs + 1)
    return shape.tiles(schedule) * (once * taps * shape.channels + around)


CHAIN = 256
"""The most products that one register sums before it is added to a total. The error of a chain
grows with its length; with this limit the error of any sum is close to numpy's, at the cost of one
addition, one load and one store for each chain."""


class Products(ProductArithmetic):
    """Sums of products: one vector register for each pixel and each vector of filters.

    If there are more than `CHAIN` products of floats, several window rows, or parts of one, are
    summed separately.
    """

    def __init__(
        self,
        b: KernelBuilder,
        shape: ConvShape,
        schedule: GemmSchedule,
        inputs: TileInputs,
    ) -> None:
        super().__init__(b, shape, schedule, inputs)
        numbers = inputs.numbers
        narrow = numbers.factor is Elem.I16 and schedule.block % 8 == 0
        self.weights_at_once = 8 if narrow else 0  # half a register of bytes, a whole one widened
        self.stored_at_once = numbers.stored_at_once
        row = shape.columns.taps * shape.channels
        # A window row of less than two chains is not cut: at edges it already has short loops.
        self._in_parts = numbers.total.is_float and row >= 2 * CHAIN
        long = numbers.total.is_float and row * shape.rows.taps > CHAIN
        if long and not self._in_parts and shape.rows.taps > 1:
            self.rows_at_once = max(1, CHAIN // row)

    def start(self, position: TilePosition, taps: tuple[int, int]) -> list[Operand]:
        """The start values of the table: the bias, and what taps outside would add; or 0."""
        if self._table is None:
            zero = self._b.const(0, VType(self._numbers.total, self._schedule.lanes))
            return [zero] * self._schedule.vectors
        return self._table.values(position, taps, self._schedule.lanes)

    def finish(
        self, position: TilePosition, taps: tuple[int, int], sums: list[Operand]
    ) -> list[Operand]:
        """The sums, joined in pairs if two of them will fill a register when they are narrowed."""
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
        """The sums with the products of `length` values added, in chains if there are many."""
        if not self._in_parts:
            return self.inner_loop(sums, inside, panel, length, pixels)
        b, block = self._b, self._schedule.block
        pieces = cut(length, CHAIN)
        whole = pieces.count * pieces.size
        with b.loop("part", 0, whole, pieces.size, carry=sums) as part:
            image_index, weight_index = (
                b.add(inside, part.index),
                b.add(panel, b.mul(part.index, block)),
            )
            part.carry(
                self._added(list(part.carried), image_index, weight_index, pieces.size, pixels)
            )
        sums = list(part.results)
        if pieces.rest:
            image_index, weight_index = b.add(inside, whole), b.add(panel, whole * block)
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
        """The sums plus new chains of products that start from 0."""
        zeros: list[Operand] = [self._b.const(0, s) for s in sums]
        fresh = self.inner_loop(zeros, image_index, weight_index, length, pixels)
        vectors = self._schedule.vectors
        of_pixels = {p * vectors + v for p in pixels for v in range(vectors)}
        return [
            self._b.add(s, f) if i in of_pixels else s
            for i, (s, f) in enumerate(zip(sums, fresh, strict=True))
        ]

    def image_factor(self, value: Operand) -> Operand:
        """Image values, converted to the type in which they are multiplied."""
        return self._numbers.image_factor(self._b, value)

    def weight_factor(self, weight: Operand) -> Operand:
        """Weights, converted to the type in which they are multiplied."""
        return self._numbers.weight_factor(self._b, weight)

    def accumulate(self, weight: Operand, value: Operand, total: Operand) -> Operand:
        """One multiply-add."""
        return self._numbers.multiply_add(self._b, weight, value, total)
