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
from itertools import islice

from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.sliding import Sliding, input_readers
from ellc.codegen.kernels.line_loops import LANES, Strip
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param

TAPS = 3
"""The rows and columns of a window."""
_UNROLL = {1: 3, 2: 2}
"""By stride: after so many steps, each image column is in the register where a column was before,
and the loop needs no moves."""
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
    from the first one under the window on, and `sums` the sums of the previous column of results.
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
        """Write the first column, a loop over most of the others, and the rest."""
        b, strip, stride = self._b, self._strip, self._shape.columns.stride
        state = self._step(self._opened(), 0, Imm(0), more=strip.columns > 1)
        unroll = _UNROLL[stride]
        # With stride 2, the last step must not load the column that only a next step would read.
        trips = max(0, strip.columns - stride) // unroll
        with b.loop("column", 0, trips * unroll, unroll, carry=state.values) as loop:
            inside = state.replaced(loop.carried)
            inside = replace(inside, at=self._hidden(inside.at))
            for step in range(1, unroll + 1):
                inside = self._step(inside, step, loop.index, more=True)
            moved = unroll * stride * self._shape.x.strides[2]
            loop.carry(replace(inside, at=tuple(b.add(a, moved) for a in inside.at)).values)
        state = state.replaced(loop.results)
        done, rest = Imm(trips * unroll), strip.columns - 1 - trips * unroll
        for step in range(1, rest + 1):
            state = self._step(state, step, done, more=step < rest)
        self._store(self._finished(state.sums, done, rest), done, rest)

    def _opened(self) -> _State:
        """The state before the first column, with all but the last column of its window loaded."""
        b, x, strip, shape = self._b, self._shape.x, self._strip, self._shape
        index = b.add(b.mul(strip.image, x.strides[0]), strip.channel)
        for output, axis, stride in (
            (strip.row, shape.rows, x.strides[1]),
            (strip.column, shape.columns, x.strides[2]),
        ):
            first = b.sub(b.mul(output, axis.stride), axis.before)
            index = b.add(index, b.mul(first, stride))
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

    def _step(self, state: _State, number: int, done: Operand, *, more: bool) -> _State:
        """Compute the sums of a column of results, and finish and store the column before it.

        `done + number` is the column; the indices of `state` belong to the column `done`. Unless
        there are `more`, no column of the image is loaded for the next step.
        """
        b, stride = self._b, self._shape.columns.stride
        last = number * stride + TAPS - 1
        sums: dict[int, Operand] = {}

        is_inside = self._strip.column_taps[1] == TAPS

        def arriving() -> Column:
            early = self._loads(state.at, last, end=_LOADED_FIRST) if is_inside else ()
            finished = self._finished(state.sums, done, number - 1)
            late = self._loads(state.at, last, _LOADED_FIRST) if is_inside else ()
            self._store(finished, done, number - 1)
            return (*early, *late)

        def following() -> tuple[Column, ...]:
            extra = range(last + 1, last + stride) if more else ()
            return tuple(self._loads(state.at, column) for column in extra)

        # The extra columns of a stride of 2 take the registers of the columns that are no longer
        # needed when the last products begin.
        split = TAPS if stride == 1 else TAPS - 1
        new, _ = b.woven(
            arriving, lambda new: self._multiply(sums, (*state.columns, new)[:split], 0)
        )
        extra, _ = b.woven(
            following, lambda _: self._multiply(sums, (*state.columns, new)[split:], split)
        )
        columns = (*state.columns, new, *extra)[stride:]
        return _State(state.at, columns, tuple(sums[row] for row in sorted(sums)))

    def _multiply(self, sums: dict[int, Operand], columns: Sequence[Column], first: int) -> None:
        """Add the products of image columns, which are under the taps from `first` on, to the sums.

        In this order, each product belongs to another sum than the product before it. The order of
        the products of a sum is the same in all strips.
        """
        b, stride, taps = self._b, self._shape.rows.stride, list(enumerate(self._strip.taps))
        for tap_column, column in enumerate(columns, first):
            if not column:
                continue
            values = dict(zip(self._image_rows, column, strict=True))
            for tap_row in range(TAPS):
                weight = self._weights[tap_row * TAPS + tap_column]
                for row in [row for row, (begin, end) in taps if begin <= tap_row < end]:
                    value = values[row * stride + tap_row]
                    if row in sums:
                        sums[row] = b.mul_add(weight, value, sums[row])
                    else:
                        sums[row] = b.mul(weight, value)

    def _finished(self, sums: Sequence[Operand], done: Operand, number: int) -> list[Operand]:
        """The results of the column `done + number`, one vector for each row."""
        at = self._at(done)

        def result(row: int, total: Operand) -> Operand:
            if self._start is not None:
                total = self._b.add(total, self._start)
            return self._epilogue.apply(total, at, (0, row, number, 0))

        return self._b.interleaved([partial(result, *pair) for pair in enumerate(sums)])

    def _store(self, finished: Sequence[Operand], done: Operand, number: int) -> None:
        """Store the results of the column `done + number`."""
        for row, value in enumerate(finished):
            self._epilogue.write([value], self._at(done), (0, row, number, 0))

    def _at(self, done: Operand) -> tuple[Operand, Operand, Operand, Operand]:
        strip = self._strip
        return (strip.image, strip.row, self._b.add(strip.column, done), strip.channel)
