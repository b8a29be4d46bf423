"""Geometry of windows that slide over an image: which taps fall outside, and how rows are cut.

A kernel that reads an image without a border must leave out the taps that fall outside the image.
Along columns this is decided at compile time: tiles of columns that leave out different taps have
different code. Along rows, an implicit matrix product decides it at run time, by the bounds of the
loop over window rows; pooling and depthwise convolution (`sliding.py`) have different code there
too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ellc.codegen.blocks.access import Access
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand
from ellc.ir.types import Padding


@dataclass(frozen=True, slots=True)
class Axis:
    """A window along one axis: output o reads inputs `o*stride + t*dilation - before`, t < taps.

    With `bordered`, inputs outside of `[0, size)` are in memory and may be read.
    """

    size: int
    outputs: int
    taps: int
    stride: int
    dilation: int
    before: int
    bordered: bool

    def valid(self, position: int) -> tuple[int, int]:
        """The taps [first, end) that may be read for the output at `position`."""
        if self.bordered:
            return (0, self.taps)
        start = position * self.stride - self.before
        first = max(0, -(start // self.dilation)) if start < 0 else 0
        end = min(self.taps, max(0, -(-(self.size - start) // self.dilation)))
        return (min(first, end), end) if first < end else (0, 0)

    @property
    def is_interior(self) -> bool:
        """Whether every output reads every tap. Only the first and last output are tested."""
        return all(self.valid(end) == (0, self.taps) for end in (0, self.outputs - 1))

    @property
    def mean_taps(self) -> float:
        """How many taps an output reads on average."""
        if self.is_interior:
            return self.taps
        ends = [self.valid(position) for position in range(self.outputs)]
        return sum(end - first for first, end in ends) / len(ends)

    def dynamic_taps(self, b: KernelBuilder, position: Operand) -> tuple[Operand, Operand]:
        """The taps [first, end) that are read for an output position known only at run time.

        With dilation d: first = max(0, ceil(-start/d)), end = min(taps, ceil((size-start)/d)).
        """
        if self.is_interior:
            return Imm(0), Imm(self.taps)
        shift = self.dilation - 1
        start = b.sub(b.mul(position, self.stride), self.before)
        # `div` rounds toward zero. For a dividend of at least 0, adding d - 1 first gives `ceil`.
        first = b.div(b.add(b.max(b.sub(0, start), 0), shift), self.dilation)
        reach = b.div(b.add(b.max(b.sub(self.size, start), 0), shift), self.dilation)
        return first, b.min(reach, self.taps)


def window_axes(
    x: Access,
    outputs: tuple[int, int],
    taps: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: Padding,
) -> tuple[Axis, Axis]:
    """The axes (rows, columns) of a window over an NHWC image.

    If the image has a border that covers the padding along an axis, the window reads the border.
    """
    along = (replace(padding, left=0, right=0), replace(padding, top=0, bottom=0))
    bordered = [x.border is not None and x.border.covers(p) for p in along]
    before = (padding.top, padding.left)
    rows, columns = (
        Axis(x.shape[i + 1], outputs[i], taps[i], stride[i], dilation[i], before[i], bordered[i])
        for i in (0, 1)
    )
    return rows, columns


@dataclass(frozen=True, slots=True)
class Cut:
    """A length cut into `count` tiles of `size`, and one tile of `rest` unless that is 0."""

    size: int
    count: int
    rest: int


def cut(length: int, limit: int) -> Cut:
    """Cut `length` into as few tiles of at most `limit` as possible, of nearly equal sizes."""
    tiles = math.ceil(length / limit)
    size = math.ceil(length / tiles)
    return Cut(size, length // size, length % size)


def fold_rows(pixels: int, limit: int, *, short: bool = False) -> tuple[int, int]:
    """The (rows, columns) into which a kernel folds `pixels` consecutive pixels.

    Of all factorisations of `pixels`, those with the fewest tiles of at most `limit` pixels are
    best. Of these, the one with the most rows is taken, so that threads can share the work. `short`
    rows may have 1 tile in 32 more: low bands of them fit in a cache.
    """
    factors = [rows for rows in range(1, pixels + 1) if pixels % rows == 0]
    tiles = {rows: rows * math.ceil(pixels // rows / limit) for rows in factors}
    most = min(tiles.values())
    if short:
        most += most // 32
    rows = max(rows for rows in factors if tiles[rows] <= most)
    return rows, pixels // rows


@dataclass(frozen=True, slots=True)
class Tiles:
    """`count` tiles of `size` output columns each, from column `start` on.

    `taps` has the taps [first, end) that each column of a tile reads. If `count` is more than 1,
    every column reads every tap.
    """

    start: int
    size: int
    count: int
    taps: tuple[tuple[int, int], ...]

    def tap_groups(self) -> list[tuple[tuple[int, int], tuple[int, ...]]]:
        """Pairs (neighbouring taps [first, end), the columns of the tile that read these taps)."""
        groups: list[tuple[tuple[int, int], tuple[int, ...]]] = []
        for tap in range(max(end for _, end in self.taps)):
            readers = tuple(i for i, (first, end) in enumerate(self.taps) if first <= tap < end)
            if groups and groups[-1][1] == readers and groups[-1][0][1] == tap:
                groups[-1] = ((groups[-1][0][0], tap + 1), readers)
            elif readers:
                groups.append(((tap, tap + 1), readers))
        return groups


def column_tiles(columns: Axis, limit: int) -> list[Tiles]:
    """Cut an output row into tiles of at most `limit` columns.

    Neighbouring tiles of equal size share an entry if they read every tap.
    """
    pieces = cut(columns.outputs, limit)
    return tiles_of(columns, [pieces.size] * pieces.count + [pieces.rest] * (pieces.rest > 0))


def even_tiles(axis: Axis, limit: int) -> list[Tiles]:
    """Like `column_tiles`, but the sizes of tiles differ by at most 1."""
    count = -(-axis.outputs // limit)
    size, larger = divmod(axis.outputs, count)
    return tiles_of(axis, [size + 1] * larger + [size] * (count - larger))


def tiles_of(axis: Axis, sizes: Sequence[int]) -> list[Tiles]:
    """The tiles of these sizes along an axis, as `column_tiles` groups them."""
    tiles: list[Tiles] = []
    start, is_interior = 0, axis.is_interior
    for size in sizes:
        every = range(start, start + size)
        taps = tuple((0, axis.taps) if is_interior else axis.valid(c) for c in every)
        full = all(t == (0, axis.taps) for t in taps)
        previous = tiles[-1] if tiles else None
        if full and previous and previous.taps == taps:
            tiles[-1] = Tiles(previous.start, size, previous.count + 1, taps)
        else:
            tiles.append(Tiles(start, size, 1, taps))
        start += size
    return tiles


def spread(
    writes: Sequence[Callable[[], None]], place: int, places: int
) -> Sequence[Callable[[], None]]:
    """Those of `writes` for one of so many places: one each for the last places, if that is enough.

    Otherwise all places get equally many.
    """
    if len(writes) <= places:
        index = place - (places - len(writes))
        return writes[index : index + 1] if index >= 0 else ()
    return writes[place * len(writes) // places : (place + 1) * len(writes) // places]
