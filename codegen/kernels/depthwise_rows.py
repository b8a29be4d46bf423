"""A row of a depthwise convolution with a wide window, for cores with few registers.

The row is cut into tiles of several columns. A loop over the rows of the window adds the products
of an image row to all sums of a tile: the weights of a window row stay in registers meanwhile, and
each image value is multiplied as soon as it is loaded, for all columns whose windows contain it.

Thousands of modelled cycles on pi3 with the family `depthwise` (before the colon) and with this
code: 28x28x120 2,918 : 1,740, 14x14x464 3,965 : 2,024, 7x7x1152 4,005 : 1,745; stride 2, 56x56x72
1,815 : 1,594.
"""

from __future__ import annotations

from collections.abc import Sequence

from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.sliding import Sliding, input_readers
from ellc.codegen.kernels.depthwise_cost import ROW_SUMS
from ellc.codegen.kernels.depthwise_strip import StripInputs
from ellc.codegen.kernels.line_loops import LANES, Strip, column_tiles_of, window_origin
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem, VType

_FINISHED_AT_ONCE = 3
"""How many results pass the stages together, so that none waits for the previous stage."""


class RowTileWriter:
    """Writes the code of one strip of a single row."""

    def __init__(
        self,
        b: KernelBuilder,
        shape: Sliding,
        inputs: StripInputs,
        epilogue: Epilogue,
        strip: Strip,
    ) -> None:
        self._b, self._shape, self._strip = b, shape, strip
        self._inputs, self._epilogue = inputs, epilogue

    def write(self) -> None:
        """Write the loops over tiles."""
        column_tiles_of(self._b, self._strip, ROW_SUMS, self._tile)

    def _tile(self, column: Operand, pixels: int) -> None:
        """Write the code of a tile whose first column of results is `column`."""
        b, strip, shape, start = self._b, self._strip, self._shape, self._inputs.start
        begin, end = strip.taps[0]
        taps = shape.columns.taps
        at = b.add(window_origin(b, shape, strip, column), begin * shape.x.strides[1])
        panel = b.add(b.mul(strip.channel, shape.rows.taps * taps), begin * taps * LANES)
        zero = b.const(0.0, VType(Elem.F32, LANES))
        sums = [
            zero if start is None else b.load(start, strip.channel, LANES) for _ in range(pixels)
        ]
        with b.loop("window_row", begin, end, carry=[at, panel, *sums]) as row:
            at, panel, *sums = row.carried
            at, panel = b.op("opaque", at), b.op("opaque", panel)
            sums = self._row(at, panel, sums)
            row.carry([b.add(at, shape.x.strides[1]), b.add(panel, taps * LANES), *sums])
        results = [([total], (0, 0, c, 0)) for c, total in enumerate(row.results[2:])]
        place = (strip.image, strip.row, column, strip.channel)
        self._epilogue.store_pixels(results, place, at_once=_FINISHED_AT_ONCE)

    def _row(self, at: Operand, panel: Operand, sums: Sequence[Operand]) -> list[Operand]:
        """The sums plus the products of an image row and a window row."""
        b, strip, x = self._b, self._strip, self._inputs.x
        readers = input_readers(self._shape.columns, (strip.column_taps,) * len(sums))
        weights: dict[int, Operand] = {}
        totals = list(sums)
        for column, of_column in readers.items():
            offset = column * self._shape.x.strides[2]
            if strip.ahead:
                b.prefetch(x, at, offset=offset + strip.distance)
            value = b.load(x, at, LANES, offset=offset)
            for pixel, tap in of_column:
                if tap not in weights:
                    weights[tap] = b.load(
                        self._inputs.w, panel, LANES, offset=tap * LANES, align_bytes=4 * LANES
                    )
                totals[pixel] = b.mul_add(weights[tap], value, totals[pixel])
        return totals
