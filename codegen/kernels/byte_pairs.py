"""Convolutions of bytes on NEON by two neighbouring channels, for cores whose loops ellc schedules.

A register has two channels of a pixel, four times, and then the next two channels, four times. The
weights of the same channels of four filters have the same order. As in `byte_dots`, two
multiplications leave sums of two products in eight 16-bit lanes, and a third instruction adds pairs
of these lanes to four 32-bit sums. But these are the sums of four filters, not four parts of one:
nothing is added at the end, a tile has four times as many results, and sums start from the bias. In
return, two or three instructions repeat eight channels of a pixel. Weights are packed
`[group][block][kernel row][kernel column][four channels][four filters][pair][filter][channel]`.

Thousands of modelled cycles on pi3_64 of 1x1 layers with the best other family (before the colon)
and with this one: 16 -> 96, 56x56 2,251 : 1,770; 24 -> 144, 28x28 1,148 : 875; 64 -> 64, 28x28
961 : 857; 96 -> 24, 56x56 2,010 : 1,988.
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
from ellc.codegen.kernels.byte_dots import ByteDots
from ellc.codegen.kernels.convolution import (
    Problem,
    Product,
    TileInputs,
    folded,
    has_constant_operands,
    is_scheduled,
    problem_of,
)
from ellc.codegen.kernels.implicit_gemm import ConvShape, TilePixel, TilePosition, pack_filters
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.target import Target
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense
from ellc.ir.types import Array

_STEP = 8  # channels in a trip of the innermost loop: they fill half a register
_FOUR, _PAIR, _LANES, _VECTOR = 4, 2, 4, 16
PIXELS, _VECTORS = 4, 4
"""The pixels and the vectors of filters of the usual tile. Its sums fill 16 of 32 registers; the
others hold weights of four channels, image values, and products. Thousands of modelled cycles of
64 -> 64 channels, 28x28: 4x16 857, 3x16 939, 2x24 1,007."""
_MOST_SUMS = 16
_LOST = 1.04
"""Cycles of a trip that its instructions do not fill, as a factor: 4x16 takes 120 cycles, 126 if
the image has no sign, and its instructions 116 and 122."""
_AROUND = 2.4
"""Cycles of a scheduled tile outside its loop for each result: its start, its stages, its store. A
tile of 4x16 had 152 of them before results were narrowed together. It now has about 104 if all
filters have the same shift and negative results are clamped, else about 135. With 1.8 the planner
would take this family for 576 -> 96 channels, 14x14, with a residual: 2,896 thousand modelled
cycles instead of the 2,839 of `centred_dots`."""


@kernel(IntConv2D, IntDense, name="byte_pairs")
def byte_pairs(node: PlacedNode) -> Iterator[Candidate]:
    """Candidates if sums of two products fit in 16 bits, on cores whose loops ellc schedules.

    The number of channels must be a multiple of 8.
    """
    if not is_scheduled(node.target) or not has_constant_operands(node):
        return
    if node.inputs[1].type.shape[-1] % _STEP:
        return
    problem = problem_of(node)
    terms, shape = in_bytes(problem.terms, node.target), problem.shape
    if shape.channels % _STEP or not terms.types.sums_products:
        return
    shape = folded(node, shape, PIXELS)
    product = Product("byte_pairs", Problem(shape, terms), BytePairs, pack_fours)
    yield from product.candidates(node, pairs_cycles, pair_tile(shape), pair_tiles(shape))


def pairs_cycles(
    target: Target, shape: ConvShape, schedule: GemmSchedule, types: ProductTypes
) -> float:
    """Predicted cycles of the whole kernel.

    Eight channels cost each vector of filters of each pixel four multiplications and two pairwise
    additions. Each pixel takes two instructions to repeat them, three if their sign is flipped,
    and half a load; halves of loads issue in pairs, beside products. Weights are loaded once for
    all pixels.
    """
    flips = 1.5 if types.flipped else 0.0
    once = schedule.pixels * (6 * schedule.vectors + 2.5 + flips)
    once += _STEP * schedule.block / _VECTOR + 2
    steps = shape.rows.taps * shape.columns.taps * shape.channels / _STEP
    around = _AROUND * schedule.pixels * schedule.block
    return shape.tiles(schedule) * (_LOST * once * steps + around)


def pair_tile(shape: ConvShape) -> GemmSchedule:
    """The usual tile for these pixels and filters; it has more filters if it has few pixels."""
    pixels = cut(shape.columns.outputs, PIXELS).size
    if shape.filters <= 2 * _LANES:
        return _tile(pixels, 2)
    return _tile(pixels, _VECTORS if pixels > 2 else _VECTORS + 2)


def pair_tiles(shape: ConvShape) -> Iterator[GemmSchedule]:
    """Every tile of whole registers of weights whose sums leave room for the other values."""
    for vectors in (2, _VECTORS, _VECTORS + 2):
        for pixels in range(1, min(shape.columns.outputs, _MOST_SUMS // vectors) + 1):
            yield _tile(pixels, vectors)


def _tile(pixels: int, vectors: int) -> GemmSchedule:
    return GemmSchedule(pixels, vectors, _LANES, _STEP, True, 1)


def pack_fours(weights: Array, groups: int, block: int) -> Array:
    """[F, kh, kw, C] -> [groups, blocks, kh, kw, C / 4, block / 4, 2, 4, 2].

    The last three axes are pairs of channels, filters, and channels of a pair. Zeros follow the
    last filter.
    """
    packed = pack_filters(weights, groups, block)
    *outer, depth, _ = packed.shape
    split = packed.reshape(*outer, depth // _FOUR, _PAIR, _PAIR, block // _LANES, _LANES)
    # The last axes were: four channels, pair, channel, four filters, filter.
    axes = [len(outer) + axis for axis in (0, 3, 1, 4, 2)]
    return np.asarray(split.transpose(*range(len(outer)), *axes), order="C")


class BytePairs(ByteDots):
    """The arithmetic of a tile with a register of sums for each pixel and four filters."""

    def __init__(
        self,
        b: KernelBuilder,
        shape: ConvShape,
        schedule: GemmSchedule,
        inputs: TileInputs,
    ) -> None:
        super().__init__(b, shape, schedule, inputs)
        self.sums_of_pixel = schedule.vectors
        # The stages' constants for four filters are loaded once for all pixels.
        self.stored_at_once, self.vectors_at_once = (
            schedule.pixels,
            max(1, PIXELS // schedule.pixels),
        )
        self.joins_taps = True

    def start(self, position: TilePosition, taps: tuple[int, int]) -> list[Operand]:
        """The start values of the filters, or zeros."""
        if self._table is None:
            return [self._b.const(0, VType(Elem.I32, _LANES))] * self._schedule.vectors
        return self._table.values(position, taps, _LANES)

    def finish(
        self,
        position: TilePosition,
        taps: tuple[int, int],
        sums: list[Operand],
        pixel: TilePixel,
    ) -> list[Operand]:
        """The sums."""
        return sums

    def depth(
        self,
        sums: list[Operand],
        inside: Operand,
        panel: Operand,
        length: int,
        pixels: Sequence[int],
    ) -> list[Operand]:
        """The sums plus the products of `length` channels, eight at a time."""
        b, block = self._b, self._schedule.block
        with b.loop("k", 0, length, _STEP, carry=sums) as k:
            image_index, weight_index = b.add(inside, k.index), b.add(panel, b.mul(k.index, block))
            k.carry(self._eight(list(k.carried), image_index, weight_index, pixels))
        return list(k.results)

    def _eight(
        self,
        sums: list[Operand],
        image_index: Operand,
        weight_index: Operand,
        pixels: Sequence[int],
    ) -> list[Operand]:
        """The sums plus the products of eight channels of the pixels."""
        b, block, vectors = self._b, self._schedule.block, self._schedule.vectors
        pixel_stride = self._shape.columns.stride * self._shape.x.strides[2]
        loaded = {p: b.load(self._x, image_index, _STEP, offset=p * pixel_stride) for p in pixels}
        values = {p: self._types.image_factor(b, v) for p, v in loaded.items()}
        for first in range(0, _STEP, _FOUR):
            weights = [
                b.load(self._w, weight_index, _VECTOR, offset=at, align_bytes=_VECTOR)
                for at in range(first * block, (first + _FOUR) * block, _VECTOR)
            ]
            for pixel in pixels:
                value = self._repeated(values[pixel], first)
                places = range(pixel * vectors, (pixel + 1) * vectors)
                totals = b.interleaved(
                    [
                        partial(self.accumulate, weight, value, sums[place])
                        for weight, place in zip(weights, places, strict=True)
                    ]
                )
                sums[places.start : places.stop] = totals
        return sums

    def _repeated(self, value: Operand, first: int) -> Operand:
        """Two channels from `first` on, four times, then the next two channels, four times."""
        b = self._b
        low, high = (
            b.op("repeat", b.part(value, first + at, _PAIR), attrs=(_LANES,)) for at in (0, _PAIR)
        )
        return b.op("join", low, high)
