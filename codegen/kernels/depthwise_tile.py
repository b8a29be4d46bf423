"""The tiles of depthwise convolutions: output rows, pixels per row, and vectors of channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count

from ellc.codegen.blocks.sliding import Rectangle, Sliding, input_readers
from ellc.codegen.blocks.terms import ProductTypes
from ellc.codegen.blocks.vectors import fitted_lanes, vector_lanes
from ellc.codegen.blocks.window import Axis, cut
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import SCALAR_BYTES, Target
from ellc.ir.types import DType

_SUMS, _FEW_SUMS = 16, 8
"""The most vectors of sums in a tile, for 32 registers and for fewer. Thousand modelled cycles by
`tests/benchmarks/constants.py`: pi3_64 bytes 3x3, 64 channels, 28x28 4: 343, 8: 276, 12: 251,
16: 239, 20: 237; floats 5x5, 32, 28x28 4: 504, 8: 349, 16: 313; 7x7 4: 1,087, 8: 620, 16: 535; pi3
bytes 3x3 4: 424, 6: 396, 8: 346, 10: 382; floats 5x5 4: 543, 6: 491, 8: 458, 10: 509."""
_MOST_ROWS, _FEW_MOST_ROWS = 4, 2
"""The most output rows of a tile, for 32 registers and for fewer. pi3_64 3x3, 96 channels, 56x56
1: 4,897, 2: 4,691, 4: 4,768; 256, 14x14 1: 443, 2: 465, 4: 452; bytes 3x3, 64, 28x28 1: 255,
2: 238, 4: 238."""
_STRAIGHT = 200
"""A tile is straight-line code if each of its vectors has at most this many multiply-adds.
Thousands of modelled cycles on pi3_64 for other limits, by `tests/benchmarks/constants.py`:
5x5, 32 channels, 28x28: 100: 310, 200: 313, 300: 333, 700: 397;
7x7: 100: 524, 200: 536, 300: 530, 700: 663;
3x3, 96 channels, 56x56: 100: 4,982, 200: 4,762, 700: 4,777.
On an x86-64, a limit of 200 takes as long as one of 700 for 5x5, and 5 % longer for 7x7. But with
700, the kernel of a 1x13 window whose results are bits has more than 65,536 values."""


@dataclass(frozen=True, slots=True)
class Rectangles:
    """The tiles that a convolution can have.

    Each input channel has `multiplier` filters. A block of filters covers either whole channels or
    a part of one channel; the number of its filters is a multiple of `multiple`. `budget` vectors
    of sums fit in the registers.
    """

    target: Target
    shape: Sliding
    lanes: int
    multiplier: int
    multiple: int
    budget: int

    @classmethod
    def of(
        cls, target: Target, result: DType, shape: Sliding, multiplier: int, types: ProductTypes
    ) -> Rectangles:
        """The tiles of a convolution whose result has the element type `result`."""
        from_bytes = types.factor.bytes < 2  # the products of bytes are 16 bits wide
        most_lanes = vector_lanes(target, Elem.I16 if from_bytes else types.factor)
        lanes = fitted_lanes(most_lanes, shape.walk[3])
        multiple = 8 if result is DType.BIT else 1
        # The number of registers that one vector of sums takes.
        registers = lanes * types.total.bytes // target.vector_bytes or 1
        # With AVX-512, 16 sums are no faster than 8, but add 123 KB of code to an 8-bit face
        # detector. On an AMD EPYC, 16 sums take up to 1 % more time for bytes, 2 % more for floats,
        # and 1 % less for words.
        many = target.vector_registers >= 32 and target.vector_bytes < 64
        sums = _SUMS if many else _FEW_SUMS
        return cls(target, shape, lanes, multiplier, multiple, sums // registers)

    def usual(self) -> Rectangle:
        """The tile with the lowest `tile_cycles`. If it has few pixels, it gets more vectors."""
        vectors = self._least_vectors()
        rows, pixels = min(self._sizes(vectors), key=partial(tile_cycles, self.target, self.shape))
        rows = cut(self.shape.rows.outputs, rows).size
        pixels = cut(self.shape.columns.outputs, pixels).size
        # A small rectangle leaves registers for several vectors, whose independent sums hide the
        # latency of multiply-adds.
        most_vectors = min(
            max(1, self.budget // vectors) // (rows * pixels), self.shape.walk[3] // self.lanes
        )
        larger = [v for v in (4, 2) if vectors < v <= most_vectors and self._fits(v)]
        return Rectangle(rows, pixels, larger[0] if larger else vectors, self.lanes)

    def every(self) -> Iterator[Rectangle]:
        """Every tile whose sums fit in the registers.

        It has at most four vectors, unless a block of filters needs more.
        """
        fewest = self._least_vectors()
        most_vectors = max(fewest, min(4, self.shape.walk[3] // self.lanes))
        for vectors in filter(self._fits, range(fewest, most_vectors + 1)):
            for rows, pixels in self._sizes(vectors):
                yield Rectangle(rows, pixels, vectors, self.lanes)

    def _sizes(self, vectors: int) -> list[tuple[int, int]]:
        """(rows, pixels) of the tiles with this number of vectors."""
        budget = max(1, self.budget // vectors)
        most_rows = _MOST_ROWS if self.target.vector_registers >= 32 else _FEW_MOST_ROWS
        return [
            (rows, pixels)
            for rows in range(1, min(most_rows, self.shape.rows.outputs) + 1)
            for pixels in range(1, min(16, self.shape.columns.outputs) + 1)
            if rows * pixels <= budget
            and (rows == 1 or not is_looped(self.target, self.shape, rows * pixels))
        ]

    def _least_vectors(self) -> int:
        return next(filter(self._fits, count(1)))

    def _fits(self, vectors: int) -> bool:
        """Whether a block of this many vectors covers whole channels, or a part of only one.

        The number of its filters must also be a multiple of `multiple`.
        """
        block, multiplier = vectors * self.lanes, self.multiplier
        return block % self.multiple == 0 and (multiplier % block == 0 or block % multiplier == 0)


def is_looped(target: Target, shape: Sliding, windows: int) -> bool:
    """Whether a tile of this many windows has a loop over the window's rows.

    Straight-line code would be too long for large windows. With 32-bit NEON every tile has a loop,
    because vector loads cannot add an offset there: in straight-line code, every load would need a
    pointer in one of the few registers.
    """
    if not loads_take_offsets(target):
        return True
    return windows * shape.rows.taps * shape.columns.taps > _STRAIGHT


def loads_take_offsets(target: Target) -> bool:
    """Whether the loads of kernels (of vectors, or of scalars) can add a constant offset."""
    return target.vector_bytes == SCALAR_BYTES or target.isa.vector_loads_take_offsets


def tile_cycles(
    target: Target, shape: Sliding, tile: tuple[int, int], vectors: int = 1
) -> tuple[float, int]:
    """(predicted cycles for a whole image and one vector of channels, pixels of the tile).

    Loads, multiply-adds and stores are counted. As a sort key, the pair puts the smaller of two
    equally fast tiles first.
    """
    load = target.core.load_cycles
    total = 0.0
    for rows, row_count in _sizes(shape.rows, tile[0]):
        for pixels, pixel_count in _sizes(shape.columns, tile[1]):
            reads = _span(shape.rows, rows) * _span(shape.columns, pixels)
            taps = shape.rows.taps * shape.columns.taps
            work = rows * pixels * (taps + 2)
            # With fewer than eight independent sums, a multiply-add waits for the result of an
            # earlier one.
            idle = max(1.0, 8 / (rows * min(pixels, shape.columns.taps) * vectors))
            is_short = rows * pixels * vectors < 8
            once = load * (reads + taps) + work * (idle if is_short else 1.0) + 8 / vectors
            total += once * row_count * pixel_count
    return total, tile[0] * tile[1]


def _sizes(axis: Axis, limit: int) -> list[tuple[int, int]]:
    """(size, count) of the pieces into which an axis is cut."""
    pieces = cut(axis.outputs, limit)
    return [(pieces.size, pieces.count)] + ([(pieces.rest, 1)] if pieces.rest else [])


def _span(axis: Axis, outputs: int) -> int:
    """How many different inputs `outputs` neighbouring outputs read."""
    return len(input_readers(axis, ((0, axis.taps),) * outputs))
