"""Convolutions of bytes on general registers of 32 bits, which hold two 16-bit factors each.

`smlad` adds two products to a sum, and `sxtb16` widens two bytes of a word. The kernel first widens
the image values that a tile of neighbouring pixels reads (the *columns*), in scratch memory; all
filters then read them from there, so that widening them costs next to nothing. Taps outside the
image are written there as the image's zero point, so that edges need no code of their own.

The columns are `[column][window row][channel]`, so that the window of each pixel is contiguous, and
windows of neighbouring pixels share columns. `word_tiles` describes pairs and packed weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial, reduce

import numpy as np

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.calls import Arg, CodeGoal, KernelCall, access_arg
from ellc.codegen.blocks.candidates import Candidate, Prediction, kernel, preferred_first
from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.scratch import copy_cycles, scratch
from ellc.codegen.blocks.word_requantize import WordRequantize
from ellc.codegen.kernels.convolution import Problem, folded, has_constant_operands, problem_of
from ellc.codegen.kernels.implicit_gemm import ConvShape
from ellc.codegen.kernels.word_products import SAVED
from ellc.codegen.kernels.word_shared import LEAST_SHARED, shared_words
from ellc.codegen.kernels.word_tiles import (
    PAIR,
    WORD,
    Columns,
    Widening,
    WordProducts,
    WordTile,
    pack_words,
    trip_of,
)
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.instructions import INSTRUCTIONS
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.target import Target
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense
from ellc.ir.types import DType

_MOST_PIXELS = 4
_TILES = ((4, 2), (3, 2), (2, 4), (2, 2), (1, 8), (1, 4), (1, 2))
"""The tiles (pixels, filters) that are offered. Of those with the most pixels the first is the
preferred one. 8 sums, two pairs of weights, two of the image and two pointers fill 14 registers. A
pair of channels takes 15 instructions in a tile of 4x2, 0.94 for each multiply-add, and 11 in one
of 1x4, 1.38."""


@kernel(IntConv2D, IntDense, name="words")
def words(node: PlacedNode) -> Iterator[Candidate]:
    """Candidates for targets with these instructions and without NEON.

    There must be one group, and a multiple of four channels. Weights minus their zero point must
    fit in bytes.
    """
    target = node.target
    if target.has_neon or not INSTRUCTIONS["dsp_smlad"].available(target):
        return
    if not has_constant_operands(node) or node.inputs[1].type.shape[-1] % WORD:
        return
    if node.result.type.dtype is DType.BIT:
        return
    problem = problem_of(node)
    shape, types = problem.shape, problem.terms.types
    if shape.groups > 1 or types.image.bytes > 1 or types.weight is not Elem.I8:
        return
    if shape.columns.dilation > 1 and shape.columns.taps > 1:
        return
    shape = folded(node, shape, _MOST_PIXELS)
    problem = Problem(shape, problem.terms)

    shared = shared_words(node, problem, partial(word_cycles, target))
    # Where the shared kernel is nearly as fast, it is the one with shorter code.
    least = 0 if node.code == "size" else LEAST_SHARED
    length = 2 if shared is not None and shape.channels >= least else 1

    def candidate(tile: WordTile) -> Candidate:
        cycles = word_cycles(target, shape, tile) + copy_cycles(shape.x)
        prediction = Prediction("words", tile.note, cycles, unrolled=length)
        return Candidate(prediction, partial(_call, node, problem, tile))

    pixels = min(shape.columns.outputs, _MOST_PIXELS)
    tiles = [WordTile(p, f) for p, f in _TILES if p <= pixels]
    few = shape.filters + shape.filters % 2
    usual = next(tile for tile in tiles if tile.pixels == pixels and tile.filters <= few)
    every = [*map(candidate, tiles), *([shared] if shared else ())]
    yield from preferred_first(candidate(usual), every)


_OF_SUM, _OF_TILE = 7, 10
"""Instructions for each sum of a tile: start value, requantisation, store, their constants; and for
pointers. In a tile of 4x2 they are 66, as in LLVM's code for a Cortex-M33."""
_OF_COLUMN, _OF_VALUE = 15, 1.5
"""Instructions for each pixel of a window row that is widened, and for each value."""
_BESIDE = 0.7
"""Cycles for each instruction of the inner loop on a core that issues loads beside products. LLVM's
code for 32 values of a tile of 4x2 has 240 instructions without those at the ends of a trip, and
takes 166 cycles on a Cortex-M7."""


