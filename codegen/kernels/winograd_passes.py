"""The two passes of a Winograd transform: over the rows of a square of vectors, then its columns.

Two rows are computed at a time, which hides the latency of their operations; one if the registers
are few and a scheduler finds other operations. If the values between the passes do not fit in the
registers, they are kept in memory: each pass is then a short loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand, Param

Line = list[Operand]
One = Callable[[Line], Line]
"""A transform in one dimension."""
Consume = Callable[[Operand, Sequence[Line]], None]
"""Takes the number of the first line, and the results of this and the following lines."""


@dataclass(frozen=True, eq=False, slots=True)
class Square:
    """A square of vectors in memory: (i, j) is at index `at + i * row + j * column` of `param`.

    The first `ahead` vectors after those that are loaded of a row are prefetched.
    """

    param: Param
    at: Operand
    row: int
    column: int
    ahead: int = 0

    @property
    def turned(self) -> Square:
        """The square with rows and columns exchanged."""
        return replace(self, row=self.column, column=self.row)

    def moved(self, b: KernelBuilder, line: Operand) -> Square:
        """The square that begins with row `line` of this one."""
        return replace(self, at=b.add(self.at, b.mul(line, self.row)))

    def load(self, b: KernelBuilder, i: int, count: int, lanes: int) -> Line:
        """The first vectors of row `i`."""
        start = i * self.row
        for j in range(count, count + self.ahead):
            b.prefetch(self.param, self.at, offset=start + j * self.column)
        return [
            b.load(self.param, self.at, lanes, offset=start + j * self.column) for j in range(count)
        ]

    def store(self, b: KernelBuilder, i: int, line: Sequence[Operand]) -> None:
        """Store vectors at the start of row `i`."""
        for j, value in enumerate(line):
            b.store(value, self.param, self.at, offset=i * self.row + j * self.column)

    def fill(self, b: KernelBuilder, lines: Sequence[Sequence[Operand]]) -> None:
        """Store the first rows."""
        for i, line in enumerate(lines):
            self.store(b, i, line)


class Passes:
    """Writes passes over squares whose rows have `points` vectors of `lanes` elements.

    In straight-line code, `at_once` rows are computed at a time.
    """

    def __init__(self, b: KernelBuilder, points: int, lanes: int, at_once: int) -> None:
        self._b, self._points, self._lanes, self._at_once = b, points, lanes, at_once

    def of(self, square: Square, one: One) -> Iterator[Line]:
        """The transforms of all rows of a square in memory, as straight-line code."""
        rows = range(self._points)
        yield from self._together([partial(self._loaded, square, i, one) for i in rows])

    def over(self, lines: Sequence[Line], one: One) -> Iterator[Line]:
        """The transforms of lines in registers."""
        yield from self._together([partial(one, line) for line in lines])

    def turned(self, lines: Iterator[Line]) -> list[Line]:
        """Lines with rows and columns exchanged."""
        return [list(line) for line in zip(*lines, strict=True)]

    def loop(
        self, square: Square, count: Operand | int, one: One, consume: Consume, step: int = 2
    ) -> None:
        """A loop over the first `count` rows of a square, a multiple of `step`."""
        b = self._b
        with b.loop("line", 0, count, step) as line:
            rows = square.moved(b, line.index)
            made = b.interleaved([partial(self._loaded, rows, i, one) for i in range(step)])
            consume(line.index, made)

    def _loaded(self, square: Square, row: int, one: One) -> Line:
        return one(square.load(self._b, row, self._points, self._lanes))

    def _together(self, chains: Sequence[Callable[[], Line]]) -> Iterator[Line]:
        for first in range(0, len(chains), self._at_once):
            yield from self._b.interleaved(chains[first : first + self._at_once])
