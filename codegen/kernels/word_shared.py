"""One kernel for all pointwise convolutions of bytes of a network, and one for all dense layers.

The sizes of a layer are constants that the kernel reads, so that layers of any size have equal
kernels, which the plan keeps once. Columns are `[pair][pixel]`: the distance from a pixel to the
next does not depend on the layer. Pixels that fill no tile have a slower loop.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.calls import Arg, KernelCall, access_arg
from ellc.codegen.blocks.candidates import Candidate, Prediction
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.scratch import scratch
from ellc.codegen.blocks.views import viewed_as
from ellc.codegen.blocks.weights import constant
from ellc.codegen.blocks.word_requantize import WordRequantize
from ellc.codegen.kernels.convolution import Problem
from ellc.codegen.kernels.implicit_gemm import ConvShape
from ellc.codegen.kernels.word_tiles import (
    PAIR,
    SHORT_TRIP,
    WORD,
    Columns,
    Widening,
    WordProducts,
    WordTile,
    pack_words,
)
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import Elem

_TRIP = 32
"""Values of each pixel in a trip of the inner loop. Layers whose channels it does not divide have
kernels of their own: short trips cost too much, as `word_tiles.TRIPS` says."""
LEAST_SHARED = 128
"""The fewest channels of layers for which the shared kernel is nearly as fast as one of their own.
Thousand modelled cycles of layers of VWW with their own and with the shared kernel, Cortex-M7 and
M33: 32 -> 32 channels, 24x24: 451, 530 and 742, 918; 64 -> 64, 12x12: 454, 469 and 686, 777;
128 -> 128, 6x6: 409, 414 and 660, 707; 256 -> 256, 3x3: 482, 419 and 658, 717."""
_IMAGES, _DENSE = WordTile(4, 2), WordTile(1, 8)
_SIZES = ("whole", "pixels", "depth", "blocks")
"""The sizes in the order of the table. `whole` is the number of pixels that fill tiles."""


def shared_words(
    node: PlacedNode, problem: Problem, cycles: Callable[[ConvShape, WordTile], float]
) -> Candidate | None:
    """The candidate, if a layer is suited: without padding, and with dense image and result."""
    shape = problem.shape
    images, rows, columns, filters = shape.walk
    pixels = images * rows * columns
    tile = _DENSE if pixels == 1 else _IMAGES
    flat = (shape.rows.taps, shape.columns.taps, shape.rows.stride, shape.columns.stride)
    if node.threads > 1 or images > 1 or flat != (1, 1, 1, 1) or pixels < tile.pixels:
        return None
    if shape.channels % _trip(node) or filters % tile.filters or len(node.stages) != 1:
        return None
    accesses = _flat(shape.x, pixels), _flat(node.result.access, pixels)
    x, y = accesses
    if x is None or y is None:
        return None
    b = KernelBuilder(node.name)
    if not WordRequantize(node, b, problem.terms, tile.filters).takes_stage:
        return None
    prediction = Prediction("words", f"any{tile.note}", cycles(shape, tile))
    return Candidate(prediction, partial(_call, node, problem, tile, (x, y)))


def _trip(node: PlacedNode) -> int:
    """The values in a trip of the inner loop, which divides the channels of all layers."""
    return SHORT_TRIP if node.code == "size" else _TRIP


def _flat(access: Access, pixels: int) -> Access | None:
    """The access as [pixels, channels] without gaps, if it is that."""
    channels = access.shape[-1]
    view = viewed_as(access, (pixels, channels))
    if view is None or view.strides[1] != 1 or (pixels > 1 and view.strides[0] != channels):
        return None
    return view


def _call(
    node: PlacedNode, problem: Problem, tile: WordTile, accesses: tuple[Access, Access]
) -> list[KernelCall]:
    terms, (x, y) = problem.terms, accesses
    pixels, depth = x.shape
    filters = y.shape[1]
    b = KernelBuilder(node.name)
    aligned = WORD if x.align_bytes % WORD == 0 else 1
    memory = scratch(Elem.I16, (tile.pixels * depth,))
    params = (
        b.param("x", terms.types.image, aligned),
        b.param("w", Elem.I8, 64),
        b.param("columns", Elem.I16, memory.align_bytes, writable=True),
    )
    requantize = WordRequantize(node, b, terms, tile.filters, shared=True)
    sizes = b.param("sizes", Elem.I32, 64)
    requantize.reads_header(sizes, len(_SIZES))
    result = b.param("y", y.elem, 1, writable=True)
    accessed = (*params, sizes, result)
    _Nest(b, tile, accessed, requantize, aligned, _trip(node)).write()
    what = f"words:{tile.filters}:{terms.key}{terms.weights.shape}"
    packed = node.inputs[1].derived(
        what, filters * depth, lambda: pack_words(terms.stored, tile.filters)
    )
    whole = pixels - pixels % tile.pixels
    numbers = np.array([whole, pixels, depth, filters // tile.filters], np.int32)
    numbers = np.concatenate([numbers, requantize.header])
    args: tuple[Arg, ...] = (access_arg(x), packed, access_arg(memory), requantize.arg)
    args = (*args, constant(numbers), access_arg(y))
    return [KernelCall(b.finish(), args, 1, f"words any{tile.note}")]


class _Nest:
    """Writes the loops: tiles of pixels, blocks of filters, pairs of channels."""

    def __init__(
        self,
        b: KernelBuilder,
        tile: WordTile,
        params: tuple[Param, Param, Param, Param, Param],
        requantize: WordRequantize,
        align_bytes: int,
        trip: int,
    ) -> None:
        self._b, self._tile, self._requantize, self._trip = b, tile, requantize, trip
        x, w, columns, self._sizes, self._y = params
        self._products = WordProducts(b, w, columns, tile.filters)
        self._widening = Widening(b, x, columns, align_bytes)

    def write(self) -> None:
        """Write the kernel's body."""
        b, tile = self._b, self._tile
        with b.loop("part", b.begin, b.end):
            whole, pixels, depth, blocks = (self._size(name) for name in _SIZES)
            with b.loop("pixel", 0, whole, tile.pixels) as pixel:
                self._pixels(pixel.index, tile.pixels, depth, blocks)
            if tile.pixels > 1:
                with b.loop("pixel", whole, pixels) as pixel:
                    self._pixels(pixel.index, 1, depth, blocks)

    def _size(self, name: str) -> Operand:
        return self._b.convert(self._b.load(self._sizes, _SIZES.index(name)), Elem.INDEX)

    def _pixels(self, first: Operand, count: int, depth: Operand, blocks: Operand) -> None:
        """Write a tile of so many pixels, for all filters."""
        b, width = self._b, self._tile.filters
        with b.loop("value", 0, depth, WORD) as value:
            starts = [b.mul(b.add(first, pixel), depth) for pixel in range(count)]
            words = [(b.add(start, value.index), 0) for start in starts]
            places = [(PAIR * pixel, PAIR * (pixel + count)) for pixel in range(count)]
            self._widening.write(words, b.mul(value.index, count), places)
        layout = Columns(PAIR, PAIR * count, depth, self._trip)
        with b.loop("block", 0, blocks) as block:
            starts = self._requantize.starts(block.index)
            sums = self._products.added(starts * count, block.index, count, Imm(0), layout)
            results = self._requantize.results(sums, block.index, count, width)
            filters = b.mul(blocks, width)
            for pixel in range(count):
                to = b.add(b.mul(b.add(first, pixel), filters), b.mul(block.index, width))
                for number in range(width):
                    b.store(results[pixel * width + number], self._y, to, offset=number)