def word_cycles(target: Target, shape: ConvShape, tile: WordTile) -> float:
    """Issue slots of the kernel, in comparison with kernels that have an epilogue."""
    product = INSTRUCTIONS["dsp_smlad"].cost(target)
    load = 1.0 if product else target.core.load_cycles
    images, rows, columns, _ = shape.walk
    blocks = -(-shape.filters // tile.filters)
    window = shape.rows.taps * shape.columns.taps * shape.channels
    sums = tile.pixels * tile.filters
    pair = tile.filters / 2 * (load + 2) + tile.pixels * load + sums
    if product and "load" in product.issues_with:
        pair *= _BESIDE
    of_tile = pair * window / PAIR + (_OF_SUM - SAVED) * sums + _OF_TILE
    tiles = images * rows * -(-columns // tile.pixels)
    widened = shape.rows.taps * _columns(shape, tile.pixels)
    return tiles * (blocks * of_tile + widened * (_OF_COLUMN + _OF_VALUE * shape.channels))


def _columns(shape: ConvShape, pixels: int) -> int:
    """The columns of the image that a tile keeps."""
    if shape.columns.taps == 1:
        return pixels
    return (pixels - 1) * shape.columns.stride + shape.columns.taps


def _sizes(length: int, limit: int) -> list[tuple[int, int, int]]:
    """Tiles as triples (first pixel, pixels of a tile, tiles), of one or two sizes."""
    count = -(-length // limit)
    size, larger = divmod(length, count)
    tiles = [(0, size + 1, larger), (larger * (size + 1), size, count - larger)]
    return [t for t in tiles if t[2]]


def _call(node: PlacedNode, problem: Problem, tile: WordTile) -> list[KernelCall]:
    """The call of the kernel with this tile."""
    shape, terms = problem.shape, problem.terms
    b = KernelBuilder(node.name)
    align = shape.x.align_bytes
    x, w = b.param("x", terms.types.image, align), b.param("w", Elem.I8, 64)
    parts = max(1, min(node.threads, shape.walk[0] * shape.walk[1]))
    size = _columns(shape, tile.pixels) * shape.rows.taps * shape.channels
    memory = scratch(Elem.I16, (parts * size,))
    columns = b.param("columns", Elem.I16, memory.align_bytes, writable=True)
    requantize = WordRequantize(node, b, terms, tile.filters)
    epilogue = Epilogue(requantize.rest, b, shape.walk)
    sizes = (parts, size)
    nest = _Nest(b, problem, tile, (x, w, columns), requantize, epilogue, sizes, node.code)
    nest.write()
    count = -(-shape.filters // tile.filters) * tile.filters
    what = f"words:{tile.filters}:{terms.key}{terms.weights.shape}"
    bytes_ = count * int(np.prod(terms.weights.shape[1:]))
    packed = node.inputs[1].derived(what, bytes_, lambda: pack_words(terms.stored, tile.filters))
    args: tuple[Arg, ...] = (access_arg(shape.x), packed, access_arg(memory), requantize.arg)
    note = f"words {tile.note}"
    return [KernelCall(b.finish(), (*args, *epilogue.args), parts, note)]


class _Nest:
    """Writes the loops: parts, rows, tiles of pixels, blocks of filters, pairs of channels."""

    def __init__(
        self,
        b: KernelBuilder,
        problem: Problem,
        tile: WordTile,
        params: tuple[Param, Param, Param],
        requantize: WordRequantize,
        epilogue: Epilogue,
        parts: tuple[int, int],
        code: CodeGoal,
    ) -> None:
        self._b, self._shape, self._terms, self._tile = b, problem.shape, problem.terms, tile
        self._x, self._w, self._columns = params
        self._requantize, self._epilogue = requantize, epilogue
        self._parts, self._size = parts
        self._code: CodeGoal = code
        self._depth = self._shape.rows.taps * self._shape.channels  # values of a column
        self._products = WordProducts(b, self._w, self._columns, tile.filters)
        self._widening = Widening(b, self._x, self._columns, _alignment(self._shape.x))

    def write(self) -> None:
        """Write the kernel's body."""
        b, shape = self._b, self._shape
        images, rows, columns, _ = shape.walk
        share = -(-images * rows // self._parts)
        with b.loop("part", b.begin, b.end) as part:
            base = b.mul(part.index, self._size if self._parts > 1 else 0)
            first = b.mul(part.index, share if self._parts > 1 else 0)
            last = b.min(b.add(first, share), images * rows) if self._parts > 1 else Imm(share)
            with b.loop("row", first, last) as line:
                image = b.div(line.index, rows) if images > 1 else Imm(0)
                row = b.sub(line.index, b.mul(image, rows))
                for start, pixels, count in _sizes(columns, self._tile.pixels):
                    stop = start + pixels * count
                    with b.loop("column", start, stop, pixels) as column:
                        at = (image, row, column.index)
                        self._fill(at, pixels, base)
                        self._blocks(at, pixels, base)

    def _fill(self, at: tuple[Operand, Operand, Operand], pixels: int, base: Operand) -> None:
        """Widen the image values that a tile reads."""
        b, shape = self._b, self._shape
        rows, columns, strides = shape.rows, shape.columns, shape.x.strides
        count, step = _columns(shape, pixels), 1
        if columns.taps == 1:
            step = columns.stride
        image, row, column = at
        top = b.sub(b.mul(row, rows.stride), rows.before)
        left = b.sub(b.mul(column, columns.stride), columns.before)
        start = b.add(b.mul(image, strides[0]), b.mul(left, strides[2]))
        interior = rows.is_interior and columns.is_interior
        contiguous = step * strides[2] == shape.channels and rows.taps == 1 and interior
        if contiguous:
            source = b.add(start, b.mul(top, strides[1]))
            self._widen(source, base, count * shape.channels)
            return
        with b.loop("near", 0, count) as near, b.loop("tap", 0, rows.taps) as tap:
            here = b.add(top, b.mul(tap.index, rows.dilation))
            source = b.add(start, b.mul(near.index, step * strides[2]))
            source = b.add(source, b.mul(here, strides[1]))
            target = b.add(base, b.mul(near.index, self._depth))
            target = b.add(target, b.mul(tap.index, shape.channels))
            there = b.add(left, b.mul(near.index, step))
            if interior:
                self._widen(source, target, shape.channels)
            else:
                inside, outside = self._tests(here, there)
                with b.when(inside):
                    self._widen(source, target, shape.channels)
                with b.when(outside):
                    self._pad(target, shape.channels)

    def _tests(self, row: Operand, column: Operand) -> tuple[Operand, Operand]:
        """Whether a pixel is inside the image, and whether it is outside.

        Axes whose windows never leave the image are not tested.
        """
        b, shape = self._b, self._shape
        inside, outside = [], []
        for axis, place in ((shape.rows, row), (shape.columns, column)):
            if not axis.is_interior:
                inside += [b.compare("ge", place, Imm(0)), b.compare("lt", place, Imm(axis.size))]
                outside += [b.compare("lt", place, Imm(0)), b.compare("ge", place, Imm(axis.size))]
        return reduce(partial(b.op, "and"), inside), reduce(partial(b.op, "or"), outside)

    def _widen(self, source: Operand, target: Operand, length: int) -> None:
        """Widen `length` neighbouring values of the image."""
        b = self._b
        at_once = next(n for n in (16, 8, 4) if length % n == 0)
        if self._code == "size":
            at_once = WORD
        with b.loop("value", 0, length, at_once) as value:
            words = [(b.add(source, value.index), offset) for offset in range(0, at_once, WORD)]
            places = [(offset, offset + PAIR) for offset in range(0, at_once, WORD)]
            self._widening.write(words, b.add(target, value.index), places)

    def _pad(self, target: Operand, length: int) -> None:
        """Write the padding's value."""
        b = self._b
        value = Imm(int(self._terms.padding.values[0]), VType(Elem.I16, PAIR))
        with b.loop("value", 0, length, WORD) as place:
            for offset in range(0, WORD, PAIR):
                to = b.add(target, place.index)
                b.store(value, self._columns, to, offset=offset, align_bytes=WORD)

    def _blocks(self, at: tuple[Operand, Operand, Operand], pixels: int, base: Operand) -> None:
        """Write the loop over blocks of filters; the last block may have fewer."""
        b, filters, width = self._b, self._shape.filters, self._tile.filters
        with b.loop("block", 0, filters // width) as block:
            self._block(at, block.index, pixels, base, width)
        if filters % width:
            self._block(at, Imm(filters // width), pixels, base, filters % width)

    def _block(
        self,
        at: tuple[Operand, Operand, Operand],
        block: Operand,
        pixels: int,
        base: Operand,
        valid: int,
    ) -> None:
        """Write the sums and the results of a tile."""
        b, width = self._b, self._tile.filters
        starts = self._requantize.starts(block)
        sums = self._products.added(starts * pixels, block, pixels, base, self._layout())
        channel = b.mul(block, width)
        results = self._requantize.results(sums, block, pixels, valid)
        for pixel in range(pixels):
            values = results[pixel * width : pixel * width + valid]
            place = (0, 0, pixel, 0)
            self._epilogue.store(values, (*at, channel), place, valid)

    def _layout(self) -> Columns:
        """Where the windows of pixels lie in the columns; they may overlap."""
        columns = self._shape.columns
        window = self._depth * columns.taps
        step = self._depth * (columns.stride if columns.taps > 1 else 1)
        return Columns(step, PAIR, Imm(window), trip_of(window, self._code))


def _alignment(access: Access) -> int:
    """The alignment of groups of four channels of an image, in bytes."""
    strides = access.strides[:3]
    whole = all(s * access.elem.bytes % WORD == 0 for s in strides)
    return WORD if whole and access.align_bytes % WORD == 0 else access.elem.bytes
