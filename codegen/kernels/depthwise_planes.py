"""Depthwise convolutions of bytes on cores that multiply two pairs of 16-bit integers at once.

Four channels of an image are first rearranged into planes of 16-bit integers, with their padding:
a plane has the pixels of one channel, so that a word holds two neighbours of a row. A window row of
three taps then takes two instructions: one multiplies two taps, one the third. There is no code for
edges. Results are stored one byte at a time; another result is computed meanwhile. A tile of four
pixels loads the words of the weights again: if they stay in registers, LLVM moves sums to memory.

Modelled cycles for a multiply-add of 3x3 windows on a Cortex-M7 (M33): 48x48 pixels and 8 channels
1.5 (2.2), 12x12 and 64 1.6 (2.3), 6x6 and 128 1.6 (2.3); stride 2, 48x48 and 16 2.3 (3.4). With the
family `depthwise` 2.6, 2.6, 2.3 and 2.8 on a Cortex-M7.

Bands of rows keep the planes small. The rows that two bands share are rearranged twice.

Instructions for each result of a 3x3 window with stride 1: 6 multiply-adds, 4.5 loads, 3 of the
requantisation (`blocks/high_factors.py`), one of the loop, and 2.3 of the rearrangement, which
takes 18 for two pixels of four channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import gcd

import numpy as np

from ellc.codegen.blocks.calls import KernelCall, WeightArg, access_arg
from ellc.codegen.blocks.candidates import Candidate, Prediction, kernel
from ellc.codegen.blocks.high_factors import OfFilter, apply_factors
from ellc.codegen.blocks.packed_factors import HEADER, header, unpacked
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.scratch import scratch
from ellc.codegen.blocks.weights import constant
from ellc.codegen.kernels.depthwise_shared import shared_planes
from ellc.codegen.kernels.plane_problem import GROUP, PIXELS, Layout, PlaneProblem, plane_problem
from ellc.codegen.kernels.plane_products import RowProducts, WeightWords, unit_of
from ellc.codegen.kernels.word_products import (
    padding_word,
    repeat,
)
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Kernel, Operand
from ellc.codegen.kir.types import Elem, VType
from ellc.ir.ops.quantised_conv import IntConv2D


@kernel(IntConv2D, name="depthwise_planes")
def depthwise_planes(node: PlacedNode) -> Iterator[Candidate]:
    """A candidate on cores whose cost of such instructions is known."""
    problem = plane_problem(node)
    if problem:
        if shared := shared_planes(node, problem):
            yield shared
        if problem.terms.types.weight is not Elem.I8:
            return
        prediction = Prediction("depthwise_planes", cycles=problem.cycles())
        yield Candidate(prediction, lambda: [_call(node, problem)])


def _numbers(problem: PlaneProblem) -> list[WeightArg]:
    """What filters multiply and add; if it is not packed, then also the k of each."""
    factors, filters = problem.factors, len(problem.terms.weights)
    starts = problem.terms.start(filters, None)
    if factors.packed:
        rows = np.stack([starts + factors.starts, factors.mantissas], axis=1).astype(np.int32)
        return [constant(np.concatenate([header(problem.op, factors), rows.reshape(-1)]))]
    table = np.stack([factors.start(starts), factors.mantissas, factors.offsets], axis=1)
    return [constant(table), constant(factors.raised.astype(np.int8))]


def _call(node: PlacedNode, problem: PlaneProblem) -> KernelCall:
    """Write the kernel, and return its call."""
    layout = problem.layout()
    first = WeightWords.of(problem.columns).place(problem.rows.taps, 0)
    planes = scratch(Elem.I32, (first + GROUP * layout.words,))
    args = (
        access_arg(problem.x),
        problem.stored_weights(node),
        *_numbers(problem),
        access_arg(planes),
        access_arg(problem.y),
    )
    kernel_ir = _Writer(KernelBuilder(node.name), problem, layout).write()
    return KernelCall(kernel_ir, args, 1, "depthwise_planes")


class _Writer:
    """Writes the kernel. One thread computes everything, as all groups use the same planes."""

    def __init__(self, b: KernelBuilder, problem: PlaneProblem, layout: Layout) -> None:
        self._b, self._problem, self._layout = b, problem, layout
        x, y = problem.x, problem.y
        self._x = b.param("x", x.elem, x.align_bytes)
        self._w = b.param("w", Elem.I8, 64)
        self._of_filter = b.param("of_filter", Elem.I32, 64)
        packed = problem.factors.packed
        self._raised = None if packed else b.param("raised", Elem.I8, 64)
        self._planes = b.param("planes", Elem.I32, 64, writable=True)
        self._y = b.param("y", y.elem, y.align_bytes, writable=True)
        self._pad = padding_word(problem.terms)
        self._words = WeightWords.of(problem.columns)
        self._first = self._words.place(problem.rows.taps, 0)  # of the planes

    def write(self) -> Kernel:
        """The finished kernel."""
        b, layout, (images, rows, _, channels) = self._b, self._layout, self._problem.walk
        with b.loop("part", b.begin, b.end):
            with b.loop("word", self._first, self._first + GROUP * layout.words) as word:
                b.store(self._pad, self._planes, word.index)
            with (
                b.loop("image", 0, images) as image,
                b.loop("group", 0, channels, GROUP) as group,
                b.loop("band", 0, rows, layout.rows) as band,
            ):
                count: Operand = Imm(layout.rows)
                if rows % layout.rows:
                    count = b.min(b.sub(rows, band.index), layout.rows)
                self._rearrange(image.index, group.index, band.index, count)
                with b.loop("channel", 0, GROUP) as channel:
                    self._plane(image.index, group.index, channel.index, band.index, count)
        return b.finish()

    # --- planes ------------------------------------------------------------------------------

    def _rearrange(self, image: Operand, group: Operand, band: Operand, count: Operand) -> None:
        """Write a loop that rearranges the rows under `count` rows of results from `band` on."""
        b, axis, x = self._b, self._problem.rows, self._problem.x
        lines = b.add(b.mul(b.sub(count, 1), axis.stride), axis.taps)
        first = b.sub(b.mul(band, axis.stride), axis.before)
        with b.loop("line", 0, lines) as line:
            row = b.add(first, line.index)
            source = b.add(b.mul(image, x.strides[0]), b.mul(row, x.strides[1]))
            source = b.add(source, group)
            target = b.add(b.mul(line.index, self._layout.pitch), self._first)
            if axis.is_interior and not axis.bordered:
                self._row(source, target)
                return
            inside = b.op("and", b.compare("ge", row, Imm(0)), b.compare("lt", row, Imm(axis.size)))
            with b.when(inside):
                self._row(source, target)
            if self._layout.rows < axis.outputs:  # another band may have had pixels here
                outside = b.op("xor", inside, Imm(1, VType(Elem.MASK)))
                with b.when(outside):
                    self._padding(target)

    def _padding(self, target: Operand) -> None:
        """Write a loop that fills a row of all planes."""
        b, layout = self._b, self._layout
        with b.loop("word", 0, layout.pitch) as word:
            at = b.add(target, word.index)
            for channel in range(GROUP):
                b.store(self._pad, self._planes, at, offset=channel * layout.words)

    def _row(self, source: Operand, target: Operand) -> None:
        """Write the code that rearranges a row of pixels. Words at its ends may hold one pixel."""
        b, axis, pitch = self._b, self._problem.columns, self._problem.x.strides[2]
        single = axis.before % 2
        target = b.add(target, axis.before // 2)
        if single:
            self._pixels(None, self._loaded(source, 0), target, 0)
        pairs = (axis.size - single) // 2

        def pair(index: Operand) -> None:
            first = b.add(source, b.mul(index, 2 * pitch))
            left, right = (self._loaded(first, (single + i) * pitch) for i in (0, 1))
            # The planes are at positive offsets of a pointer: negative ones would not fit.
            at = b.add(target, index)
            at = at if isinstance(index, Imm) else b.op("opaque", at)
            self._pixels(left, right, at, single)

        repeat(b, pairs, pair)
        if single + 2 * pairs < axis.size:
            last = self._loaded(source, (axis.size - 1) * pitch)
            self._pixels(last, None, target, single + pairs)

    def _loaded(self, index: Operand, offset: int) -> tuple[Operand, Operand]:
        """The four channels of a pixel as 16-bit integers: the even ones, and the odd ones."""
        b, x = self._b, self._problem.x
        align = gcd(self._x.align_bytes, 4, *x.strides[:3])
        value = b.load(self._x, index, GROUP, offset=offset, align_bytes=align)
        kind = "s" if x.elem.is_signed else "u"
        return b.op(f"dsp_{kind}xtb16_w", value), b.op(f"dsp_{kind}xtb16_ror8_w", value)

    def _pixels(
        self,
        left: tuple[Operand, Operand] | None,
        right: tuple[Operand, Operand] | None,
        index: Operand,
        offset: int,
    ) -> None:
        """Store two neighbouring pixels in all planes. None stands for padding."""
        b, padding = self._b, (self._pad, self._pad)
        for odd, (first, second) in enumerate(zip(left or padding, right or padding, strict=True)):
            for upper, name in enumerate(("dsp_pkhbt_w", "dsp_pkhtb_w")):
                plane = (2 * upper + odd) * self._layout.words
                b.store(b.op(name, first, second), self._planes, index, offset=plane + offset)

    # --- results -----------------------------------------------------------------------------

    def _plane(
        self, image: Operand, group: Operand, channel: Operand, band: Operand, count: Operand
    ) -> None:
        """Write the loops over a band of results of one channel."""
        b, layout, y = self._b, self._layout, self._problem.y
        filter_ = b.add(group, channel)
        self._filter(filter_)
        stride, outputs = self._problem.rows.stride, self._problem.columns.outputs
        with b.loop("row", 0, count) as row:
            source = b.add(b.mul(channel, layout.words), b.mul(row.index, stride * layout.pitch))
            source = b.add(source, self._first)
            target = b.add(b.mul(image, y.strides[0]), b.mul(filter_, y.strides[3]))
            target = b.add(target, b.mul(b.add(band, row.index), y.strides[1]))
            tiles, rest = divmod(outputs, PIXELS)
            # LLVM must not know what was stored there: it would keep all of it in registers.
            numbers = b.op("opaque", Imm(0))
            repeat(b, tiles, partial(self._tile, numbers, source, target, PIXELS))
            if rest:
                self._tile(numbers, source, target, rest, Imm(tiles))

    def _filter(self, filter_: Operand) -> None:
        """Store what a filter multiplies and adds where tiles load it from."""
        b, problem = self._b, self._problem
        numbers, raised = self._numbers(filter_)
        for number, value in enumerate(numbers):
            b.store(value, self._planes, number)
        taps = problem.columns.taps
        at = b.mul(filter_, problem.rows.taps * taps)
        for row in range(problem.rows.taps):
            stored = [b.load(self._w, at, offset=row * taps + tap) for tap in range(taps)]
            weights: list[Operand] = [b.convert(w, Elem.I32) for w in stored]
            if not problem.shifts_sums:
                weights = [b.op("shl_by", w, raised) for w in weights]
            for number, own in enumerate(self._words.words):
                halves = [weights[tap] for tap in own]
                word = b.op("dsp_pkhbt_w", *halves) if len(own) > 1 else halves[0]
                b.store(word, self._planes, self._words.place(row, number))

    def _numbers(self, filter_: Operand) -> tuple[list[Operand], Operand]:
        """The numbers of a filter that are stored, and its k."""
        b, problem = self._b, self._problem
        corrected = problem.factors.corrected
        if self._raised is not None:
            loaded = [b.load(self._of_filter, b.mul(filter_, 3), offset=n) for n in range(3)]
            raised = b.convert(b.load(self._raised, filter_), Elem.I32)
            one = b.const(1, raised)
            units = [b.op("shl_by", one, b.sub(raised, one))] if corrected else []
            return [*loaded, *units], raised
        at, common = b.mul(filter_, 2), b.load(self._of_filter, 0)
        start, word = (b.load(self._of_filter, at, offset=HEADER + n) for n in range(2))
        raised, (mantissa, offset, unit) = unpacked(b, problem.op, word, common)
        if problem.shifts_sums:
            return [start, mantissa, offset, raised], raised
        first = b.op("shl_by", start, raised)
        return [first, mantissa, offset, *([unit] if corrected else [])], raised

    def _tile(
        self, numbers: Operand, source: Operand, target: Operand, pixels: int, tile: Operand
    ) -> None:
        """Write the code of `pixels` neighbouring results."""
        b, problem, y = self._b, self._problem, self._problem.y
        at = b.add(source, b.mul(tile, problem.columns.stride * PIXELS // 2))
        sums: list[Operand] = [b.load(self._planes, numbers)] * pixels
        products = RowProducts(b, self._planes, self._words, problem.columns, numbers)
        for row in range(problem.rows.taps):
            sums = products.added(sums, at, row * self._layout.pitch, row)
        index = b.add(target, b.mul(tile, PIXELS * y.strides[2]))
        mantissa, offset, last = (b.load(self._planes, numbers, offset=i) for i in (1, 2, 3))
        of_filter: OfFilter = (mantissa, offset, last)
        if problem.shifts_sums:
            sums = [b.op("shl_by", total, last) for total in sums]
            of_filter = mantissa, offset, unit_of(b, last)
        for pixel, total in enumerate(sums):
            result = apply_factors(b, problem.op, problem.factors, total, of_filter)
            b.store(result, self._y, index, offset=pixel * y.strides[2])
