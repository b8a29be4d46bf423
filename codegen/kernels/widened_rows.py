"""Convolutions of few channels of bytes on cores that multiply pairs of 16-bit integers.

The rows of the image under a row of results are first widened to 16-bit integers, with their
padding: all filters read them. A row of a window is a run of such integers, and a word of the run
takes one instruction for each filter and pixel. If the windows of neighbouring pixels are an odd
number of integers apart, there is a second copy of the rows, which is shifted by one integer, so
that no word is unaligned. Weights are stored as words: for small layers this is little.

Modelled cycles for a multiply-add on a Cortex-M7 (M33), with the family `gemm` before the colon:
the first layer of visual wake words (3x3, stride 2, 3 channels, 8 filters) 4.2 : 1.1 (6.3 : 1.7),
that of ResNet8 (3x3, 16 filters) 1.0 (1.3), of DS-CNN (10x4, one channel, 64 filters) 3.4 : 1.1.

Instructions for a tile of two pixels and four filters: 6 loads and 8 multiply-adds for each word of
a window; 8 for each filter's start values and requantisation (`blocks/high_factors.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd

import numpy as np

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import Candidate, Prediction, kernel
from ellc.codegen.blocks.high_factors import HighFactors, OfFilter, apply_factors
from ellc.codegen.blocks.packed_factors import HEADER, header, unpacked
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.requantisation import requantisation
from ellc.codegen.blocks.scratch import reshaped, scratch
from ellc.codegen.blocks.terms import Terms
from ellc.codegen.blocks.weights import constant
from ellc.codegen.blocks.window import Axis, cut, window_axes
from ellc.codegen.kernels.convolution import terms_of
from ellc.codegen.kernels.word_products import (
    SAVED,
    has_word_products,
    padding_word,
    repeat,
)
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Kernel, Operand
from ellc.codegen.kir.types import Elem
from ellc.ir.ops.quantised import Requantize
from ellc.ir.ops.quantised_conv import IntConv2D
from ellc.ir.types import Array

_PIXELS = 2  # of a tile
_FILTERS = 4  # of a tile, at most
_NUMBERS = 4
"""The numbers of a filter: start value, mantissa, offset, what is subtracted if sums are negative.
If they are packed, there are only the first two."""
_MOST_WORDS = 32
"""The most words of a window, which is straight-line code."""
_MOST_WEIGHT_BYTES = 8192
"""The most bytes of weights: as words they take twice the flash of bytes."""
_LINE_BYTES = 4096
"""The most bytes of widened rows, unless one row of results needs more."""


@dataclass(frozen=True, eq=False, slots=True)
class _Problem:
    """Everything that a kernel needs. A row of a window is a run of `run` integers."""

    x: Access
    y: Access
    walk: tuple[int, int, int, int]
    rows: Axis
    columns: Axis
    terms: Terms
    op: Requantize
    factors: HighFactors
    is_small: bool
    """Whether the rows of a window are a loop, so that code is small."""

    @property
    def channels(self) -> int:
        """The channels of the image."""
        return self.x.shape[3]

    @property
    def run(self) -> int:
        """The words of a row of a window."""
        return -(-self.columns.taps * self.channels // 2)

    @property
    def step(self) -> int:
        """The integers between the windows of neighbouring pixels."""
        return self.columns.stride * self.channels

    @property
    def copies(self) -> int:
        """The number of copies of the widened rows."""
        return 1 + self.step % 2

    @property
    def filters(self) -> int:
        """The filters of a tile."""
        return gcd(_FILTERS, self.walk[3])

    @property
    def pitch(self) -> int:
        """The words of a widened row."""
        tiles = -(-self.columns.outputs // _PIXELS)
        read = (tiles * _PIXELS - 1) * self.step // 2 + self.run
        stored = -(-(self.columns.before + self.columns.size) * self.channels // 2)
        return max(read, stored)

    @property
    def band(self) -> int:
        """The rows of results that are computed from the rows that are widened at once."""
        if self.rows.taps <= self.rows.stride:
            return 1
        lines = _LINE_BYTES // (4 * self.pitch * self.copies)
        most = max(1, (lines - self.rows.taps) // self.rows.stride + 1)
        return cut(self.rows.outputs, most).size

    @property
    def lines(self) -> int:
        """The number of rows that are widened at once."""
        return (self.band - 1) * self.rows.stride + self.rows.taps

    def cycles(self) -> float:
        """The predicted instructions, in comparison with kernels that have an epilogue."""
        images, rows, columns, filters = self.walk
        tiles = rows * -(-columns // _PIXELS) * (filters // self.filters)
        loads, products = _PIXELS + self.filters, _PIXELS * self.filters
        of_tile = self.rows.taps * self.run * (loads + products) + 8 * self.filters + 5
        widened = self.columns.size * self.channels * self.lines * self.copies
        bands = -(-rows // self.band)
        saved = SAVED * rows * columns * filters
        return images * (tiles * of_tile + 2 * bands * widened - saved)

    def packed(self) -> Array:
        """The weights as words: [block of filters, row, word, filter of the block]."""
        weights = self.terms.weights.astype(np.int32) << self.factors.raised[:, None, None, None]
        filters, rows = weights.shape[:2]
        runs = np.zeros((filters, rows, 2 * self.run), np.int16)
        runs[:, :, : self.columns.taps * self.channels] = weights.reshape(filters, rows, -1)
        words = runs.view(np.int32).reshape(-1, self.filters, rows, self.run)
        return np.asarray(words.transpose(0, 2, 3, 1), order="C")

    def numbers(self) -> Array:
        """The numbers of each filter, after the header if they are packed."""
        factors = self.factors
        start = factors.start(self.terms.start(1, None))
        if factors.packed:
            rows = np.stack([start, factors.mantissas], axis=1)
            return np.concatenate([header(self.op, factors), rows.reshape(-1)])
        unit = np.int32(1) << (factors.raised - 1)
        return np.stack([start, factors.mantissas, factors.offsets, unit], axis=1)


@kernel(IntConv2D, name="widened_rows")
def widened_rows(node: PlacedNode) -> Iterator[Candidate]:
    """A candidate on cores whose cost of such instructions is known."""
    problem = _problem(node)
    if problem:
        prediction = Prediction("widened_rows", cycles=problem.cycles())
        yield Candidate(prediction, lambda: [_call(node, problem)])


def _problem(node: PlacedNode) -> _Problem | None:
    """The problem of a node, or None if this family cannot compute it."""
    conv = node.anchor
    assert isinstance(conv, IntConv2D)
    taps, y = node.inputs[1].type.shape[1:3], node.result.access
    if conv.groups > 1 or conv.dilation != (1, 1) or not has_word_products(node):
        return None
    if taps == (1, 1):
        # `words` is faster on a Cortex-M7: 0.76 and 0.85 cycles for a multiply-add of 64 channels.
        return None
    words = taps[0] * -(-taps[1] * node.inputs[0].type.shape[3] // 2)
    weight_bytes = 4 * words * node.inputs[1].type.shape[0]
    if words > _MOST_WORDS or weight_bytes > _MOST_WEIGHT_BYTES:
        return None
    terms = terms_of(node)
    types, results = terms.types, node.anchor_type().shape
    if types.image.bytes > 1 or types.weight is not Elem.I8 or y.shape != results:
        return None
    found = requantisation(node, terms)
    if found is None:
        return None
    x = reshaped(node.inputs[0].access, node.inputs[0].type.shape)
    if x.strides[2] != x.shape[3]:
        return None
    axes = window_axes(
        x, (results[1], results[2]), (taps[0], taps[1]), conv.stride, (1, 1), terms.padding
    )
    images, rows, columns, filters = results
    walk = (images, rows, columns, filters)
    return _Problem(x, y, walk, *axes, terms, *found, node.code == "size")


def _call(node: PlacedNode, problem: _Problem) -> KernelCall:
    """Write the kernel, and return its call."""
    words = problem.copies * problem.lines * problem.pitch
    args = (
        access_arg(problem.x),
        constant(problem.packed()),
        constant(problem.numbers()),
        access_arg(scratch(Elem.I32, (words,))),
        access_arg(problem.y),
    )
    return KernelCall(_Writer(KernelBuilder(node.name), problem).write(), args, 1, "widened_rows")


class _Writer:
    """Writes the kernel. One thread computes everything, as all bands use the same memory."""

    def __init__(self, b: KernelBuilder, problem: _Problem) -> None:
        self._b, self._problem = b, problem
        x, y = problem.x, problem.y
        self._x = b.param("x", x.elem, x.align_bytes)
        self._w = b.param("w", Elem.I32, 64)
        self._numbers = b.param("numbers", Elem.I32, 64)
        self._lines = b.param("lines", Elem.I32, 64, writable=True)
        self._y = b.param("y", y.elem, y.align_bytes, writable=True)
        self._pad = padding_word(problem.terms)
        self._copy = problem.lines * problem.pitch

    def write(self) -> Kernel:
        """The finished kernel."""
        b, problem = self._b, self._problem
        images, rows, _, filters = problem.walk
        with b.loop("part", b.begin, b.end):
            with b.loop("word", 0, problem.copies * self._copy) as word:
                b.store(self._pad, self._lines, word.index)
            with b.loop("image", 0, images) as image, b.loop("band", 0, rows, problem.band) as band:
                count: Operand = Imm(problem.band)
                if rows % problem.band:
                    count = b.min(b.sub(rows, band.index), problem.band)
                self._widen(image.index, band.index, count)
                with (
                    b.loop("row", 0, count) as row,
                    b.loop("block", 0, filters // problem.filters) as block,
                ):
                    self._tiles(image.index, band.index, row.index, block.index)
        return b.finish()

    # --- rows --------------------------------------------------------------------------------

    def _widen(self, image: Operand, band: Operand, count: Operand) -> None:
        """Write a loop that widens the rows under `count` rows of results from `band` on."""
        b, axis, x = self._b, self._problem.rows, self._problem.x
        lines = b.add(b.mul(b.sub(count, 1), axis.stride), axis.taps)
        first = b.sub(b.mul(band, axis.stride), axis.before)
        with b.loop("line", 0, lines) as line:
            row = b.add(first, line.index)
            source = b.add(b.mul(image, x.strides[0]), b.mul(row, x.strides[1]))
            target = b.mul(line.index, self._problem.pitch)
            if axis.is_interior and not axis.bordered:
                self._row(source, target)
                return
            inside = b.op("and", b.compare("ge", row, Imm(0)), b.compare("lt", row, Imm(axis.size)))
            with b.when(inside):
                self._row(source, target)
            if self._problem.band < axis.outputs:  # another band may have had pixels here
                outside = b.op("xor", inside, Imm(1, inside.type))
                with b.when(outside), b.loop("word", 0, self._problem.pitch) as word:
                    for copy in range(self._problem.copies):
                        at = b.add(target, word.index)
                        b.store(self._pad, self._lines, at, offset=copy * self._copy)

    def _row(self, source: Operand, target: Operand) -> None:
        """Write the code that widens a row of pixels, for each copy of it."""
        problem = self._problem
        count, before = (
            n * problem.channels for n in (problem.columns.size, problem.columns.before)
        )
        for copy in range(problem.copies):
            # The first integer of the image that is stored, and where it is stored.
            first = max(0, copy - before)
            self._integers(source, target, first, count, before + first - copy, copy * self._copy)

    def _integers(
        self, source: Operand, target: Operand, first: int, end: int, place: int, copy: int
    ) -> None:
        """Store the integers first..end of a row, from integer `place` of a line on."""
        b = self._b
        if place % 2:
            self._word(self._pad, self._integer(source, first), target, place // 2 + copy)
            first, place = first + 1, place + 1
        if first % 4 == 0:
            quads = (end - first) // 4
            self._quads(source, target, first, quads, place // 2 + copy)
            first, place = first + 4 * quads, place + 4 * quads
        pairs = (end - first) // 2

        def pair(index: Operand) -> None:
            at = b.add(source, b.mul(index, 2))
            left, right = self._integer(at, first), self._integer(at, first + 1)
            self._word(left, right, b.add(target, index), place // 2 + copy)

        repeat(b, pairs, pair)
        if first + 2 * pairs < end:
            last = self._integer(source, end - 1)
            self._word(last, self._pad, target, place // 2 + pairs + copy)

    def _quads(self, source: Operand, target: Operand, first: int, count: int, place: int) -> None:
        """Store four integers at once, from the word `place` of a line on."""
        b, x = self._b, self._problem.x
        align = gcd(self._x.align_bytes, 4, *x.strides[:2])
        kind = "s" if x.elem.is_signed else "u"

        def quad(index: Operand) -> None:
            at = b.add(source, b.mul(index, 4))
            value = b.load(self._x, at, 4, offset=first, align_bytes=align)
            even, odd = b.op(f"dsp_{kind}xtb16_w", value), b.op(f"dsp_{kind}xtb16_ror8_w", value)
            to = b.add(target, b.mul(index, 2))
            for number, name in enumerate(("dsp_pkhbt_w", "dsp_pkhtb_w")):
                b.store(b.op(name, even, odd), self._lines, to, offset=place + number)

        repeat(b, count, quad)

    def _integer(self, index: Operand, offset: int) -> Operand:
        """A stored value of the image, in 32 bits. Channels of a row are consecutive."""
        return self._b.convert(self._b.load(self._x, index, offset=offset), Elem.I32)

    def _word(self, left: Operand, right: Operand, index: Operand, offset: int) -> None:
        word = self._b.op("dsp_pkhbt_w", left, right)
        self._b.store(word, self._lines, index, offset=offset)

    # --- results -----------------------------------------------------------------------------

    def _tiles(self, image: Operand, band: Operand, row: Operand, block: Operand) -> None:
        """Write a loop over the tiles of a row of results and a block of filters."""
        b, problem, y = self._b, self._problem, self._problem.y
        source = b.mul(row, problem.rows.stride * problem.pitch)
        target = b.add(
            b.add(b.mul(image, y.strides[0]), b.mul(b.add(band, row), y.strides[1])),
            b.mul(block, problem.filters * y.strides[3]),
        )
        tiles, rest = divmod(problem.columns.outputs, _PIXELS)

        def tile(index: Operand, pixels: int = _PIXELS) -> None:
            at = b.add(source, b.mul(index, problem.step * _PIXELS // 2))
            to = b.add(target, b.mul(index, _PIXELS * y.strides[2]))
            self._tile(at, to, block, pixels)

        repeat(b, tiles, tile)
        if rest:
            tile(Imm(tiles), rest)

    def _tile(self, source: Operand, target: Operand, block: Operand, pixels: int) -> None:
        """Write the code of a tile."""
        b, problem, y = self._b, self._problem, self._problem.y
        filters = range(problem.filters)
        panel = b.mul(block, problem.rows.taps * problem.run * problem.filters)
        starts = [self._number(block, f, 0) for f in filters]
        sums: list[Operand] = [start for start in starts for _ in range(pixels)]
        if problem.is_small:
            with b.loop("tap", 0, problem.rows.taps, carry=sums) as tap:
                at = b.add(source, b.mul(tap.index, problem.pitch))
                of_row = b.add(panel, b.mul(tap.index, problem.run * problem.filters))
                tap.carry(self._products([*tap.carried], at, of_row, 0, pixels))
            sums = [*tap.results]
        else:
            for row in range(problem.rows.taps):
                sums = self._products(sums, source, panel, row, pixels)
        for f in filters:
            of_filter = self._of_filter(block, f)
            for pixel, total in enumerate(sums[f * pixels : (f + 1) * pixels]):
                result = apply_factors(b, problem.op, problem.factors, total, of_filter)
                b.store(result, self._y, target, offset=pixel * y.strides[2] + f * y.strides[3])

    def _products(
        self, sums: list[Operand], source: Operand, panel: Operand, row: int, pixels: int
    ) -> list[Operand]:
        """The sums, ordered by filter and pixel, plus the products of a row of the windows."""
        b, problem = self._b, self._problem
        for word in range(problem.run):
            values = [self._value(source, row, word, pixel) for pixel in range(pixels)]
            for f in range(problem.filters):
                place = (row * problem.run + word) * problem.filters + f
                weight = b.load(self._w, panel, offset=place)
                for pixel, value in enumerate(values):
                    index = f * pixels + pixel
                    sums[index] = b.op("dsp_smlad_w", value, weight, sums[index])
        return sums

    def _of_filter(self, block: Operand, number: int) -> OfFilter:
        """What `apply_factors` needs of a filter of the block."""
        if self._problem.factors.packed:
            word, common = self._number(block, number, 1), self._b.load(self._numbers, 0)
            return unpacked(self._b, self._problem.op, word, common)[1]
        mantissa, offset, unit = (self._number(block, number, i) for i in (1, 2, 3))
        return mantissa, offset, unit

    def _number(self, block: Operand, number: int, which: int) -> Operand:
        """A number of a filter of the block."""
        packed = self._problem.factors.packed
        width, first = (2, HEADER) if packed else (_NUMBERS, 0)
        at = self._b.mul(block, self._problem.filters * width)
        return self._b.load(self._numbers, at, offset=first + number * width + which)

    def _value(self, source: Operand, row: int, word: int, pixel: int) -> Operand:
        """A word of a pixel's window. Odd pixels may read the second copy."""
        problem = self._problem
        copy = pixel % 2 * (problem.copies - 1) * self._copy
        offset = row * problem.pitch + pixel * problem.step // 2 + word + copy
        return self._b.load(self._lines, source, offset=offset)
