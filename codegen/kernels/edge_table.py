"""What an implicit matrix product looks up for each output: numbers that depend on edges."""

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
    """A table of one row of numbers per filter for each set of taps that an output can read.

    Outputs near an edge of an image without a border leave taps out; what depends on that is
    constant for each pair (window rows, window columns) and looked up here.
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
        """`row(window_rows, window_columns)` gives [filters] in float64; without `by_class` the
        first pair's row serves every output."""
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
            places = [rows.index(shape.rows.valid(r)) for r in range(shape.rows.outputs)]
            self.args.append(constant(np.array(places, np.int32)))

    def _padded(self, values: Array) -> Array:
        """[groups, blocks * block]: every block is full."""
        block = self._schedule.block
        grouped = values.reshape(self._shape.groups, self._shape.filters)
        width = -(-self._shape.filters // block) * block - self._shape.filters
        return np.pad(grouped, ((0, 0), (0, width))).astype(self._elem.numpy)

    def values(self, place: TilePosition, taps: tuple[int, int], lanes: int) -> list[Operand]:
        """One output's numbers for the filters of a block, as vectors of `lanes`."""
        b, block = self._b, self._schedule.block
        width = -(-self._shape.filters // block) * block
        index = b.add(b.mul(place.group, width), b.mul(place.block, block))
        if self._by_class:
            kind: Operand = Imm(self._columns.index(taps))
            if self._classes is not None:
                row = b.convert(b.load(self._classes, place.row), Elem.INDEX)
                kind = b.add(b.mul(row, len(self._columns)), kind)
            index = b.add(index, b.mul(kind, self._stride))
        align = lanes * self._elem.bytes
        return [
            b.load(self._param, index, lanes, offset=start, align_bytes=align)
            for start in range(0, block, lanes)
        ]
