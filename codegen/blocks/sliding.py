"""Loops for windows that slide over every channel separately: pooling, depthwise convolution.

A tile is a small rectangle of output pixels times a block of channels. The innermost loop is over
blocks of channels, so that memory is read in order. An input pixel that several windows of the
rectangle contain is loaded once. Rectangles at an edge have their own code, because the taps that
fall outside the image must be known when the code is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.window import Axis, Tiles, column_tiles
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand

Taps = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Sliding:
    """A windowed operator: its image, the window along rows and columns, and the result.

    `walk` has the extents of the result: (images, rows, columns, channels).
    """

    x: Access
    walk: tuple[int, int, int, int]
    rows: Axis
    columns: Axis


@dataclass(frozen=True, slots=True)
class Rectangle:
    """The size of a tile: output rows, output pixels per row, and vectors of `lanes` channels."""

    rows: int
    pixels: int
    vectors: int
    lanes: int

    @property
    def block(self) -> int:
        """The number of result channels in a tile."""
        return self.vectors * self.lanes

    @property
    def note(self) -> str:
        """A short name for reports."""
        return f"{self.rows}x{self.pixels}x{self.block}"


@dataclass(frozen=True, slots=True)
class RectanglePosition:
    """The position of a tile in the loops.

    `rows` has the taps [first, end) of each output row, and `columns` those of each output column.
    The first `valid` channels of the block exist. `last` says that the block is the last one.
    `turn` counts the blocks of a trip of the innermost loop.
    """

    image: Operand
    row: Operand
    column: Operand
    channel: Operand
    rows: tuple[Taps, ...]
    columns: tuple[Taps, ...]
    valid: int
    last: bool
    turn: int = 0

    @property
    def at(self) -> tuple[Operand, Operand, Operand, Operand]:
        """The coordinates of the tile's first result."""
        return (self.image, self.row, self.column, self.channel)


WriteTile = Callable[[RectanglePosition], None]


def write_tiles(
    b: KernelBuilder,
    shape: Sliding,
    tile: Rectangle,
    body: WriteTile,
    *,
    threads: int,
    split_last: bool,
    turns: int = 1,
) -> int:
    """Write the loops around the tiles. Returns the extent of the parallel loop.

    With `split_last` the last block of channels has its own code even if the block is full. A trip
    of the innermost loop computes `turns` blocks, a divisor of the number of full blocks.
    """
    return _SlidingLoops(b, shape, tile, body, threads, split_last, turns).write()


class _SlidingLoops:
    """Writes the loops over (image, tile row, part of the channels), columns, and channels."""

    def __init__(
        self,
        b: KernelBuilder,
        shape: Sliding,
        tile: Rectangle,
        body: WriteTile,
        threads: int,
        split_last: bool,
        turns: int,
    ) -> None:
        self._b, self._tile, self._body, self._turns = b, tile, body, turns
        self._images, _, _, channels = shape.walk
        self._rows = column_tiles(shape.rows, tile.rows)
        self._columns = column_tiles(shape.columns, tile.pixels)
        self._full_blocks, self._rest = divmod(channels, tile.block)
        if self._rest == 0 and split_last:
            self._full_blocks, self._rest = self._full_blocks - 1, tile.block
        groups = sum(t.count for t in self._rows) * self._images
        wanted = -(-4 * threads // groups) if threads > 1 else 1
        self._chunks = max(1, min(wanted, self._full_blocks // turns))

    def write(self) -> int:
        b = self._b
        groups = sum(t.count for t in self._rows)
        with b.loop("part", b.begin, b.end) as part:
            chunk, rest = b.rem(part.index, self._chunks), b.div(part.index, self._chunks)
            group, image = b.rem(rest, groups), b.div(rest, groups)
            done = 0
            for tiles in self._rows:
                first = b.sub(group, done)
                row = b.add(b.mul(first, tiles.size), tiles.start)
                if len(self._rows) == 1:
                    self._column_loops(image, row, tiles, chunk)
                    break
                done += tiles.count
                inside = b.op(
                    "and",
                    b.compare("ge", first, Imm(0)),
                    b.compare("lt", group, Imm(done)),
                )
                with b.when(inside):
                    fixed = Imm(tiles.start) if tiles.count == 1 else row
                    self._column_loops(image, fixed, tiles, chunk)
        return groups * self._images * self._chunks

    def _column_loops(self, image: Operand, row: Operand, rows: Tiles, chunk: Operand) -> None:
        for tiles in self._columns:
            stop = tiles.start + tiles.count * tiles.size
            with self._b.loop("column", tiles.start, stop, tiles.size) as column:
                self._channel_loop(image, row, rows, column.index, tiles, chunk)

    def _channel_loop(
        self,
        image: Operand,
        row: Operand,
        rows: Tiles,
        column: Operand,
        columns: Tiles,
        chunk: Operand,
    ) -> None:
        b, block, turns = self._b, self._tile.block, self._turns
        stop: Operand = Imm(self._full_blocks * block)
        first: Operand = Imm(0)
        if self._chunks > 1:
            share = -(-self._full_blocks // (self._chunks * turns)) * turns * block
            first = b.mul(chunk, share)
            stop = b.min(b.add(first, share), stop)

        def position(channel: Operand, valid: int, last: bool, turn: int = 0) -> RectanglePosition:
            return RectanglePosition(
                image, row, column, channel, rows.taps, columns.taps, valid, last, turn
            )

        with b.loop("channel", first, stop, turns * block) as channel:
            for turn in range(turns):
                self._body(position(b.add(channel.index, turn * block), block, False, turn))
        if not self._rest:
            return
        tail = position(Imm(self._full_blocks * block), self._rest, True)
        if self._chunks == 1:
            self._body(tail)
            return
        with b.when(b.compare("eq", chunk, Imm(self._chunks - 1))):
            self._body(tail)


def origin(b: KernelBuilder, shape: Sliding, tile: RectanglePosition, channel: Operand) -> Operand:
    """The index of `channel` in the input pixel under tap (0, 0) of the tile's first window."""
    index: Operand = b.mul(tile.image, shape.x.strides[0])
    for output, axis, stride in (
        (tile.row, shape.rows, shape.x.strides[1]),
        (tile.column, shape.columns, shape.x.strides[2]),
    ):
        first = b.sub(b.mul(output, axis.stride), axis.before)
        index = b.add(index, b.mul(first, stride))
    return b.add(index, channel)


def input_readers(axis: Axis, taps: tuple[Taps, ...]) -> dict[int, list[tuple[int, int]]]:
    """For each input position of a tile along an axis, the pairs (output, tap) that read it.

    Tap 0 of output 0 reads position 0. Positions are in ascending order.
    """
    readers: dict[int, list[tuple[int, int]]] = {}
    for output, (first, end) in enumerate(taps):
        for tap in range(first, end):
            position = output * axis.stride + tap * axis.dilation
            readers.setdefault(position, []).append((output, tap))
    return dict(sorted(readers.items()))
