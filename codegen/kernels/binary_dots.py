"""Binary convolutions whose lanes are channels: differing bits are counted in bytes, then added up.

A register holds 16 bytes of a pixel's channels. Exclusive or with a filter's 16 bytes, a count of
bits in each byte, and an addition do 128 products in three instructions, and no value is broadcast.
A tile of 4 pixels x 4 filters has 16 registers of counts, which are added up at its end: twice, for
the 8 filters whose signs fill a byte. Pixels outside the image are in memory (`bordered_bits`), so
that the code has no cases for edges. If they count as 0 instead of as signs, the table of start
values differs near edges.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ellc.codegen.blocks.access import Access, bit_bytes
from ellc.codegen.blocks.calls import Arg, KernelCall, access_arg
from ellc.codegen.blocks.candidates import Candidate, Prediction, kernel
from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.scratch import scratch
from ellc.codegen.blocks.weights import constant
from ellc.codegen.blocks.window import Axis, Tiles, even_tiles, window_axes
from ellc.codegen.kernels.binary_starts import Table, limits_of, starts_of
from ellc.codegen.kernels.binary_tile import BitTile
from ellc.codegen.kernels.binary_window import FILTERS, WORD, BitWindow, bit_window
from ellc.codegen.kernels.bordered_bits import with_border
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import Elem
from ellc.ir.ops.binary import BinaryConv2D
from ellc.ir.types import DType

_PIXELS = 4
_LANES = 4
_PAIR = 2 * FILTERS
"""Counts in a register: two pixels of 4 filters."""
TILE_COUNTS = _PIXELS * FILTERS
BLOCK = 8
"""Filters of a block: their signs are a byte."""
_NEAR_BYTES = 1 << 14
"""Weights of more bytes than this are prefetched while those of the block before are used.
Thousands of modelled cycles on pi3_64 without and with prefetch: 3x3, 512 -> 1024 channels, 4x4:
2,769, 2,553; 256 -> 512, 7x7: 1,839, 1,806; 128, 28x28: 3,578, 3,583."""
_MOST_PRODUCTS = (1 << 15) - 1
"""Counts and limits have 16 bits, limits with a sign."""


@dataclass(frozen=True, slots=True)
class _Problem:
    """A binary convolution: its image with all pixels that windows read, and its geometry."""

    conv: BinaryConv2D
    image: Access
    window: BitWindow
    walk: tuple[int, int, int, int]
    rows: Axis
    columns: Axis


@kernel(BinaryConv2D, name="binary_dots")
def binary_dots(node: PlacedNode) -> Iterator[Candidate]:
    """A candidate for targets with 32 vector registers that count bits in bytes."""
    if not _suits(node):
        return
    axes = _axes(node)
    window = bit_window(*axes, bit_bytes(node.constant(1, "weights").shape[3]))
    if window is None:
        return
    prediction = Prediction("binary_dots", f"{_PIXELS}x4", _cycles(node, window, axes[0]))
    yield Candidate(prediction, partial(_lower, node, window, axes))


def _suits(node: PlacedNode) -> bool:
    conv, target = node.anchor, node.target
    assert isinstance(conv, BinaryConv2D)
    if not target.has_neon or target.vector_registers < 32 or node.inputs[1].array is None:
        return False
    filters, rows, columns, depth = node.inputs[1].type.shape
    is_bits = node.result.type.dtype is DType.BIT
    if filters % BLOCK or (is_bits and bit_bytes(filters) * 8 != filters):
        return False
    if bit_bytes(depth) % WORD or rows * columns * depth > _MOST_PRODUCTS:
        return False
    # Bits behind the last channel are 0; a border of ones would set them.
    return depth % 64 == 0 or conv.padding.is_empty or conv.padding.values[0] <= 0


def _axes(node: PlacedNode) -> tuple[Axis, Axis]:
    """The rows and columns of the windows."""
    conv = node.anchor
    assert isinstance(conv, BinaryConv2D)
    _, rows, columns, _ = node.anchor_type().shape
    taps = node.constant(1, "weights").shape[1:3]
    x = node.inputs[0].access
    return window_axes(x, (rows, columns), (taps[0], taps[1]), conv.stride, (1, 1), conv.padding)


def _cycles(node: PlacedNode, window: BitWindow, axis: Axis) -> float:
    """The predicted issue slots of the convolution.

    A register of counts takes three slots for each piece of 16 bytes, and 2 at its end. Loads are
    those of the pieces of each filter, and of the pixels' pieces, of which neighbours share a half.
    """
    images, rows, columns, filters = node.anchor_type().shape
    load = node.target.core.load_cycles
    pieces = window.most_counted * (axis.mean_taps / axis.taps if window.skips_rows else 1)
    of_tile = pieces * (3 * _PIXELS * 4 + (4 + _PIXELS / 2) * load) + 2 * _PIXELS * 4
    return images * rows * -(-columns // _PIXELS) * (filters / 4) * of_tile


def _lower(node: PlacedNode, window: BitWindow, axes: tuple[Axis, Axis]) -> list[KernelCall]:
    conv = node.anchor
    assert isinstance(conv, BinaryConv2D)
    images, rows, columns, filters = node.anchor_type().shape
    x, calls = node.inputs[0].access, list[KernelCall]()
    if not conv.padding.is_empty or x.strides[2] != x.shape[3]:
        ones = not conv.padding.is_empty and conv.padding.values[0] > 0
        x, call = with_border(node.name, x, conv.padding, ones=ones)
        calls.append(call)
    walk = (images, rows, columns, filters)
    problem = _Problem(conv, x, window, walk, *axes)
    return [*calls, _kernel(node, problem)]


def _kernel(node: PlacedNode, problem: _Problem) -> KernelCall:
    weights = node.constant(1, "weights")
    b = KernelBuilder(node.name)
    x = b.param("x", Elem.U8, problem.image.align_bytes)
    w = b.param("w", Elem.U8, 64)
    counts = b.param("counts", Elem.U16, 64, writable=True)
    packed = partial(problem.window.packed, weights)
    size = problem.window.trips * problem.window.trip_bytes * problem.walk[3]
    what = f"signs:dots:{problem.window.trip}:{weights.shape}"
    images, rows, _, filters = problem.walk
    blocks = images * filters // BLOCK
    bands = min(rows, -(-4 * node.threads // blocks)) if node.threads > 1 else 1
    memory = scratch(Elem.U16, (blocks * bands * counts_of_row(row_tiles(problem)),))
    args: list[Arg] = [
        access_arg(problem.image),
        node.inputs[1].derived(what, size, packed),
        access_arg(memory),
    ]
    axes, padding = (problem.rows, problem.columns), problem.conv.padding
    starts = starts_of(*axes, weights, padding, skips_rows=problem.window.skips_rows)
    limits = limits_of(node, starts)
    values, elem = (starts, Elem.F32) if limits is None else (limits, Elem.I16)
    table = values.place(b, elem, BLOCK)
    args += table.args
    scale: Param | None = None
    if limits is None and len(node.inputs) > 2:
        args.append(constant(node.constant(2, "scale")))
        scale = b.param("scale", Elem.F32, 64)
    epilogue = Epilogue(node, b, problem.walk)
    if node.target.core.memory is not None:
        epilogue.fetch_ahead((0, 0, 0, BLOCK), constants=True)
    results = _Signs(b, table, epilogue) if limits else _Sums(b, table, epilogue, scale)
    tile = BitTile(
        b,
        (x, w),
        problem.window,
        problem.image.strides[1],
        problem.conv.stride[1] * problem.image.strides[2],
        BLOCK * problem.window.trips * problem.window.trip_bytes if size > _NEAR_BYTES else 0,
    )
    extent = _Nest(b, problem, tile, counts, results).write(bands)
    note = f"dots {_PIXELS}x4 {problem.window.trip}{' signs' if limits else ''}"
    return KernelCall(b.finish(), (*args, *epilogue.args), extent, note)


class _Results(ABC):
    """What becomes of the counts of a block of filters."""

    def __init__(self, b: KernelBuilder, table: Table, epilogue: Epilogue) -> None:
        self._b, self.table, self._epilogue = b, table, epilogue

    @abstractmethod
    def store(
        self, counts: Sequence[Operand], at: tuple[Operand, ...], places: Sequence[Operand]
    ) -> None:
        """Store the results of neighbouring pixels; `at` is the place of the first one.

        Each of `counts` has 8 filters. `places` are the indices of their values in the table.
        """


class _Signs(_Results):
    """The sign is +1 if no more bits differ than a limit."""

    def store(
        self, counts: Sequence[Operand], at: tuple[Operand, ...], places: Sequence[Operand]
    ) -> None:
        b = self._b
        limits = {
            place: b.load(self.table.values, place, BLOCK, align_bytes=16)
            for place in dict.fromkeys(places)
        }
        chains = [
            partial(self._packed, count, limits[place])
            for count, place in zip(counts, places, strict=True)
        ]
        for pixel, signs in enumerate(b.interleaved(chains)):
            self._epilogue.write_packed(signs, at, (0, 0, pixel, 0))

    def _packed(self, count: Operand, limit: Operand) -> Operand:
        """The signs of 8 filters as a byte."""
        b = self._b
        return b.op("pack_bits", b.compare("le", b.convert(count, Elem.I16), limit))


class _Sums(_Results):
    """The start value minus twice the count, exact in float32, times the scale if there is one."""

    def __init__(
        self, b: KernelBuilder, table: Table, epilogue: Epilogue, scale: Param | None
    ) -> None:
        super().__init__(b, table, epilogue)
        self._scale = scale

    def store(
        self, counts: Sequence[Operand], at: tuple[Operand, ...], places: Sequence[Operand]
    ) -> None:
        halves = range(0, BLOCK, _LANES)
        chains = [
            partial(self._value, count, place, at[-1], first)
            for count, place in zip(counts, places, strict=True)
            for first in halves
        ]
        values = self._b.interleaved(chains)
        size = len(halves)
        pixels = [
            (values[pixel * size : (pixel + 1) * size], (0, 0, pixel, 0))
            for pixel in range(len(counts))
        ]
        self._epilogue.store_pixels(pixels, at, BLOCK, at_once=len(pixels))

    def _value(self, count: Operand, place: Operand, channel: Operand, first: int) -> Operand:
        """The sums of a vector of filters, from the block's filter `first` on."""
        b = self._b
        start = b.load(self.table.values, place, _LANES, offset=first, align_bytes=16)
        part = b.convert(b.part(count, first, _LANES), Elem.F32)
        value = b.mul_add(part, b.const(-2.0, part), start)
        if self._scale is None:
            return value
        return b.mul(value, b.load(self._scale, channel, _LANES, offset=first, align_bytes=16))


