"""Loops over an image in bands of rows, segments of columns, and groups of a cache line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ellc.codegen.blocks.sliding import Sliding, Taps, input_readers
from ellc.codegen.blocks.window import Axis, Tiles, cut, even_tiles, tiles_of
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand

LINE = 16
"""The channels of a group: float32 numbers in a cache line."""
LANES = 4
"""The channels of a strip: the lanes of a vector."""
_GROUPS_WITH_TURN = 12
"""If a segment has more groups than this, the lines of the next segment are not prefetched: they
are few, and the code of the last group would be written twice."""
FEW_GROUPS = 3
"""If a segment has at most this many groups, each prefetches the same group of the next segment,
because the next group of its own segment follows too soon."""


@dataclass(frozen=True, slots=True)
class Strip:
    """The rows and columns of results that are computed for one vector of channels.

    `row` and `column` are those of the first result. `taps` has the taps [first, end) that each row
    of results reads, and `column_taps` those that all columns read: all taps, unless there is only
    one column. Image rows are counted from tap 0 of the first row. In the image rows `ahead`, the
    values that lie `distance` elements after those that the strip loads are prefetched.
    """

    image: Operand
    row: Operand
    column: Operand
    channel: Operand
    taps: tuple[Taps, ...]
    columns: int
    column_taps: Taps
    ahead: frozenset[int]
    distance: int


def window_origin(b: KernelBuilder, shape: Sliding, strip: Strip, column: Operand) -> Operand:
    """The index of the image value under tap (0, 0) of the strip's first row, for a column of
    results and the strip's vector of channels."""
    x = shape.x
    index = b.add(b.mul(strip.image, x.strides[0]), strip.channel)
    for output, axis, stride in (
        (strip.row, shape.rows, x.strides[1]),
        (column, shape.columns, x.strides[2]),
    ):
        index = b.add(index, b.mul(b.sub(b.mul(output, axis.stride), axis.before), stride))
    return index


