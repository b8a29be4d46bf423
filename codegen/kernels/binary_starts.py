"""What a count of differing bits is compared with, or subtracted from, at each position.

If `differing` of the n bits of a window differ, the sum of the n products of signs is
n - 2 * differing. Padding of 0 is stored as signs of -1, so near edges the sum must be corrected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ellc.codegen.blocks.calls import Arg
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.weights import constant
from ellc.codegen.blocks.window import Axis, Tiles
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import Elem
from ellc.ir.ops.binary import Binarize
from ellc.ir.ops.pointwise import Add
from ellc.ir.types import Array, Padding


@dataclass(frozen=True, slots=True)
class ByPosition:
    """Values [row class, column class, filter]; `row_of` has the class of each row of the result.

    `column_of` has that of each column.
    """

    values: Array
    row_of: tuple[int, ...]
    column_of: tuple[int, ...]

    @property
    def everywhere(self) -> Array:
        """The values [rows, columns, filters]."""
        return np.asarray(self.values[np.ix_(self.row_of, self.column_of)])

    def place(self, b: KernelBuilder, elem: Elem, block: int) -> Table:
        """The values in memory, in the order in which a kernel reads them that takes one block of
        filters after the other: [block, row class, column class, filter of the block].

        Declares the parameters of the table.
        """
        values = b.param("start", elem, 64)
        rows, columns, filters = self.values.shape
        blocks = self.values.reshape(rows, columns, filters // block, block)
        stored = np.asarray(np.moveaxis(blocks, 2, 0), elem.numpy, order="C")
        args: list[Arg] = [constant(stored)]
        axes = []
        for name, classes in (("row", self.row_of), ("column", self.column_of)):
            param = None
            if classes != tuple(range(len(classes))) and any(classes):
                param = b.param(f"{name}_class", Elem.I32, 64)
                args.append(constant(np.array(classes, np.int32)))
            axes.append(Classes(param, any(classes)))
        return Table(values, (axes[0], axes[1]), self, block, tuple(args))


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of positions along an axis: numbers in memory, the positions, or all 0."""

    param: Param | None
    differ: bool

    def at(self, b: KernelBuilder, position: Operand, offset: int) -> Operand:
        """The class of the position `position + offset`."""
        if not self.differ:
            return Imm(0)
        if self.param is None:
            return b.add(position, offset)
        return b.convert(b.load(self.param, position, offset=offset), Elem.INDEX)


@dataclass(frozen=True, slots=True)
class Table:
    """Values by position in memory, and the arguments of its parameters."""

    values: Param
    axes: tuple[Classes, Classes]
    content: ByPosition
    block: int
    args: tuple[Arg, ...]

    def row(self, b: KernelBuilder, block: Operand, row: Operand) -> Operand:
        """The index of the values of a block of filters for a row of the result."""
        rows, columns, _ = self.content.values.shape
        row_class = b.add(b.mul(block, rows), self.axes[0].at(b, row, 0))
        return b.mul(row_class, columns * self.block)

    def columns(self, b: KernelBuilder, tiles: Tiles, column: Operand) -> list[Operand]:
        """For each pixel of a tile that begins at `column`, the index of its values in their row.

        The same operand stands for the same index, where all these tiles agree.
        """
        classes = self.content.column_of
        indices: list[Operand] = []
        for pixel in range(tiles.size):
            first = tiles.start + pixel
            found = set(classes[first : first + tiles.count * tiles.size : tiles.size])
            known = Imm(found.pop()) if len(found) == 1 else self.axes[1].at(b, column, pixel)
            indices.append(b.mul(known, self.block))
        return indices


def starts_of(
    rows: Axis, columns: Axis, weights: Array, padding: Padding, *, skips_rows: bool = False
) -> ByPosition:
    """The sums of windows none of whose counted bits differ.

    That is the number of counted bits, corrected near edges. `weights` are the signs
    [F, kh, kw, C]. Bits of the padding are counted, except in rows outside the image if the kernel
    `skips_rows`. Padding of 0 is counted as -1.
    """
    value = 0.0 if padding.is_empty else padding.values[0]
    counted_as = -1 if value <= 0 else 1
    taps = np.where(weights, 1, -1).sum(axis=3)  # [F, kh, kw]
    pixel = weights.shape[3]
    row_reads, row_of = _read_taps(rows, differ=skips_rows or value == 0)
    column_reads, column_of = _read_taps(columns, differ=value == 0)
    values = np.empty((len(row_reads), len(column_reads), weights.shape[0]), np.int32)
    for i, (top, bottom) in enumerate(row_reads):
        counted = slice(top, bottom) if skips_rows else slice(None)
        products = taps[0, counted].size * pixel
        for j, (left, right) in enumerate(column_reads):
            inside = taps[:, top:bottom, left:right].sum(axis=(1, 2))
            outside = taps.sum(axis=(1, 2)) - inside
            counted_outside = taps[:, counted].sum(axis=(1, 2)) - inside
            correction = value * outside - counted_as * counted_outside
            values[i, j] = products + correction.astype(np.int32)
    return ByPosition(values, row_of, column_of)


def _read_taps(axis: Axis, *, differ: bool) -> tuple[list[tuple[int, int]], tuple[int, ...]]:
    """The different ranges of taps inside the image, and for each output the number of its.

    Unless they `differ`, taps outside are like those inside.
    """
    if not differ:
        return [(0, axis.taps)], (0,) * axis.outputs
    ranges = [axis.valid(output) for output in range(axis.outputs)]
    different = list(dict.fromkeys(ranges))
    return different, tuple(different.index(taps) for taps in ranges)


def limits_of(node: PlacedNode, starts: ByPosition) -> ByPosition | None:
    """The most bits that may differ so that the result is +1, if its stages are a sum and a sign.

    -1 if the result is always -1. None if the stages are others.
    """
    match tuple(stage.op for stage in node.stages):
        case (Add(), Binarize()) if len(node.inputs) == 2:
            added = node.extras[0].array
        case (Binarize(),) if len(node.inputs) == 2:
            added = np.zeros((1, 1, 1, 1), np.float32)
        case _:
            return None
    if added is None:
        return None
    added = added.reshape((1,) * (4 - added.ndim) + added.shape)
    if added.shape[0] != 1:
        return None
    by_row, by_column = (added.shape[i] > 1 for i in (1, 2))
    rows, columns = _classes(starts.row_of, by_row), _classes(starts.column_of, by_column)
    every = starts.values[
        np.ix_(
            *(_of_classes(c, o) for c, o in ((starts.row_of, rows), (starts.column_of, columns)))
        )
    ]
    # start - 2 * differing + added > 0. The sum of floats has the sign of the exact sum.
    with np.errstate(invalid="ignore"):
        most = np.ceil((every + added[0].astype(np.float64)) / 2) - 1
    most = np.where(np.isnan(most), -1, most)
    return ByPosition(np.clip(most, -1, (1 << 15) - 1).astype(np.int16), rows, columns)


def _classes(classes: tuple[int, ...], every: bool) -> tuple[int, ...]:
    """The classes of positions, or each position as a class of its own."""
    return tuple(range(len(classes))) if every else classes


def _of_classes(old: Sequence[int], new: Sequence[int]) -> list[int]:
    """For each class of `new` the class of `old` that the same positions have."""
    return [old[new.index(number)] for number in range(max(new) + 1)]
