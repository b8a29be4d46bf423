"""Geometry of windows that slide over an image: which taps fall outside, and how rows are cut.

A kernel that reads an image without a border must leave out the taps that fall outside it. Along
columns this is static: a kernel writes one piece of code for tiles of columns that miss the same
taps. Along rows it is the bounds of the loop over window rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ellc.codegen.blocks.access import Access
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand
from ellc.ir.types import Padding


@dataclass(frozen=True, slots=True)
class Axis:
    """A window along one axis: output o reads inputs `o*stride + t*dilation - before`, t < taps.

    With `bordered` those inputs may be read even outside `[0, size)`.
    """

    size: int
    outputs: int
    taps: int
    stride: int
    dilation: int
    before: int
    bordered: bool

    def valid(self, position: int) -> tuple[int, int]:
        """The taps [first, end) of an output position that may be read."""
        if self.bordered:
            return (0, self.taps)
        start = position * self.stride - self.before
        first = max(0, -(start // self.dilation)) if start < 0 else 0
        end = min(self.taps, max(0, -(-(self.size - start) // self.dilation)))
        return (min(first, end), end) if first < end else (0, 0)

    @property
    def is_interior(self) -> bool:
        """Whether every output reads every tap, which is so if the first and the last one do."""
        return all(self.valid(end) == (0, self.taps) for end in (0, self.outputs - 1))

    def dynamic_taps(self, b: KernelBuilder, position: Operand) -> tuple[Operand, Operand]:
        """The taps [first, end) of an output position that is known only at run time.

        With dilation d: first = max(0, ceil(-start/d)), end = min(taps, ceil((size-start)/d)).
        """
        if self.is_interior:
            return Imm(0), Imm(self.taps)
        shift = self.dilation - 1
        start = b.sub(b.mul(position, self.stride), self.before)
        # Clamped at 0 before the division, which rounds toward zero, so that d - 1 more gives ceil.
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
    """(rows, columns) of a window over an NHWC image; a border that covers the padding is read."""
    bordered = x.border is not None and x.border.covers(padding)
    before = (padding.top, padding.left)
    rows, columns = (
        Axis(x.shape[i + 1], outputs[i], taps[i], stride[i], dilation[i], before[i], bordered)
        for i in (0, 1)
    )
    return rows, columns


@dataclass(frozen=True, slots=True)
class Cut:
    """A length cut into `count` tiles of `size` and one of `rest` (0: none)."""

    size: int
    count: int
    rest: int


def cut(length: int, limit: int) -> Cut:
    """Cut into as few tiles of at most `limit` as possible, as even as two sizes allow."""
    tiles = math.ceil(length / limit)
    size = math.ceil(length / tiles)
    return Cut(size, length // size, length % size)


def fold_rows(pixels: int, limit: int) -> tuple[int, int]:
    """(rows, columns) in which to walk `pixels` consecutive pixels by tiles of at most `limit`.

    The fewest tiles win, then the most rows, so that there is something to split over threads.
    """
    best = (pixels, 1, pixels)
    for rows in range(1, pixels + 1):
        if pixels % rows:
            continue
        columns = pixels // rows
        tiles = rows * math.ceil(columns / limit)
        if tiles <= best[0]:
            best = (tiles, rows, columns)
    return best[1], best[2]


@dataclass(frozen=True, slots=True)
class Tiles:
    """`count` tiles of `size` output columns from `start`; `taps` has those of each column.

    There is more than one tile only if every column reads every tap.
    """

    start: int
    size: int
    count: int
    taps: tuple[tuple[int, int], ...]

    def tap_groups(self) -> list[tuple[tuple[int, int], tuple[int, ...]]]:
        """Pairs of neighbouring taps [first, end) and the columns that read all of them."""
        groups: list[tuple[tuple[int, int], tuple[int, ...]]] = []
        for tap in range(max(end for _, end in self.taps)):
            readers = tuple(i for i, (first, end) in enumerate(self.taps) if first <= tap < end)
            if groups and groups[-1][1] == readers and groups[-1][0][1] == tap:
                groups[-1] = ((groups[-1][0][0], tap + 1), readers)
            elif readers:
                groups.append(((tap, tap + 1), readers))
        return groups


def column_tiles(columns: Axis, limit: int) -> list[Tiles]:
    """Cut an output row into tiles of at most `limit` columns; equal inner tiles share an entry."""
    pieces = cut(columns.outputs, limit)
    sizes = [pieces.size] * pieces.count + [pieces.rest] * (pieces.rest > 0)
    tiles: list[Tiles] = []
    start = 0
    for size in sizes:
        taps = tuple(columns.valid(c) for c in range(start, start + size))
        full = all(t == (0, columns.taps) for t in taps)
        previous = tiles[-1] if tiles else None
        if full and previous and previous.taps == taps:
            tiles[-1] = Tiles(previous.start, size, previous.count + 1, taps)
        else:
            tiles.append(Tiles(start, size, 1, taps))
        start += size
    return tiles
