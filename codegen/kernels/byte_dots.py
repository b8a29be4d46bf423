"""Convolutions of bytes on NEON as dot products along the channels.

The kernel reads sixteen channels of the image and of the weights at a time. Two multiplications
leave the sum of two products of bytes in each of eight 16-bit lanes; the weights are so small that
this sum cannot overflow. A third instruction adds pairs of these lanes to four 32-bit sums. So
three instructions do sixteen multiply-adds, and no value is broadcast. A tile has one register of
four partial sums for each pixel and filter; the four are added at the end. Weights are packed
`[group][block][kernel row][kernel column][sixteen channels][filter][channel]`. If eight channels
remain, their weights follow in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from ellc.codegen.blocks.candidates import Candidate, kernel
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.schedule import GemmSchedule
from ellc.codegen.blocks.terms import ProductTypes, in_bytes
from ellc.codegen.blocks.window import cut
from ellc.codegen.kernels.convolution import (
    Problem,
    Product,
    ProductArithmetic,
    TileInputs,
    folded,
    has_constant_operands,
    is_scheduled,
    problem_of,
)
from ellc.codegen.kernels.implicit_gemm import ConvShape, TilePixel, TilePosition
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.instructions import INSTRUCTIONS
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.target import Target
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense
from ellc.ir.types import Array

_PIXELS, _FEW_PIXELS = 4, 2
"""The most pixels of the usual tile, for 32 registers and for fewer. Millions of modelled cycles by
`tests/benchmarks/constants.py`, 64 channels, 28x28: pi3_64 1x1 2: 1.20, 3: 1.24, 4: 1.13, 5: 1.17;
3x3 2: 8.35, 3: 8.35, 4: 7.80, 5: 7.63; pi3 1x1 1: 2.35, 2: 1.58, 3: 1.75; 3x3 1: 15.4, 2: 11.0,
3: 13.8."""

_STEP, _HALF = 16, 8  # bytes in a register, and in half a register
_GROUP = 4
"""How many products are interleaved, so that no instruction waits for the result of the previous
one. Millions of modelled cycles for other values of this constant, by
`tests/benchmarks/constants.py`, 64 channels, 28x28:
pi3_64: 1x1 1: 1.73, 2: 1.33, 4: 1.13, 8: 1.15; 3x3 1: 12.9, 2: 9.5, 4: 7.8, 8: 7.8;
pi3: 1x1 2: 1.70, 4: 1.58, 8: 1.75; 3x3 2: 10.3, 4: 11.0, 8: 13.6."""

_SHORTEST_SUM = 40
"""The fewest products in a sum for which this family is offered on targets with 32 registers: for
shorter sums, adding the four partial sums costs too much. Thousands of modelled cycles on pi3_64
with this family : without it, by the same script, 1x1, 64 filters, 28x28:
16 channels 416 : 388, 32 channels 682 : 653, 48 channels 913 : 916."""
_SHORTEST_SCHEDULED = 32
"""The same where ellc schedules the loops. Thousands of modelled cycles of such layers on pi3_64:
16 channels 415 : 388, 24 channels 545 : 522, 32 channels 582 : 655, 48 channels 763 : 917."""
_SCHEDULED_AROUND = 5
"""Cycles of a scheduled tile outside its loop for each register of sums: zeros, the first loads,
the sums of four parts and the epilogue. Modelled, without requantisation's stages of residuals:
1x1, 64 channels, 56x56 take 84 cycles for each tile of 4x4, 128 channels, 28x28 take 89."""


@kernel(IntConv2D, IntDense, name="dots")
def dots(node: PlacedNode) -> Iterator[Candidate]:
    """Candidates if sums of two products fit in 16 bits.

    The number of channels must be a multiple of 8, and sums must not be too short (`is_short`).
    """
    if not has_constant_operands(node) or node.inputs[1].type.shape[-1] % _HALF:
        return
    problem = problem_of(node)
    terms, shape = in_bytes(problem.terms, node.target), problem.shape
    if shape.channels % _HALF or not terms.types.sums_products or is_short(node.target, shape):
        return
    shape = folded(node, shape, pixel_limit(node.target))
    pixels = shape.columns.outputs
    product = Product("dots", Problem(shape, terms), ByteDots, pack_rows)
    usual, others = dot_tile(node.target, pixels), dot_tiles(node.target, pixels)
    yield from product.candidates(node, dots_cycles, usual, others)


def is_short(target: Target, shape: ConvShape) -> bool:
    """Whether adding the four partial sums at the end costs more than this family saves."""
    length = shape.rows.taps * shape.columns.taps * shape.channels
    # With few registers `gemm` is slow for bytes, so this arithmetic is faster even for short sums.
    if target.vector_registers < 32:
        return length < _STEP
    return length < (_SHORTEST_SCHEDULED if is_scheduled(target) else _SHORTEST_SUM)


def dots_cycles(
    target: Target, shape: ConvShape, schedule: GemmSchedule, types: ProductTypes
) -> float:
    """Predicted issue slots of the whole kernel.

    Sixteen channels cost two multiplications, a pairwise addition, and their loads. Each register
    of sums costs two more slots: one to set it to 0, and one to add its four parts at the end.
    Scheduled loops have predicted cycles.
    """
    load = target.core.load_cycles
    sums = schedule.pixels * schedule.block
    product, pairs = (
        INSTRUCTIONS[name].slots(target) for name in ("neon_smlal_8b", "neon_sadalp_8h")
    )
    sixteen = 2 * product + pairs
    once = sums * sixteen + (schedule.pixels + schedule.block) * load
    steps = shape.rows.taps * shape.columns.taps * shape.channels / _STEP
    if is_scheduled(target):
        # Loads are halves beside products or pairs of two; two have no partner.
        flips = schedule.pixels if types.flipped else 0
        once = sums * sixteen + schedule.pixels + schedule.block + 2 + flips
        return shape.tiles(schedule) * (once * steps + _SCHEDULED_AROUND * sums)
    return shape.tiles(schedule) * (once * steps + 2 * sums)


def pixel_limit(target: Target) -> int:
    """The most pixels of the usual tile."""
    return _PIXELS if target.vector_registers >= 32 else _FEW_PIXELS


def dot_tile(target: Target, pixels: int) -> GemmSchedule:
    """The usual tile for rows of `pixels` pixels.

    It has four filters, or eight if it has at most two pixels and the target has 32 registers.
    """
    limit = pixel_limit(target)
    size = cut(pixels, limit).size
    vectors = 2 if target.vector_registers >= 32 and size <= 2 else 1
    return GemmSchedule(size, vectors, 4, _STEP, True, 1)


def dot_tiles(target: Target, pixels: int) -> Iterator[GemmSchedule]:
    """Every tile of 4 or 8 filters whose sums, image values and two weights fit in registers."""
    for vectors in (1, 2):
        for tile_pixels in range(1, pixels + 1):
            tile = GemmSchedule(tile_pixels, vectors, 4, _STEP, True, 1)
            if tile_pixels * (tile.block + 1) + 2 > target.vector_registers:
                break
            yield tile


def pack_rows(weights: Array, groups: int, block: int) -> Array:
    """[F, kh, kw, C] -> [groups, blocks, kh, kw, C * block], with zeros after the last filter."""
    filters, rows, columns, depth = weights.shape
    per_group = filters // groups
    blocks = -(-per_group // block)
    padded = np.zeros((groups, blocks * block, rows, columns, depth), weights.dtype)
    padded[:, :per_group] = weights.reshape(groups, per_group, rows, columns, depth)
    split = padded.reshape(groups, blocks, block, rows, columns, depth)
    outer = (groups, blocks, rows, columns)
    in_steps = depth - depth % _STEP
    steps = split[..., :in_steps].reshape(*split.shape[:-1], in_steps // _STEP, _STEP)
    parts = [np.moveaxis(steps, 2, -2), np.moveaxis(split[..., in_steps:], 2, -2)]
    return np.concatenate([p.reshape(*outer, -1) for p in parts], axis=-1)


class ByteDots(ProductArithmetic):
    """The arithmetic of a tile with `block` registers of four partial sums for each pixel."""

    def __init__(
        self,
        b: KernelBuilder,
        shape: ConvShape,
        schedule: GemmSchedule,
        inputs: TileInputs,
    ) -> None:
        super().__init__(b, shape, schedule, inputs)
        self.sums_of_pixel = schedule.block
        self.stored_at_once = 4 // schedule.vectors
        self.joins_taps = shape.channels % _STEP == 0

    def start(self, position: TilePosition, taps: tuple[int, int]) -> list[Operand]:
        """Zeros; `finish` adds the start values."""
        return [self._b.const(0, VType(Elem.I32, 4))] * self._schedule.block

    def finish(
        self,
        position: TilePosition,
        taps: tuple[int, int],
        sums: list[Operand],
        pixel: TilePixel,
    ) -> list[Operand]:
        """The totals plus the start values, in vectors of four filters."""
        totals = self._neighbours_added(self._neighbours_added(sums))
        if self._table is None:
            return totals
        starts = self._table.values(position, taps, 4)
        return [self._b.add(t, s) for t, s in zip(totals, starts, strict=True)]

    def _neighbours_added(self, sums: list[Operand]) -> list[Operand]:
        """Sums of neighbouring lanes: each pair of vectors becomes one vector."""
        pairs = zip(sums[::2], sums[1::2], strict=True)
        return [self._b.op("pair_sums", self._b.op("join", *pair)) for pair in pairs]

    def depth(
        self,
        sums: list[Operand],
        inside: Operand,
        panel: Operand,
        length: int,
        pixels: Sequence[int],
    ) -> list[Operand]:
        """The sums plus the products of `length` channels: sixteen at a time, then eight."""
        b, block = self._b, self._schedule.block
        loop_end = length - length % _STEP
        with b.loop("k", 0, loop_end, _STEP, carry=sums) as k:
            image_index, weight_index = b.add(inside, k.index), b.add(panel, b.mul(k.index, block))
            k.carry(self._channels(list(k.carried), image_index, weight_index, _STEP, pixels))
        sums = list(k.results)
        if length - loop_end:
            image_index, weight_index = b.add(inside, loop_end), b.add(panel, loop_end * block)
            sums = self._channels(sums, image_index, weight_index, length - loop_end, pixels)
        return sums

    def accumulate(self, weight: Operand, value: Operand, total: Operand) -> Operand:
        """The total plus the products of all lanes.

        The products of the two halves of a register are added in 16 bits first.
        """
        b, halves = self._b, range(0, weight.type.lanes, _HALF)
        product: Operand | None = None
        for start in halves:
            w, x = b.part(weight, start, _HALF), b.part(value, start, _HALF)
            product = self._types.multiply_add(b, w, x, product)
        assert product is not None
        return b.op("add_pairs", total, product)

    def _channels(
        self,
        sums: list[Operand],
        image_index: Operand,
        weight_index: Operand,
        width: int,
        pixels: Sequence[int],
    ) -> list[Operand]:
        """The sums plus the products of `width` channels.

        `_GROUP` products are interleaved. Each weight is loaded one filter before it is needed.
        """
        b, block = self._b, self._schedule.block
        pixel_stride = self._shape.columns.stride * self._shape.x.strides[2]
        weights = [self._weight(weight_index, 0, width)]
        loaded = {p: b.load(self._x, image_index, width, offset=p * pixel_stride) for p in pixels}
        values = {p: self._types.image_factor(b, v) for p, v in loaded.items()}
        uses = [(f, p) for f in range(block) for p in pixels]
        for first in range(0, len(uses), _GROUP):
            group = uses[first : first + _GROUP]
            following = min(block, group[-1][0] + 2)
            weights += [
                self._weight(weight_index, f, width) for f in range(len(weights), following)
            ]
            indices = [p * block + f for f, p in group]
            totals = b.interleaved(
                [
                    partial(self.accumulate, weights[f], values[p], sums[index])
                    for (f, p), index in zip(group, indices, strict=True)
                ]
            )
            for index, total in zip(indices, totals, strict=True):
                sums[index] = total
        return sums

    def _weight(self, weight_index: Operand, filter_: int, width: int) -> Operand:
        """`width` channels of one filter of the block."""
        return self._b.load(self._w, weight_index, width, offset=filter_ * width, align_bytes=_HALF)