def column_tiles_of(
    b: KernelBuilder, strip: Strip, most: int, tile: Callable[[Operand, int], None]
) -> None:
    """Write loops over the strip's columns in tiles of at most `most` columns, about equal in size.

    `tile` writes the code of a tile with its first column and its number of columns.
    """
    size, larger = divmod(strip.columns, count := -(-strip.columns // most))
    done = 0
    for pixels, repeats in ((size + 1, larger), (size, count - larger)):
        stop = done + pixels * repeats
        with b.loop("column", done, stop, pixels) as column:
            tile(b.add(strip.column, column.index), pixels)
        done = stop


@dataclass(frozen=True, slots=True)
class _Segment:
    image: Operand
    row: Operand
    taps: tuple[Taps, ...]
    column: Operand
    columns: int
    column_taps: Taps


class LineLoops:
    """Writes the loops around strips of at most `rows` rows and `columns` columns.

    The parallel loop runs over images and bands, and over parts of the channels if there are few
    bands. If the strips of a channel must be computed `in_order`, it runs over images and parts of
    the channels only. If strips are `alike`, all vectors of channels share the same code, which
    prefetches all rows.
    """

    def __init__(
        self,
        b: KernelBuilder,
        shape: Sliding,
        size: tuple[int, int],
        body: Callable[[Strip], None],
        threads: int,
        *,
        in_order: bool,
        alike: bool,
    ) -> None:
        self._b, self._shape, self._body = b, shape, body
        self._in_order, self._alike = in_order, alike
        self._images, _, _, channels = shape.walk
        self._bands = even_tiles(shape.rows, size[0])
        self._segments = segments(shape.columns, size[1])
        groups, rest = divmod(channels, LINE)
        self._has_few_groups = groups <= FEW_GROUPS
        has_turn = rest == 0 and FEW_GROUPS < groups <= _GROUPS_WITH_TURN and not alike
        self._groups = groups + (rest > 0) if alike else groups - has_turn
        """How many groups have the code of the loop; after them comes one of `last` channels."""
        self._last = LINE if has_turn else rest
        self._channels = channels
        self._parallel_bands = 1 if in_order else sum(tiles.count for tiles in self._bands)
        groups_of_work = self._parallel_bands * self._images
        wanted = -(-4 * threads // groups_of_work) if threads > 1 else 1
        self._chunks = max(1, min(wanted, self._groups))

    def write(self) -> int:
        """Write the loops. Returns the extent of the parallel loop."""
        b, bands = self._b, self._parallel_bands
        with b.loop("part", b.begin, b.end) as part:
            chunk, rest = b.rem(part.index, self._chunks), b.div(part.index, self._chunks)
            band, image = b.rem(rest, bands), b.div(rest, bands)
            if self._in_order:
                for tiles in self._bands:
                    stop = tiles.start + tiles.count * tiles.size
                    with b.loop("row", tiles.start, stop, tiles.size) as row:
                        self._band(image, row.index, tiles.taps, chunk)
            else:
                self._chosen_band(image, band, chunk)
        return bands * self._images * self._chunks

    def _chosen_band(self, image: Operand, band: Operand, chunk: Operand) -> None:
        """Write the code of the band with this number; different kinds of bands have their own."""
        b, done = self._b, 0
        for tiles in self._bands:
            number = b.sub(band, done)
            row = b.add(b.mul(number, tiles.size), tiles.start)
            if len(self._bands) == 1:
                self._band(image, row, tiles.taps, chunk)
                return
            done += tiles.count
            begun, before_end = b.compare("ge", number, Imm(0)), b.compare("lt", band, Imm(done))
            with b.when(b.op("and", begun, before_end)):
                fixed = Imm(tiles.start) if tiles.count == 1 else row
                self._band(image, fixed, tiles.taps, chunk)

    def _band(self, image: Operand, row: Operand, taps: tuple[Taps, ...], chunk: Operand) -> None:
        for tiles in self._segments:
            stop = tiles.start + tiles.count * tiles.size
            with self._b.loop("segment", tiles.start, stop, tiles.size) as column:
                (columns, *_) = tiles.taps
                segment = _Segment(image, row, taps, column.index, tiles.size, columns)
                self._segment(segment, chunk)

    def _segment(self, segment: _Segment, chunk: Operand) -> None:
        b = self._b
        stop = self._channels if self._alike else self._groups * LINE
        first: Operand = Imm(0)
        end: Operand = Imm(stop)
        if self._chunks > 1:
            share = -(-self._groups // self._chunks) * LINE
            first = b.mul(chunk, share)
            end = b.min(b.add(first, share), stop)
        pixels = segment.columns * self._shape.columns.stride
        next_segment = pixels * self._shape.x.strides[2]
        distance = next_segment if self._has_few_groups else LINE
        count = 1 if self._alike else LINE // LANES
        with b.loop("channel", first, end, count * LANES) as channel:
            self._group(segment, channel.index, count, distance)
        if self._alike or not self._last:
            return
        distance = next_segment if self._has_few_groups else next_segment - stop
        if self._chunks == 1:
            self._group(segment, Imm(stop), self._last // LANES, distance)
            return
        with b.when(b.compare("eq", chunk, Imm(self._chunks - 1))):
            self._group(segment, Imm(stop), self._last // LANES, distance)

    def _group(self, segment: _Segment, channel: Operand, count: int, distance: int) -> None:
        """Write `count` strips; the group `distance` elements after them is prefetched."""
        for vector in range(count):
            done = vector * LANES
            self._body(
                Strip(
                    segment.image,
                    segment.row,
                    segment.column,
                    self._b.add(channel, done),
                    segment.taps,
                    segment.columns,
                    segment.column_taps,
                    self._ahead(segment.taps, vector, count),
                    distance - done,
                )
            )

    def _ahead(self, taps: tuple[Taps, ...], vector: int, vectors: int) -> frozenset[int]:
        """The image rows whose lines a strip prefetches.

        The memory can keep only a few requests, and drops the others. So each strip asks for a
        few more rows than the one before it, and again for those that were dropped. The rows that
        the band above has read are still in the second-level cache; the last strip adds them.
        """
        image_rows = list(input_readers(self._shape.rows, taps))
        if vector == vectors - 1:
            return frozenset(image_rows)
        new = len(taps) * self._shape.rows.stride
        asked = min(new, -(-(vector + 1) * new // (vectors - 1)))
        return frozenset(image_rows[-asked:])


def segments(columns: Axis, limit: int) -> list[Tiles]:
    """Cut an output row into segments of at most `limit` columns.

    A column that does not read all taps is a segment of its own.
    """
    whole = [columns.valid(c) == (0, columns.taps) for c in range(columns.outputs)]
    if not any(whole):
        return tiles_of(columns, [1] * columns.outputs)
    before, after = whole.index(True), whole[::-1].index(True)
    pieces = cut(columns.outputs - before - after, limit)
    inside = [pieces.size] * pieces.count + [pieces.rest] * (pieces.rest > 0)
    return tiles_of(columns, [1] * before + inside + [1] * after)
