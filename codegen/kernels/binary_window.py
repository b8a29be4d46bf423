"""Windows of packed bits, as registers see them: pieces of 16 bytes, and weights in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ellc.codegen.blocks.weights import stored_array
from ellc.codegen.blocks.window import Axis
from ellc.ir.types import Array, DType

WORD, REGISTER = 8, 16  # bytes
FILTERS = 4
"""Filters whose counts are added up together; their weights are neighbours in memory."""
Trip = Literal["window", "row", "tap"]
_MOST_PIECES = 18
"""The most pieces of straight-line code, 16 counts of 3 instructions for each. Thousands of
modelled cycles on pi3_64 for 3x3, 256 channels, 14x14: 12 (a loop over window rows): 3,748,
18: 3,601."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Words of 8 bytes that are compared together: two, or one that is left over.

    Each word is (window row, byte in that row).
    """

    words: tuple[tuple[int, int], ...]

    @property
    def bytes(self) -> int:
        """The number of bytes that count."""
        return len(self.words) * WORD

    @property
    def is_consecutive(self) -> bool:
        """Whether one load of a whole register reads it."""
        if len(self.words) == 1:
            return False
        (row, byte), following = self.words
        return following == (row, byte + WORD)


@dataclass(frozen=True, slots=True)
class BitWindow:
    """A window of `rows` x `columns` pixels of `pixel_bytes` each, in trips of straight-line code.

    A trip covers the whole window, one of its rows, or one pixel.
    """

    rows: int
    columns: int
    pixel_bytes: int
    trip: Trip

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The pieces of a trip, with rows and bytes from the trip's first one on.

        The one that is left over comes first: its counts then begin the sums.
        """
        return _pieces(*self._covered)

    @property
    def trips(self) -> int:
        """How many trips a window has."""
        return {"window": 1, "row": self.rows, "tap": self.rows * self.columns}[self.trip]

    @property
    def skips_rows(self) -> bool:
        """Whether code counts only those window rows that are inside the image."""
        return self.trip != "window"

    @property
    def most_counted(self) -> int:
        """The number of pieces in the whole window; each adds at most 8 to a byte."""
        return self.trips * len(self.pieces)

    @property
    def trip_bytes(self) -> int:
        """The bytes of a trip's weights of one filter."""
        return sum(piece.bytes for piece in self.pieces)

    @property
    def _covered(self) -> tuple[int, int]:
        """The rows of a trip, and the bytes of each."""
        rows = self.rows if self.trip == "window" else 1
        columns = 1 if self.trip == "tap" else self.columns
        return rows, columns * self.pixel_bytes

    def packed(self, weights: Array) -> Array:
        """[F, rows, columns, C] as [F / 4][trip][piece][4 filters][bytes of the piece]."""
        stored = stored_array(weights, DType.BIT)
        filters = stored.shape[0] // FILTERS
        rows, row_bytes = self._covered
        trips = stored.reshape(filters, FILTERS, self.trips, rows, row_bytes)
        parts = []
        for piece in self.pieces:
            words = [trips[..., row, byte : byte + WORD] for row, byte in piece.words]
            joined = np.moveaxis(np.concatenate(words, axis=-1), 1, 2)  # [F / 4, trip, 4, bytes]
            parts.append(joined.reshape(filters, self.trips, -1))
        return np.concatenate(parts, axis=-1)


_MOST_SKIPPED = 0.06
"""A window is one trip unless at least this part of its rows is outside the image; a loop over its
rows skips those. Thousands of modelled cycles on pi3_64 for 3x3, 256 -> 512 channels, 7x7: one
trip 1,815, three 1,708."""


def bit_window(rows: Axis, columns: Axis, pixel_bytes: int) -> BitWindow | None:
    """The window with the fewest trips whose code is short; None if there is none.

    `pixel_bytes` must be a multiple of 8.
    """
    trips: tuple[Trip, ...] = ("window", "row", "tap")
    if rows.mean_taps <= (1 - _MOST_SKIPPED) * rows.taps:
        trips = trips[1:]
    for trip in trips:
        window = BitWindow(rows.taps, columns.taps, pixel_bytes, trip)
        if len(window.pieces) <= _MOST_PIECES:
            return window
    return None


def _pieces(rows: int, row_bytes: int) -> tuple[Piece, ...]:
    whole = row_bytes - row_bytes % REGISTER
    consecutive = [
        Piece(((row, byte), (row, byte + WORD)))
        for row in range(rows)
        for byte in range(0, whole, REGISTER)
    ]
    left = [(row, whole) for row in range(rows if row_bytes > whole else 0)]
    joined = [Piece((left[i], left[i + 1])) for i in range(0, len(left) - 1, 2)]
    single = [Piece((left[-1],))] if len(left) % 2 else []
    return (*single, *joined, *consecutive)
