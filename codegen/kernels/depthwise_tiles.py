"""A strip of a depthwise convolution with a wide window, cut into tiles of several columns.

The weights of a wide window do not fit in registers together with the sums. So a tile adds up its
products image row by image row: the weights of a window row are loaded when the first row of
results needs them, and stay until the last one has used them. Each image value is multiplied as
soon as it is loaded.

Weights are packed `[channels / 4][window column][window row][4]`: LLVM would combine loads of
neighbouring vectors in one instruction, for which a Cortex-A53 waits twice as long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.sliding import Sliding, input_readers
from ellc.codegen.kernels.depthwise_strip import StripInputs
from ellc.codegen.kernels.line_loops import LANES, Strip, column_tiles_of, window_origin
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand
from ellc.codegen.kir.types import Elem

_AHEAD = 14
"""How many multiply-adds before its use a value is loaded: more than the latency, and few enough
that the values which wait do not need more registers than there are. Thousands of modelled cycles
on pi3_64, 28x28x120 4: 1,459, 10: 1,323, 14: 1,319, 18: 1,356; 14x14x464 4: 1,573, 10: 1,485,
14: 1,483, 18: 1,524."""
_FINISHED_AT_ONCE = 4
"""How many results pass the stages together, so that none waits for the previous stage."""

Pair = tuple[int, int]
Readers = dict[int, list[Pair]]


@dataclass(frozen=True, slots=True)
class _Loaded:
    """Weights by (tap row, tap column), image values by (image row, image column)."""

    weights: dict[Pair, Operand]
    values: dict[Pair, Operand]


class TileWriter:
    """Writes the code of one strip, in tiles of at most `pixels` columns."""

    def __init__(
        self,
        b: KernelBuilder,
        shape: Sliding,
        inputs: StripInputs,
        epilogue: Epilogue,
        pixels: int,
        strip: Strip,
    ) -> None:
        self._b, self._shape, self._strip = b, shape, strip
        self._inputs, self._epilogue, self._pixels = inputs, epilogue, pixels
        self._panel = b.mul(strip.channel, shape.rows.taps * shape.columns.taps)
        start = inputs.start
        self._start = None if start is None else b.load(start, strip.channel, LANES)

    def write(self) -> None:
        """Write the loops over tiles."""
        column_tiles_of(self._b, self._strip, self._pixels, self._tile)

    def _tile(self, column: Operand, pixels: int) -> None:
        """Write the code of a tile whose first column of results is `column`."""
        rows = input_readers(self._shape.rows, self._strip.taps)
        columns = input_readers(self._shape.columns, (self._strip.column_taps,) * pixels)
        at = self._rows_at(column, list(rows))

        def multiplied(loaded: _Loaded) -> dict[Pair, Operand]:
            sums: dict[Pair, Operand] = {}
            for row, column in product(rows, columns):
                value = loaded.values[row, column]
                for (y, tap_row), (pixel, tap_column) in product(rows[row], columns[column]):
                    self._add(sums, (y, pixel), loaded.weights[tap_row, tap_column], value)
            return sums

        _, sums = self._b.woven(lambda: self._loaded(at, rows, columns), multiplied, _AHEAD)
        self._store(sums, column)

    def _rows_at(self, column: Operand, rows: Sequence[int]) -> dict[int, Operand]:
        """The index of each image row under tap 0 of the first column, as a base of loads."""
        b, x = self._b, self._shape.x
        index = window_origin(b, self._shape, self._strip, column)
        return {row: b.op("opaque", b.add(index, row * x.strides[1])) for row in rows}

    def _loaded(self, at: Mapping[int, Operand], rows: Readers, columns: Readers) -> _Loaded:
        """Load weights and image values in the order in which the products need them."""
        b, strip, x = self._b, self._strip, self._inputs.x
        loaded = _Loaded({}, {})
        for (row, row_readers), (column, readers) in product(rows.items(), columns.items()):
            for (_, tap_row), (_, tap_column) in product(row_readers, readers):
                if (tap_row, tap_column) not in loaded.weights:
                    loaded.weights[tap_row, tap_column] = self._weight(tap_row, tap_column)
            offset = column * self._shape.x.strides[2]
            if row in strip.ahead:
                b.prefetch(x, at[row], offset=offset + strip.distance)
            loaded.values[row, column] = b.load(x, at[row], LANES, offset=offset)
        return loaded

    def _weight(self, tap_row: int, tap_column: int) -> Operand:
        offset = (tap_column * self._shape.rows.taps + tap_row) * LANES
        align_bytes = LANES * Elem.F32.bytes
        return self._b.load(
            self._inputs.w, self._panel, LANES, offset=offset, align_bytes=align_bytes
        )

    def _add(self, sums: dict[Pair, Operand], slot: Pair, weight: Operand, value: Operand) -> None:
        if slot in sums:
            sums[slot] = self._b.mul_add(weight, value, sums[slot])
        else:
            sums[slot] = self._b.mul(weight, value)

    def _store(self, sums: Mapping[Pair, Operand], column: Operand) -> None:
        """Finish and store the sums of a tile."""
        b, strip, start = self._b, self._strip, self._start
        results = [
            ([total if start is None else b.add(total, start)], (0, row, pixel, 0))
            for (row, pixel), total in sorted(sums.items(), key=lambda item: item[0])
        ]
        at = (strip.image, strip.row, column, strip.channel)
        self._epilogue.store_pixels(results, at, at_once=_FINISHED_AT_ONCE)
