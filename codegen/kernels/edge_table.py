"""Values, one per filter, that a convolution reads for each output; they differ at image edges."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ellc.codegen.blocks.calls import Arg
from ellc.codegen.blocks.schedule import GemmSchedule
from ellc.codegen.blocks.weights import constant
from ellc.codegen.kernels.implicit_gemm import ConvShape, TilePosition
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import Elem
from ellc.ir.types import Array


class EdgeTable:
    """A table with one value per filter for each set of taps that an output can read.

    If an image has no border, outputs near its edges do not read all taps. The values depend only
    on which taps are read, that is, on the pair (window rows, window columns).
    """

    def __init__(
        self,
        b: KernelBuilder,
        shape: ConvShape,
        schedule: GemmSchedule,
        elem: Elem,
        row: Callable[[tuple[int, int], tuple[int, int]], Array],
        *,
        by_class: bool,
    ) -> None:
        """`row(window_rows, window_columns)` returns the values [filters] for these taps.

        The table stores them as `elem`. Without `by_class` every output uses the values of the
        first pair.
        """
        self._b, self._shape, self._schedule = b, shape, schedule
        self._elem, self._by_class = elem, by_class
        self._param = b.param("start", elem, 64)
        self._classes: Param | None = None
        rows = list(dict.fromkeys(shape.rows.valid(r) for r in range(shape.rows.outputs)))
        self._columns = list(
            dict.fromkeys(shape.columns.valid(c) for c in range(shape.columns.outputs))
        )
        pairs = [(r, c) for r in rows for c in self._columns]
        tables = [self._padded(row(*pair)) for pair in (pairs if by_class else pairs[:1])]
        self.args: list[Arg] = [constant(np.stack(tables))]
        self._stride = tables[0].size
        if by_class and len(rows) > 1:
            self._classes = b.param("row_class", Elem.I32, 64)
            classes = [rows.index(shape.rows.valid(r)) for r in range(shape.rows.outputs)]
            self.args.append(constant(np.array(classes, np.int32)))

    def _padded(self, values: Array) -> Array:
        """The values as [groups, blocks * block], with zeros after the last filter."""
        block = self._schedule.block
        grouped = values.reshape(self._shape.groups, self._shape.filters)
        width = -(-self._shape.filters // block) * block - self._shape.filters
        return np.pad(grouped, ((0, 0), (0, width))).astype(self._elem.numpy)

    def values(self, position: TilePosition, taps: tuple[int, int], lanes: int) -> list[Operand]:
        """The values of one output for a block of filters, as vectors of `lanes` lanes.

        `taps` are the window columns that the output reads.
        """
        b, block = self._b, self._schedule.block
        width = -(-self._shape.filters // block) * block
        index = b.add(b.mul(position.group, width), b.mul(position.block, block))
        if self._by_class:
            pair: Operand = Imm(self._columns.index(taps))
            if self._classes is not None:
                row = b.convert(b.load(self._classes, position.row), Elem.INDEX)
                pair = b.add(b.mul(row, len(self._columns)), pair)
            index = b.add(index, b.mul(pair, self._stride))
        align = lanes * self._elem.bytes
        return [
            b.load(self._param, index, lanes, offset=start, align_bytes=align)
            for start in range(0, block, lanes)
        ]
