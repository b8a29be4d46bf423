"""One kernel for all depthwise convolutions of bytes of a network with the same window and stride.

It computes what `depthwise_planes` computes, in the same planes. The sizes of a layer are numbers
that it reads, so that layers of any size have equal kernels, which the plan keeps once. It is for
small code. Sums are shifted instead of weights, as some layers need it, and tiles at the end of a
row compute pixels that they do not store.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from ellc.codegen.blocks.access import Access, dense
from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import Candidate, Prediction
from ellc.codegen.blocks.high_factors import apply_factors
from ellc.codegen.blocks.packed_factors import header, unpacked
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.scratch import scratch
from ellc.codegen.blocks.weights import constant
from ellc.codegen.kernels.plane_problem import GROUP, Layout, PlaneProblem
from ellc.codegen.kernels.plane_products import RowProducts, WeightWords, unit_of
from ellc.codegen.kernels.word_products import padding_word
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Kernel, Operand
from ellc.codegen.kir.types import Elem, VType
from ellc.ir.types import Array

_SIZES = (
    *("channels", "rows", "columns", "result_rows", "result_columns"),
    *("lines", "pitch", "band", "bands"),
)
_PAD, _ZERO, _COMMON, _SHIFT = range(len(_SIZES), len(_SIZES) + 4)
"""The numbers after the sizes: a word of two pixels outside of the image, what is subtracted from
unsigned weights, the common offset, F."""
_START, _MANTISSA, _OFFSET, _RAISED = range(4)
_PIXELS = 2
"""The results of a tile. Visual wake words needs 616 bytes less code with 2 than with 4; it takes
10.42 and 10.47 million modelled cycles on a Cortex-M7, 16.83 and 16.62 on a Cortex-M33."""


def shared_planes(node: PlacedNode, problem: PlaneProblem) -> Candidate | None:
    """The candidate, if code should be small, and image and result are dense."""
    x, y = problem.x, problem.y
    is_dense = _is_dense(x) and _is_dense(y) and x.align_bytes % GROUP == 0
    if node.code != "size" or not problem.factors.packed or not is_dense or problem.walk[0] > 1:
        return None
    # It takes longer than that, but other families would not be shorter.
    prediction = Prediction("depthwise_planes", "any", problem.cycles())
    return Candidate(prediction, partial(_call, node, problem))


def _is_dense(access: Access) -> bool:
    return access.strides == dense(access.shape)


def _numbers(problem: PlaneProblem, layout: Layout) -> Array:
    """The sizes and numbers of a layer."""
    pad = padding_word(problem.terms).value
    _, rows, columns, channels = problem.walk
    sizes = {
        "channels": channels,
        "rows": problem.rows.size,
        "columns": problem.columns.size,
        "result_rows": rows,
        "result_columns": columns,
        "lines": layout.lines,
        "pitch": layout.pitch,
        "band": layout.rows,
        "bands": -(-rows // layout.rows),
    }
    own = [*(sizes[name] for name in _SIZES), pad, problem.terms.types.weight_zero]
    return np.concatenate([np.array(own, np.int32), header(problem.op, problem.factors)])


def _call(node: PlacedNode, problem: PlaneProblem) -> list[KernelCall]:
    terms, layout, factors = problem.terms, problem.layout(), problem.factors
    filters = len(terms.weights)
    first = WeightWords.of(problem.columns).place(problem.rows.taps, 0)
    starts = terms.start(filters, None) + factors.starts
    of_filter = np.stack([starts, factors.mantissas], axis=1).astype(np.int32)
    args = (
        access_arg(problem.x),
        problem.stored_weights(node),
        constant(of_filter),
        constant(_numbers(problem, layout)),
        access_arg(scratch(Elem.I32, (first + GROUP * layout.words + _beyond(problem, layout),))),
        access_arg(problem.y),
    )
    kernel = _Writer(KernelBuilder(node.name), problem).write()
    return [KernelCall(kernel, args, 1, "depthwise_planes any")]


def _beyond(problem: PlaneProblem, layout: Layout) -> int:
    """The words behind the last row that its last tile reads, for pixels that it does not store."""
    columns = problem.columns
    last = (-(-columns.outputs // _PIXELS) - 1) * columns.stride * _PIXELS // 2
    end = last + ((_PIXELS - 1) * columns.stride + columns.taps - 1) // 2 + 1
    return max(0, end - layout.pitch)


class _Writer:
    """Writes the kernel."""

    def __init__(self, b: KernelBuilder, problem: PlaneProblem) -> None:
        self._b, self._problem = b, problem
        self._x = b.param("x", problem.x.elem, GROUP)
        self._w = b.param("w", problem.terms.types.weight, 64)
        self._of_filter = b.param("of_filter", Elem.I32, 64)
        self._sizes = b.param("sizes", Elem.I32, 64)
        self._planes = b.param("planes", Elem.I32, 64, writable=True)
        self._y = b.param("y", problem.y.elem, 1, writable=True)
        self._words = WeightWords.of(problem.columns)
        self._first = self._words.place(problem.rows.taps, 0)

    def write(self) -> Kernel:
        """The finished kernel."""
        b = self._b
        with b.loop("part", b.begin, b.end):
            plane = b.mul(self._size("lines"), self._size("pitch"))
            end = b.add(b.mul(plane, GROUP), self._first)
            self._fill(Imm(self._first), end, (Imm(0),))
            with (
                b.loop("group", 0, self._size("channels"), GROUP) as group,
                b.loop("band", 0, self._size("bands")) as band,
            ):
                top = b.mul(band.index, self._size("band"))
                count = b.min(b.sub(self._size("result_rows"), top), self._size("band"))
                self._rearrange(group.index, top, count, plane)
                with b.loop("channel", 0, GROUP) as channel:
                    filter_ = b.add(group.index, channel.index)
                    self._filter(filter_)
                    self._rows(filter_, b.mul(channel.index, plane), top, count)
        return b.finish()

    def _size(self, name: str) -> Operand:
        return self._b.convert(self._b.load(self._sizes, _SIZES.index(name)), Elem.INDEX)

    def _fill(self, begin: Operand, end: Operand, planes: Sequence[Operand]) -> None:
        """Write a loop that fills these words of all planes with padding."""
        b, pad = self._b, self._b.load(self._sizes, _PAD)
        with b.loop("word", begin, end) as word:
            for plane in planes:
                b.store(pad, self._planes, b.add(word.index, plane))

    # --- planes ------------------------------------------------------------------------------

    def _rearrange(self, group: Operand, top: Operand, count: Operand, plane: Operand) -> None:
        """Write a loop that rearranges the rows of the image under `count` rows of results."""
        b, axis = self._b, self._problem.rows
        lines = b.add(b.mul(b.sub(count, 1), axis.stride), axis.taps)
        first = b.sub(b.mul(top, axis.stride), axis.before)
        planes = [b.mul(plane, n) for n in range(GROUP)]
        with b.loop("line", 0, lines) as line:
            row = b.add(first, line.index)
            pitch = self._size("pitch")
            target = b.add(b.mul(line.index, pitch), self._first)
            rows = self._size("rows")
            inside = b.op("and", b.compare("ge", row, Imm(0)), b.compare("lt", row, rows))
            with b.when(inside):
                step = b.mul(self._size("columns"), self._size("channels"))
                self._row(b.add(b.mul(row, step), group), target, planes)
            with b.when(b.op("xor", inside, Imm(1, VType(Elem.MASK)))):
                self._fill(target, b.add(target, pitch), planes)

    def _row(self, source: Operand, target: Operand, planes: Sequence[Operand]) -> None:
        """Write the code that rearranges a row of pixels. Words at its ends may hold one pixel."""
        b, before = self._b, self._problem.columns.before
        step, columns = self._size("channels"), self._size("columns")
        target, single = b.add(target, before // 2), before % 2
        word = b.load(self._sizes, _PAD)
        pad = word, word
        if single:
            self._pixels(pad, self._loaded(source), target, planes)
            source, target = b.add(source, step), b.add(target, 1)
        rest = b.sub(columns, single)
        pairs = b.div(rest, 2)
        with b.loop("pair", 0, pairs) as pair:
            first = b.add(source, b.mul(b.mul(pair.index, 2), step))
            right = self._loaded(b.add(first, step))
            self._pixels(self._loaded(first), right, b.add(target, pair.index), planes)
        with b.when(b.compare("lt", b.mul(pairs, 2), rest)):
            last = self._loaded(b.add(source, b.mul(b.mul(pairs, 2), step)))
            self._pixels(last, pad, b.add(target, pairs), planes)

    def _loaded(self, index: Operand) -> tuple[Operand, Operand]:
        """The four channels of a pixel as 16-bit integers: the even ones, and the odd ones."""
        b = self._b
        value = b.load(self._x, index, GROUP, align_bytes=GROUP)
        kind = "s" if self._x.elem.is_signed else "u"
        return b.op(f"dsp_{kind}xtb16_w", value), b.op(f"dsp_{kind}xtb16_ror8_w", value)

    def _pixels(
        self,
        left: tuple[Operand, Operand],
        right: tuple[Operand, Operand],
        index: Operand,
        planes: Sequence[Operand],
    ) -> None:
        """Store two neighbouring pixels in all planes."""
        b = self._b
        for odd, (first, second) in enumerate(zip(left, right, strict=True)):
            for upper, name in enumerate(("dsp_pkhbt_w", "dsp_pkhtb_w")):
                plane = planes[2 * upper + odd]
                b.store(b.op(name, first, second), self._planes, b.add(index, plane))

    # --- results -----------------------------------------------------------------------------

    def _filter(self, filter_: Operand) -> None:
        """Store what a filter multiplies and adds where tiles load it from."""
        b, problem, at = self._b, self._problem, self._b.mul(filter_, 2)
        start, word = (b.load(self._of_filter, at, offset=n) for n in range(2))
        common = b.load(self._sizes, _COMMON)
        raised, (mantissa, offset, _) = unpacked(b, problem.op, word, common)
        for number, value in enumerate((start, mantissa, offset, raised)):
            b.store(value, self._planes, number)
        taps = problem.columns.taps
        at = b.mul(filter_, problem.rows.taps * taps)
        with b.loop("tap", 0, problem.rows.taps) as row:
            source = b.add(at, b.mul(row.index, taps))
            stored = [b.load(self._w, source, offset=tap) for tap in range(taps)]
            weights = [b.convert(w, Elem.I32) for w in stored]
            if not self._w.elem.is_signed:
                weights = [b.sub(w, b.load(self._sizes, _ZERO)) for w in weights]
            target = b.mul(row.index, len(self._words.words))
            for number, own in enumerate(self._words.words):
                halves = [weights[tap] for tap in own]
                packed = b.op("dsp_pkhbt_w", *halves) if len(own) > 1 else halves[0]
                b.store(packed, self._planes, target, offset=self._words.place(0, number))

    def _rows(self, filter_: Operand, plane: Operand, top: Operand, count: Operand) -> None:
        """Write the loops over a band of results of one channel."""
        b, stride = self._b, self._problem.rows.stride
        plane = b.add(plane, self._first)
        with b.loop("row", 0, count) as row:
            columns, channels = self._size("result_columns"), self._size("channels")
            source = b.add(plane, b.mul(b.mul(row.index, stride), self._size("pitch")))
            target = b.mul(b.add(top, row.index), b.mul(columns, channels))
            target = b.add(target, filter_)
            with b.loop("tile", 0, b.div(b.add(columns, _PIXELS - 1), _PIXELS)) as tile:
                self._tile(source, target, tile.index)

    def _tile(self, source: Operand, target: Operand, tile: Operand) -> None:
        """Write the code of a tile; only pixels inside the image are stored."""
        b, problem = self._b, self._problem
        # LLVM must not know what was stored there: it would keep all of it in registers.
        numbers = b.op("opaque", Imm(0))
        at = b.add(source, b.mul(tile, problem.columns.stride * _PIXELS // 2))
        sums: list[Operand] = [b.load(self._planes, numbers, offset=_START)] * _PIXELS
        products = RowProducts(b, self._planes, self._words, problem.columns, numbers)
        for row in range(problem.rows.taps):
            here = b.add(at, b.mul(self._size("pitch"), row)) if row else at
            sums = products.added(sums, here, 0, row)
        mantissa, offset, raised = (
            b.load(self._planes, numbers, offset=n) for n in (_MANTISSA, _OFFSET, _RAISED)
        )
        of_filter, shift = (mantissa, offset, unit_of(b, raised)), b.load(self._sizes, _SHIFT)
        channels, columns = self._size("channels"), self._size("result_columns")
        first = b.mul(tile, _PIXELS)
        for pixel, total in enumerate(sums):
            shifted = b.op("shl_by", total, raised)
            result = apply_factors(b, problem.op, problem.factors, shifted, of_filter, shift)
            column = b.add(first, pixel)
            to = b.add(target, b.mul(column, channels))
            if pixel == 0:
                b.store(result, self._y, to)
                continue
            with b.when(b.compare("lt", column, columns)):
                b.store(result, self._y, to)
