"""A strip of a depthwise convolution: some rows and columns of results, for one vector of channels.

The window slides along the columns. The weights of all taps, and the image columns under the
window, stay in registers: a step to the next column of results loads only the columns that are new.
The results of a column are finished and stored while the sums of the next column are computed, so
that nothing waits for the last multiply-adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, product

from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.sliding import Sliding, input_readers
from ellc.codegen.kernels.line_loops import LANES, Strip, window_origin
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param

TAPS = 3
"""The rows and columns of a window."""
UNROLL = {1: 3, 2: 2}
"""By stride: after so many steps, each image column is in the register where a column was before,
and the loop needs no moves."""
COLUMNS_OF_A_ROW = {1: 3, 2: 2}
"""By stride: how many columns of results a step of a single row computes. The products of one sum
would wait for one another."""
_LOADED_FIRST = 2
"""How many vectors of image values are loaded before the results of the previous column are
finished: these loads hide the latency of its last multiply-adds."""

Column = tuple[Operand, ...]
"""The vectors of an image column, one for each image row that the strip reads. A column outside of
the image has none."""


@dataclass(frozen=True, eq=False, slots=True)
class StripInputs:
    """The parameters that a strip reads: image, weights, start values (None: all are 0)."""

    x: Param
    w: Param
    start: Param | None


@dataclass(frozen=True, slots=True)
class _State:
    """What a step leaves to the next one.

    `at` has the index of each image row that the strip reads, `columns` the loaded image columns
    from the first one under the window on, and `sums` the sums of the previous columns of results.
    """

    at: tuple[Operand, ...]
    columns: tuple[Column, ...]
    sums: tuple[Operand, ...]

    @property
    def values(self) -> list[Operand]:
        """All values, as a loop carries them."""
        return [*self.at, *(v for column in self.columns for v in column), *self.sums]

    def replaced(self, values: Sequence[Operand]) -> _State:
        """A state of the same shape with these values."""
        rest = iter(values)
        at = tuple(islice(rest, len(self.at)))
        columns = tuple(tuple(islice(rest, len(column))) for column in self.columns)
        return _State(at, columns, tuple(rest))


class StripWriter:
    """Writes the code of one strip of at least one row and column."""

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
        self._image_rows = list(input_readers(shape.rows, strip.taps))
        panel = b.mul(strip.channel, TAPS * TAPS)
        self._weights = [
            b.load(inputs.w, panel, LANES, offset=tap * LANES, align_bytes=4 * LANES)
            for tap in range(TAPS * TAPS)
        ]
        start = inputs.start
        self._start = None if start is None else b.load(start, strip.channel, LANES)

    def write(self) -> None:
        """Write the first columns, a loop over most of the others, and the rest."""
        strip, stride = self._strip, self._shape.columns.stride
        width = COLUMNS_OF_A_ROW[stride] if len(strip.taps) == 1 else 1
        number = min(width, strip.columns)
        state = self._step(self._opened(), 0, number, Imm(0), more=strip.columns > number)
        unroll = width if width > 1 else UNROLL[stride]
        # With stride 2, the last step must not load the column that only a next step would read.
        trips = max(0, strip.columns - number - (stride - 1)) // unroll
        if trips:
            state = self._loop(state, trips, unroll, width)
        done, rest = Imm(trips * unroll), strip.columns - number - trips * unroll
        while rest:
            width = min(width, rest)
            rest -= width
            state = self._step(state, number, width, done, more=rest > 0)
            number += width
        self._store(self._finished(state.sums, done, number), done, number)

    def _loop(self, state: _State, trips: int, unroll: int, width: int) -> _State:
        """Write the loop over `trips` times `unroll` columns, in steps of `width`."""
        b, moved = self._b, unroll * self._shape.columns.stride * self._shape.x.strides[2]
        with b.loop("column", 0, trips * unroll, unroll, carry=state.values) as loop:
            inside = state.replaced(loop.carried)
            inside = replace(inside, at=self._hidden(inside.at))
            for column in range(width, width + unroll, width):
                inside = self._step(inside, column, width, loop.index, more=True)
            loop.carry(replace(inside, at=tuple(b.add(a, moved) for a in inside.at)).values)
        return state.replaced(loop.results)

    def _opened(self) -> _State:
        """The state before the first column, with all but the last column of its window loaded."""
        b, x, strip = self._b, self._shape.x, self._strip
        index = window_origin(b, self._shape, strip, strip.column)
        at = self._hidden([b.add(index, row * x.strides[1]) for row in self._image_rows])
        begin, end = strip.column_taps
        columns = [self._loads(at, c) if begin <= c < end else () for c in range(TAPS - 1)]
        return _State(at, tuple(columns), ())

    def _hidden(self, at: Sequence[Operand]) -> tuple[Operand, ...]:
        """The same indices, each of which becomes the base of the loads from its row."""
        return tuple(self._b.op("opaque", index) for index in at)

    def _loads(
        self, at: Sequence[Operand], column: int, first: int = 0, end: int | None = None
    ) -> Column:
        """The vectors of an image column, which is `column` pixels after the indices `at`.

        Only those of the image rows number `first` to `end`, of those that the strip reads.
        """
        b, strip, x, values = self._b, self._strip, self._inputs.x, list[Operand]()
        offset = column * self._shape.x.strides[2]
        for index, row in list(zip(at, self._image_rows, strict=True))[first:end]:
            if row in strip.ahead:
                b.prefetch(x, index, offset=offset + strip.distance)
            values.append(b.load(x, index, LANES, offset=offset))
        return tuple(values)

    def _step(self, state: _State, number: int, width: int, done: Operand, *, more: bool) -> _State:
        """Compute the sums of `width` columns of results; finish and store those before them.

        The first column is `done + number`; the indices of `state` belong to the column `done`.
        Unless there are `more`, no column of the image is loaded for the next step.
        """
        b, stride = self._b, self._shape.columns.stride
        new = range(number * stride + TAPS - 1, (number + width - 1) * stride + TAPS)
        is_inside = self._strip.column_taps[1] == TAPS
        sums: dict[tuple[int, int], Operand] = {}

        def arriving() -> tuple[Column, ...]:
            early = self._loads(state.at, new[0], end=_LOADED_FIRST) if is_inside else ()
            finished = self._finished(state.sums, done, number)
            late = self._loads(state.at, new[0], _LOADED_FIRST) if is_inside else ()
            others = [self._loads(state.at, column) for column in new[1:]]
            self._store(finished, done, number)
            return (*state.columns, (*early, *late), *others)

        def following() -> tuple[Column, ...]:
            extra = range(new[-1] + 1, new[-1] + stride) if more else ()
            return tuple(self._loads(state.at, column) for column in extra)

        # The extra columns of a stride of 2 take the registers of the columns that are no longer
        # needed when the last products begin.
        split = TAPS - 1 if stride > 1 and width == 1 else TAPS
        columns, _ = b.woven(
            arriving, lambda columns: self._multiply(sums, columns, range(split), width)
        )
        extra, _ = b.woven(
            following, lambda _: self._multiply(sums, columns, range(split, TAPS), width)
        )
        kept = (*columns, *extra)[stride * width :]
        return _State(state.at, kept, tuple(sums[slot] for slot in sorted(sums)))

    def _multiply(
        self,
        sums: dict[tuple[int, int], Operand],
        columns: Sequence[Column],
        tap_columns: range,
        width: int,
    ) -> None:
        """Add the products of some window columns to the sums of (column, row of results).

        In this order, each product belongs to another sum than the product before it. The order of
        the products of a sum is the same in all strips.
        """
        stride = self._shape.columns.stride
        for tap_column, tap_row, pixel in product(tap_columns, range(TAPS), range(width)):
            if column := columns[pixel * stride + tap_column]:
                weight = self._weights[tap_row * TAPS + tap_column]
                self._multiply_rows(sums, pixel, tap_row, weight, column)

    def _multiply_rows(
        self,
        sums: dict[tuple[int, int], Operand],
        pixel: int,
        tap_row: int,
        weight: Operand,
        column: Column,
    ) -> None:
        values = dict(zip(self._image_rows, column, strict=True))
        for row, (begin, end) in enumerate(self._strip.taps):
            if not begin <= tap_row < end:
                continue
            value, slot = values[row * self._shape.rows.stride + tap_row], (pixel, row)
            if slot in sums:
                sums[slot] = self._b.mul_add(weight, value, sums[slot])
            else:
                sums[slot] = self._b.mul(weight, value)

    def _finished(self, sums: Sequence[Operand], done: Operand, end: int) -> list[Operand]:
        """The results of the last columns before `done + end`: for each column, of each row."""
        at = self._at(done)

        def result(delta: Sequence[int], total: Operand) -> Operand:
            if self._start is not None:
                total = self._b.add(total, self._start)
            return self._epilogue.apply(total, at, delta)

        pairs = zip(self._places(len(sums), end), sums, strict=True)
        return self._b.interleaved([partial(result, *pair) for pair in pairs])

    def _store(self, finished: Sequence[Operand], done: Operand, end: int) -> None:
        """Store the results of the last columns before `done + end`."""
        for delta, value in zip(self._places(len(finished), end), finished, strict=True):
            self._epilogue.write([value], self._at(done), delta)

    def _places(self, count: int, end: int) -> list[tuple[int, int, int, int]]:
        """The coordinates, from the first column on, of the last `count` results before `end`."""
        rows = len(self._strip.taps)
        return [(0, row, c, 0) for c in range(end - count // rows, end) for row in range(rows)]

    def _at(self, done: Operand) -> tuple[Operand, Operand, Operand, Operand]:
        strip = self._strip
        return (strip.image, strip.row, self._b.add(strip.column, done), strip.channel)
