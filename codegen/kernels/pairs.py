"""Convolutions of integers by an instruction that adds products of two neighbouring channels.

x86-64 and WebAssembly have an instruction that multiplies vectors of 16-bit lanes and adds
neighbouring products in 32 bits. The kernel widens image and weights to 16 bits, and repeats two
channels of a pixel throughout a vector; the weights of the same two channels of a filter are
neighbours. This takes half as many instructions as multiplying one channel at a time. Weights are
packed `[group][block][kernel row][kernel column][two channels][filter][channel]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ellc.codegen.blocks.candidates import Candidate, kernel
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.schedule import GemmSchedule, gemm_tile, most_pixels
from ellc.codegen.blocks.terms import ProductTypes, in_fewest_bytes
from ellc.codegen.kernels.convolution import (
    Problem,
    Product,
    TileInputs,
    folded,
    has_constant_operands,
    problem_of,
)
from ellc.codegen.kernels.gemm import OVERHEAD_SLOTS, Products
from ellc.codegen.kernels.implicit_gemm import ConvShape, pack_filters
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.instructions import implementing
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense
from ellc.ir.types import Array

_PAIR = 2


@kernel(IntConv2D, IntDense, name="pairs")
def pairs(node: PlacedNode) -> Iterator[Candidate]:
    """Candidates for layers with an even number of channels, if the target has the instruction."""
    if not has_constant_operands(node) or node.inputs[1].type.shape[-1] % _PAIR:
        return
    target = node.target
    if not any(row.available(target) for row in implementing("pair_products")):
        return
    problem = problem_of(node)
    terms = in_fewest_bytes(problem.terms)
    types = replace(terms.types, factor=Elem.I16)
    terms = replace(terms, types=types)
    shape = folded(node, problem.shape, most_tile_pixels(target, types, 2))
    usual = pair_tile(target, types, shape.columns.outputs, shape.filters)
    others = pair_tiles(target, types, usual, shape)
    product = Product("pairs", Problem(shape, terms), PairProducts, pack_pairs)
    yield from product.candidates(node, pair_cycles, usual, others)


def pair_cycles(
    target: Target, shape: ConvShape, schedule: GemmSchedule, types: ProductTypes
) -> float:
    """Issue slots of a kernel, counted as in `gemm_cycles`, but for two channels at a time.

    Each sum takes a multiplication and an addition. Each pixel's two values are loaded, widened and
    repeated.
    """
    load = target.core.load_cycles
    sums = schedule.pixels * schedule.vectors
    weights = schedule.vectors * (load + types.widening_slots(target))
    once = 2 * sums + weights + schedule.pixels * (load + 2)
    taps = shape.rows.taps * shape.columns.taps
    runs = shape.rows.taps if shape.consecutive_taps else taps
    around = 2 * sums + OVERHEAD_SLOTS * (runs + 1)
    return shape.tiles(schedule) * (once * taps * shape.channels / _PAIR + around)


def pair_tile(target: Target, types: ProductTypes, pixels: int, filters: int) -> GemmSchedule:
    """The usual tile: as many vectors as `gemm` has, and as many pixels as fit in registers."""
    usual = gemm_tile(target, types.total, pixels, filters)
    size = min(pixels, most_tile_pixels(target, types, usual.vectors))
    return replace(usual, pixels=max(1, size), k_step=_PAIR, by_lane=False)


def pair_tiles(
    target: Target, types: ProductTypes, usual: GemmSchedule, shape: ConvShape
) -> Iterator[GemmSchedule]:
    """Every tile that fits in the registers."""
    for vectors in range(1, -(-shape.filters // usual.lanes) + 1):
        most = min(most_tile_pixels(target, types, vectors), shape.columns.outputs)
        if most < 1:
            return
        for tile_pixels in range(1, most + 1):
            yield replace(usual, pixels=tile_pixels, vectors=vectors)


def most_tile_pixels(target: Target, types: ProductTypes, vectors: int) -> int:
    """The most pixels that a tile with this many vectors may have.

    Their sums, a row of weights, an image value, a product and, unless it is 0, the zero point must
    fit in the registers.
    """
    spare = vectors + (3 if types.weight_zero else 2)
    return min(most_pixels(target), (target.vector_registers - spare) // vectors)


def pack_pairs(weights: Array, groups: int, block: int) -> Array:
    """[F, kh, kw, C] -> [groups, blocks, kh, kw, C / 2, block, 2]; zeros after the last filter."""
    packed = pack_filters(weights, groups, block)
    *outer, depth, _ = packed.shape
    by_pairs = packed.reshape(*outer, depth // _PAIR, _PAIR, block)
    return np.asarray(np.swapaxes(by_pairs, -1, -2), order="C")


class PairProducts(Products):
    """Adds the products of two channels at a time, or of `together` channels in a subclass.

    There is one register of sums for each pixel and each vector of filters.
    """

    together = _PAIR

    def __init__(
        self, b: KernelBuilder, shape: ConvShape, schedule: GemmSchedule, inputs: TileInputs
    ) -> None:
        super().__init__(b, shape, schedule, inputs)
        self.weights_at_once = 0

    def depth(
        self,
        sums: list[Operand],
        inside: Operand,
        panel: Operand,
        length: int,
        pixels: Sequence[int],
    ) -> list[Operand]:
        """The sums plus the products of `length` values of each pixel, some values at a time."""
        b, block = self._b, self._schedule.block
        with b.loop("k", 0, length, self.together, carry=sums) as k:
            image_index = b.add(inside, k.index)
            weight_index = b.add(panel, b.mul(k.index, block))
            k.carry(self._step(list(k.carried), image_index, weight_index, pixels))
        return list(k.results)

    def accumulate(self, weight: Operand, value: Operand, total: Operand) -> Operand:
        """The total plus the products of all channels that are multiplied at once."""
        return self._b.add(total, self._b.op("pair_products", weight, value))

    def _step(
        self,
        sums: list[Operand],
        image_index: Operand,
        weight_index: Operand,
        pixels: Sequence[int],
    ) -> list[Operand]:
        """The sums plus the products of a few values of each pixel."""
        b, vectors, width = self._b, self._schedule.vectors, self.together * self._schedule.lanes
        pixel_stride = self._shape.columns.stride * self._shape.x.strides[2]
        align = width * self._w.elem.bytes

        def weight_row(v: int) -> Operand:
            stored = b.load(self._w, weight_index, width, offset=v * width, align_bytes=align)
            return self.weight_factor(stored)

        weights = [weight_row(v) for v in range(vectors)]
        for pixel in pixels:
            stored = b.load(self._x, image_index, self.together, offset=pixel * pixel_stride)
            value = self.image_factor(b.op("repeat", stored, attrs=(self._schedule.lanes,)))
            for v, weight in enumerate(weights):
                index = pixel * vectors + v
                sums[index] = self.accumulate(weight, value, sums[index])
        return sums
