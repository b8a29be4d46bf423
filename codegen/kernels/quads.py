"""Convolutions of bytes by NEON's dot products: four channels at a time, one filter in each lane.

`sdot` adds four products of signed bytes to each of four sums. The weights of four filters for the
same four channels are neighbours in memory, and the four channels of a pixel are a lane of a vector
of sixteen, so nothing is broadcast and no partial sums are left. Weights are packed
`[group][block][kernel row][kernel column][four channels][filter][channel]`. Cores have the
instruction from the Cortex-A55 and A76 on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ellc.codegen.blocks.candidates import Candidate, kernel
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.schedule import GemmSchedule
from ellc.codegen.blocks.terms import ProductTypes, in_signed_bytes
from ellc.codegen.blocks.window import cut
from ellc.codegen.kernels.convolution import (
    Problem,
    Product,
    TileInputs,
    folded,
    has_constant_operands,
    is_scheduled,
    problem_of,
)
from ellc.codegen.kernels.gemm import OVERHEAD_SLOTS, Products
from ellc.codegen.kernels.implicit_gemm import ConvShape, pack_filters
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.instructions import INSTRUCTIONS
from ellc.codegen.kir.instructions.neon import SIGNED_DOT
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense
from ellc.ir.types import Array

_QUAD, _FILTERS = 4, 4
_STEP = 16
"""The channels of a pixel that one load reads: four quads."""
_MOST_VECTORS = 4
"""More than sixteen filters leave fewer registers for pixels, and load no fewer bytes."""
_SPARE = 2
"""Registers for weights: a vector that is used, and the next one."""


@kernel(IntConv2D, IntDense, name="quads")
def quads(node: PlacedNode) -> Iterator[Candidate]:
    """Candidates for layers with a multiple of four channels and signed bytes as weights."""
    target = node.target
    if not INSTRUCTIONS[SIGNED_DOT].available(target) or not has_constant_operands(node):
        return
    problem = problem_of(node)
    types = problem.terms.types
    if types.weight is not Elem.I8 or types.image.bytes > 1 or problem.shape.channels % _QUAD:
        return
    tiles = list(_tiles(target, problem.shape))
    shape = folded(node, problem.shape, max(tile.pixels for tile in tiles))
    usual = _usual(target, shape)
    product = Product(
        "quads", Problem(shape, in_signed_bytes(problem.terms)), QuadProducts, pack_quads
    )
    yield from product.candidates(node, quad_cycles, usual, _tiles(target, shape))


def quad_cycles(
    target: Target, shape: ConvShape, schedule: GemmSchedule, types: ProductTypes
) -> float:
    """Issue slots of a kernel, counted as in `gemm_cycles`, but for sixteen channels at a time.

    On cores whose loops ellc schedules, loads are halves that issue beside dot products.
    """
    load = 0.0 if is_scheduled(target) else target.core.load_cycles
    sums, quads_ = schedule.pixels * schedule.vectors, _STEP / _QUAD
    dots = sums * quads_ * INSTRUCTIONS[SIGNED_DOT].slots(target)
    loads = (schedule.pixels + quads_ * schedule.vectors) * load
    flips = schedule.pixels if types.flipped else 0
    taps = shape.rows.taps * shape.columns.taps
    runs = shape.rows.taps if shape.consecutive_taps else taps
    around = 2 * sums + OVERHEAD_SLOTS * (runs + 1)
    return shape.tiles(schedule) * ((dots + loads + flips) * taps * shape.channels / _STEP + around)


def _tiles(target: Target, shape: ConvShape) -> Iterator[GemmSchedule]:
    """Every tile whose sums and pixels, beside a few weights, fit in the registers."""
    for vectors in range(1, min(_MOST_VECTORS, -(-shape.filters // _FILTERS)) + 1):
        most = (target.vector_registers - _SPARE) // (vectors + 1)
        for pixels in range(1, min(most, shape.columns.outputs) + 1):
            yield GemmSchedule(pixels, vectors, _FILTERS, _STEP, True, 1)


def _usual(target: Target, shape: ConvShape) -> GemmSchedule:
    """The usual tile: eight filters if there are so many, and rows cut into equal parts."""
    vectors = min(2, -(-shape.filters // _FILTERS))
    most = (target.vector_registers - _SPARE) // (vectors + 1)
    return GemmSchedule(cut(shape.columns.outputs, most).size, vectors, _FILTERS, _STEP, True, 1)


def pack_quads(weights: Array, groups: int, block: int) -> Array:
    """[F, kh, kw, C] -> [groups, blocks, kh, kw, C / 4, block, 4]; zeros after the last filter."""
    packed = pack_filters(weights, groups, block)
    *outer, depth, _ = packed.shape
    by_quads = packed.reshape(*outer, depth // _QUAD, _QUAD, block)
    return np.asarray(np.swapaxes(by_quads, -1, -2), order="C")


class QuadProducts(Products):
    """Adds four products at a time to one register of sums for each pixel and four filters."""

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
        """The sums plus the products of `length` channels: sixteen at a time, then four."""
        done = 0
        for width in (_STEP, _QUAD):
            end = length - length % width
            sums = self._loop(sums, (inside, panel), range(done, end, width), pixels)
            done = end
        return sums

    def _loop(
        self,
        sums: list[Operand],
        at: tuple[Operand, Operand],
        channels: range,
        pixels: Sequence[int],
    ) -> list[Operand]:
        """The sums plus the products of these channels, `channels.step` on each trip."""
        b, (inside, panel) = self._b, at
        with b.loop("k", channels.start, channels.stop, channels.step, carry=sums) as k:
            image_index = b.add(inside, k.index)
            weight_index = b.add(panel, b.mul(k.index, self._schedule.block))
            k.carry(
                self._channels(list(k.carried), image_index, weight_index, channels.step, pixels)
            )
        return list(k.results)

    def _channels(
        self,
        sums: list[Operand],
        image_index: Operand,
        weight_index: Operand,
        width: int,
        pixels: Sequence[int],
    ) -> list[Operand]:
        """The sums plus the products of `width` channels."""
        b, vectors = self._b, self._schedule.vectors
        pixel_stride = self._shape.columns.stride * self._shape.x.strides[2]
        loaded = {p: b.load(self._x, image_index, width, offset=p * pixel_stride) for p in pixels}
        values = {p: self.image_factor(v) for p, v in loaded.items()}
        for channel in range(0, width, _QUAD):
            for v in range(vectors):
                weight = self._weight(weight_index, channel * self._schedule.block, v)
                for p in pixels:
                    four = b.part(values[p], channel, _QUAD)
                    quad = b.op("repeat", four, attrs=(_FILTERS,))
                    index = p * vectors + v
                    sums[index] = b.op(SIGNED_DOT, sums[index], weight, quad)
        return sums

    def _weight(self, weight_index: Operand, row: int, vector: int) -> Operand:
        """The weights of four filters for four channels."""
        offset = row + vector * _STEP
        return self._b.load(self._w, weight_index, _STEP, offset=offset, align_bytes=_STEP)
