"""Loops over an image in bands of rows, segments of columns, and groups of a cache line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ellc.codegen.blocks.sliding import Sliding
from ellc.codegen.blocks.window import cut
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand

LINE = 16
"""The channels of a group: float32 numbers in a cache line."""
LANES = 4
"""The channels of a strip: the lanes of a vector."""
_GROUPS_WITH_TURN = 12
"""If a segment has more groups than this, the lines of the next segment are not prefetched: they
are few, and the code of the last group would be written twice."""
_FEW_GROUPS = 3
"""If a segment has at most this many groups, each prefetches the same group of the next segment,
because the next group of its own segment follows too soon."""


@dataclass(frozen=True, slots=True)
class Strip:
    """The rows and columns of results that are computed for one vector of channels.

    `row` and `column` are those of the first result. In the image rows `ahead`, the values that lie
    `distance` elements after those that the strip loads are prefetched.
    """

    image: Operand
    row: Operand
    column: Operand
    channel: Operand
    rows: int
    columns: int
    ahead: frozenset[int]
    distance: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """`count` bands (or segments) of `size` rows (columns) each, from `start` on."""

    start: int
    size: int
    count: int


@dataclass(frozen=True, slots=True)
class _Segment:
    image: Operand
    row: Operand
    rows: int
    column: Operand
    columns: int


class LineLoops:
    """Writes the loops around strips of at most `rows` rows and `columns` columns.

    The parallel loop runs over images and bands, and over parts of the channels if there are few
    bands. If the strips of a channel must be computed `in_order`, it runs over images and parts of
    the channels only.
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
    ) -> None:
        self._b, self._shape, self._body, self._in_order = b, shape, body, in_order
        self._images, rows, columns, channels = shape.walk
        self._bands = _pieces(rows, size[0])
        self._segments = _pieces(columns, size[1])
        groups, rest = divmod(channels, LINE)
        self._has_few_groups = groups <= _FEW_GROUPS
        has_turn = rest == 0 and _FEW_GROUPS < groups <= _GROUPS_WITH_TURN
        self._groups = groups - 1 if has_turn else groups
        """How many groups have the code of the loop; after them comes one of `last` channels."""
        self._last = LINE if has_turn else rest
        bands = 1 if in_order else sum(piece.count for piece in self._bands)
        wanted = -(-4 * threads // (bands * self._images)) if threads > 1 else 1
        self._chunks = max(1, min(wanted, self._groups))

    def write(self) -> int:
        """Write the loops. Returns the extent of the parallel loop."""
        b = self._b
        bands = 1 if self._in_order else sum(piece.count for piece in self._bands)
        with b.loop("part", b.begin, b.end) as part:
            chunk, rest = b.rem(part.index, self._chunks), b.div(part.index, self._chunks)
            band, image = b.rem(rest, bands), b.div(rest, bands)
            if self._in_order:
                for piece in self._bands:
                    stop = piece.start + piece.count * piece.size
                    with b.loop("row", piece.start, stop, piece.size) as row:
                        self._band(image, row.index, piece.size, chunk)
            else:
                self._chosen_band(image, band, chunk)
        return bands * self._images * self._chunks

    def _chosen_band(self, image: Operand, band: Operand, chunk: Operand) -> None:
        """Write the code of the band with this number; bands of different sizes have their own."""
        b, done = self._b, 0
        for piece in self._bands:
            number = b.sub(band, done)
            row = b.add(b.mul(number, piece.size), piece.start)
            if len(self._bands) == 1:
                self._band(image, row, piece.size, chunk)
                return
            done += piece.count
            is_rest = done > self._bands[0].count
            inside = b.compare("ge" if is_rest else "lt", band, Imm(self._bands[0].count))
            with b.when(inside):
                fixed = Imm(piece.start) if piece.count == 1 else row
                self._band(image, fixed, piece.size, chunk)

    def _band(self, image: Operand, row: Operand, rows: int, chunk: Operand) -> None:
        for piece in self._segments:
            stop = piece.start + piece.count * piece.size
            with self._b.loop("segment", piece.start, stop, piece.size) as column:
                self._segment(_Segment(image, row, rows, column.index, piece.size), chunk)

    def _segment(self, segment: _Segment, chunk: Operand) -> None:
        b, stop = self._b, self._groups * LINE
        first: Operand = Imm(0)
        end: Operand = Imm(stop)
        if self._chunks > 1:
            share = -(-self._groups // self._chunks) * LINE
            first = b.mul(chunk, share)
            end = b.min(b.add(first, share), stop)
        pixels = segment.columns * self._shape.columns.stride
        next_segment = pixels * self._shape.x.strides[2]
        with b.loop("channel", first, end, LINE) as channel:
            distance = next_segment if self._has_few_groups else LINE
            self._group(segment, channel.index, LINE, distance)
        if not self._last:
            return
        distance = next_segment if self._has_few_groups else next_segment - stop
        if self._chunks == 1:
            self._group(segment, Imm(stop), self._last, distance)
            return
        with b.when(b.compare("eq", chunk, Imm(self._chunks - 1))):
            self._group(segment, Imm(stop), self._last, distance)

    def _group(self, segment: _Segment, channel: Operand, channels: int, distance: int) -> None:
        """Write the strips of a group; the group `distance` elements after it is prefetched."""
        count = channels // LANES
        for vector in range(count):
            done = vector * LANES
            self._body(
                Strip(
                    segment.image,
                    segment.row,
                    segment.column,
                    self._b.add(channel, done),
                    segment.rows,
                    segment.columns,
                    self._ahead(segment.rows, vector, count),
                    distance - done,
                )
            )

    def _ahead(self, rows: int, vector: int, vectors: int) -> frozenset[int]:
        """The image rows whose lines a strip prefetches.

        The memory can keep only a few requests, and drops the others. So each strip asks for a
        few more rows than the one before it, and again for those that were dropped. The rows that
        the band above has read are still in the second-level cache; the last strip adds them.
        """
        axis = self._shape.rows
        image_rows, new = (rows - 1) * axis.stride + axis.taps, rows * axis.stride
        if vector == vectors - 1:
            return frozenset(range(image_rows))
        asked = -(-(vector + 1) * new // (vectors - 1))
        return frozenset(range(image_rows - min(asked, new), image_rows))


def _pieces(extent: int, limit: int) -> list[_Piece]:
    pieces = cut(extent, limit)
    done = pieces.size * pieces.count
    rest = [_Piece(done, pieces.rest, 1)] if pieces.rest else []
    return [_Piece(0, pieces.size, pieces.count), *rest]
