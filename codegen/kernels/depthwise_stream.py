"""A row of a depthwise convolution for one vector of channels, for cores with few registers.

The weights of a 3x3 window stay in registers, but the image values under the window do not fit
beside them. So each image value is multiplied as soon as it is loaded, for all columns of results
whose windows contain it, and is then no longer needed. Only the sums of these columns stay. A
column of results is finished and stored while the next one is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.sliding import Sliding
from ellc.codegen.kernels.depthwise_strip import TAPS, StripInputs
from ellc.codegen.kernels.line_loops import LANES, Strip, window_origin
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand

_UNROLL = {1: 4, 2: 3}
"""By stride: after so many columns of results, each sum is in the register where one was before."""

Key = tuple[int, int]
"""A sum: how many columns after the first one of a step it belongs, and which part of it it is."""


@dataclass(frozen=True, slots=True)
class _State:
    """What a step leaves to the next one.

    `at` is an index in the image, `begun` has the sums of the next columns of results, and
    `complete` the parts of the last column, which has all its products.
    """

    at: Operand
    begun: tuple[Operand, ...]
    complete: tuple[Operand, ...]

    @property
    def values(self) -> list[Operand]:
        """All values, as a loop carries them."""
        return [self.at, *self.begun, *self.complete]

    def replaced(self, values: Sequence[Operand]) -> _State:
        """A state of the same shape with these values."""
        at, *sums = values
        begun = len(self.begun)
        return _State(at, tuple(sums[:begun]), tuple(sums[begun:]))


class StreamWriter:
    """Writes the code of one strip of a single row and at least one column."""

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
        self._stride, self._taps = shape.columns.stride, strip.column_taps
        panel = b.mul(strip.channel, TAPS * TAPS)
        self._rows = range(*strip.taps[0])
        self._weights = {
            (row, column): b.load(
                inputs.w, panel, LANES, offset=(row * TAPS + column) * LANES, align_bytes=4 * LANES
            )
            for row in self._rows
            for column in range(*self._taps)
        }

    def write(self) -> None:
        """Write the first columns, a loop over most of the others, and the rest."""
        columns, unroll = self._strip.columns, _UNROLL[self._stride]
        b, strip = self._b, self._strip
        # As a base of loads, the index stands in a register of its own.
        at = b.op("opaque", window_origin(b, self._shape, strip, strip.column))
        first = dict[Key, Operand]()
        for column in range(TAPS - self._stride):
            self._multiply(first, at, 0, columns, range(column, column + 1))
        state = self._step(_State(at, tuple(first.values()), ()), 0, columns, Imm(0))
        # The last steps begin no more columns.
        trips = max(0, columns - 1 - len(state.begun)) // unroll
        if trips:
            state = self._loop(state, trips, unroll)
        done, left = Imm(trips * unroll), columns - trips * unroll
        for number in range(1, left):
            state = self._step(state, number, left, done)
        self._store(self._finished(state, left, done), left, done)

    def _loop(self, state: _State, trips: int, unroll: int) -> _State:
        b, moved = self._b, unroll * self._stride * self._shape.x.strides[2]
        with b.loop("column", 0, trips * unroll, unroll, carry=state.values) as loop:
            inside = state.replaced(loop.carried)
            inside = replace(inside, at=b.op("opaque", inside.at))
            for number in range(1, unroll + 1):
                inside = self._step(inside, number, self._strip.columns, loop.index)
            loop.carry(replace(inside, at=b.add(inside.at, moved)).values)
        return state.replaced(loop.results)

    def _step(self, state: _State, number: int, columns: int, done: Operand) -> _State:
        """Complete the sums of a column of results; finish and store the column before it.

        The column is `done + number`; `columns` columns follow `done`, to which the indices of
        `state` belong.
        """
        sums: dict[Key, Operand] = {(c, 0): total for c, total in enumerate(state.begun)}
        finished = self._finished(state, number, done) if state.complete else None
        self._multiply(sums, state.at, number, columns, range(TAPS - self._stride, TAPS))
        if finished is not None:
            self._store(finished, number, done)
        ordered = sorted(sums.items(), key=lambda item: item[0])
        begun = tuple(total for (column, _), total in ordered if column)
        return _State(state.at, begun, tuple(total for (column, _), total in ordered if not column))

    def _multiply(
        self,
        sums: dict[Key, Operand],
        at: Operand,
        number: int,
        columns: int,
        new: range,
    ) -> None:
        """Add the products of the image columns `new` to the sums of columns from `number` on.

        Image columns are counted from tap 0 of column `number`. Neighbouring products belong to
        different sums. In every sum, the products of a window column follow those of the column
        to its left, wherever its strip begins and whatever taps are outside of the image.
        """
        for row in self._rows:
            inside = [column for column in new if column in range(*self._taps)]
            values = {column: self._value(at, row, number, column) for column in inside}
            for column, value in values.items():
                for result in range(min(column // self._stride + 1, columns - number)):
                    tap = column - result * self._stride
                    self._add(sums, (result, self._part(tap)), self._weights[row, tap], value)

    def _value(self, at: Operand, row: int, number: int, column: int) -> Operand:
        x, strides = self._inputs.x, self._shape.x.strides
        offset = row * strides[1] + (number * self._stride + column) * strides[2]
        if row in self._strip.ahead:
            self._b.prefetch(x, at, offset=offset + self._strip.distance)
        return self._b.load(x, at, LANES, offset=offset)

    def _part(self, tap: int) -> int:
        """The part of the sum to which the products of a window column belong.

        With stride 2, most products of a step belong to one column. In a single sum, they would
        wait for one another.
        """
        return int(self._stride > 1 and tap == 1)

    def _add(self, sums: dict[Key, Operand], key: Key, weight: Operand, value: Operand) -> None:
        b, start = self._b, self._inputs.start
        first_part = (key[0], 0)
        if first_part not in sums and start is not None:
            sums[first_part] = b.load(start, self._strip.channel, LANES)
        total = sums.get(key)
        sums[key] = b.mul(weight, value) if total is None else b.mul_add(weight, value, total)

    def _finished(self, state: _State, end: int, done: Operand) -> Operand:
        """The result of the last column before `done + end`."""
        total, *others = state.complete
        for other in others:
            total = self._b.add(total, other)
        return self._epilogue.apply(total, self._at(done), (0, 0, end - 1, 0))

    def _store(self, finished: Operand, end: int, done: Operand) -> None:
        """Store the result of the last column before `done + end`."""
        self._epilogue.write([finished], self._at(done), (0, 0, end - 1, 0))

    def _at(self, done: Operand) -> tuple[Operand, Operand, Operand, Operand]:
        strip = self._strip
        return (strip.image, strip.row, self._b.add(strip.column, done), strip.channel)