class _Nest:
    """Writes the loops around the tiles, the outermost over blocks of filters: weights come once.

    The counts of a row go through memory, where each tile has a register for two pixels and 4
    filters. So the loops that count contain nothing else, and a core's scheduler can replace them.
    """

    def __init__(
        self,
        b: KernelBuilder,
        problem: _Problem,
        tile: BitTile,
        counts: Param,
        results: _Results,
    ) -> None:
        self._b, self._problem, self._tile = b, problem, tile
        self._counts, self._results = counts, results
        self._rows = row_tiles(problem)

    def write(self, bands: int) -> int:
        """Write the loops. Returns the extent of the parallel loop, (block, image, band)."""
        b = self._b
        images, rows, _, filters = self._problem.walk
        blocks = filters // BLOCK
        with b.loop("part", b.begin, b.end) as part:
            band, rest = b.rem(part.index, bands), b.div(part.index, bands)
            image, block = b.rem(rest, images), b.div(rest, images)
            memory = b.mul(part.index, counts_of_row(self._rows))
            first = b.div(b.mul(band, rows), bands)
            last = b.div(b.mul(b.add(band, 1), rows), bands)
            with b.loop("row", first, last) as row:
                self._count_row(image, block, row.index, memory)
                self._store_row(image, block, row.index, memory)
        return blocks * images * bands

    def _count_row(self, image: Operand, block: Operand, row: Operand, memory: Operand) -> None:
        """Count for both halves of the block."""
        b, strides, conv = self._b, self._problem.image.strides, self._problem.conv
        window = self._problem.window
        panel = window.trips * window.trip_bytes * FILTERS
        weights = b.mul(block, panel * (BLOCK // FILTERS))
        origin = b.add(b.mul(image, strides[0]), b.mul(row, conv.stride[0] * strides[1]))
        step = conv.stride[1] * strides[2]
        whole = (Imm(0), Imm(window.rows))
        taps = self._problem.rows.dynamic_taps(b, row) if window.skips_rows else whole
        with b.loop("half", 0, BLOCK // FILTERS) as half:
            part = b.add(weights, b.mul(half.index, panel))
            to = b.add(memory, b.mul(half.index, counts_of_row(self._rows) // 2))
            for number, tiles in _numbered(self._rows):
                with b.loop("tile", 0, tiles.count) as tile:
                    index = b.add(origin, b.mul(tile.index, tiles.size * step))
                    index = b.add(index, tiles.start * step)
                    counts = self._tile.counts(index, part, tiles.size, taps)
                    at = b.add(to, b.mul(tile.index, TILE_COUNTS))
                    for place, count in enumerate(counts):
                        offset = number * TILE_COUNTS + place * _PAIR
                        b.store(count, self._counts, at, offset=offset, align_bytes=16)

    def _store_row(self, image: Operand, block: Operand, row: Operand, memory: Operand) -> None:
        """Store the results. Tiles at edges, whose values in the table differ, have own code."""
        b, channel, table = self._b, self._b.mul(block, BLOCK), self._results.table
        values = table.row(b, block, row)
        for number, tiles in _numbered(even_tiles(self._problem.columns, _PIXELS)):
            with b.loop("tile", 0, tiles.count) as tile:
                column = b.add(b.mul(tile.index, tiles.size), tiles.start)
                at = b.add(memory, b.mul(tile.index, TILE_COUNTS))
                counts = self._loaded(at, number * TILE_COUNTS, tiles.size)
                indices = table.columns(b, tiles, column)
                known = {index: b.add(values, index) for index in dict.fromkeys(indices)}
                places = [known[index] for index in indices]
                self._results.store(counts, (image, row, column, channel), places)

    def _loaded(self, at: Operand, offset: int, pixels: int) -> list[Operand]:
        """The counts of a tile: 8 filters for each pixel."""
        b, half = self._b, counts_of_row(self._rows) // 2
        counts: list[Operand] = []
        for first in range(0, pixels, 2):
            low, high = (
                b.load(self._counts, at, _PAIR, offset=offset + place, align_bytes=16)
                for place in (first * FILTERS, first * FILTERS + half)
            )
            for start in range(0, min(2, pixels - first) * FILTERS, FILTERS):
                parts = (b.part(v, start, FILTERS) for v in (low, high))
                counts.append(b.op("join", *parts))
        return counts


def row_tiles(problem: _Problem) -> list[Tiles]:
    """The tiles of a row of the result."""
    return even_tiles(replace(problem.columns, bordered=True), _PIXELS)


def counts_of_row(tiles: Sequence[Tiles]) -> int:
    """How many counts of a block of filters are in memory for a row."""
    return sum(t.count for t in tiles) * TILE_COUNTS * (BLOCK // FILTERS)


def _numbered(rows: Sequence[Tiles]) -> Iterator[tuple[int, Tiles]]:
    """The tiles, and the number of the first one of each group."""
    number = 0
    for tiles in rows:
        yield number, tiles
        number += tiles.count
