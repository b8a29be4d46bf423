"""The tile of a binary convolution: counts of differing bits of some pixels and 4 filters."""

from __future__ import annotations

from collections.abc import Sequence

from ellc.codegen.kernels.binary_window import FILTERS, REGISTER, WORD, BitWindow, Piece
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import Elem, VType

BYTES = VType(Elem.U8, REGISTER)
PAIRS = VType(Elem.U16, REGISTER // 2)
_MOST_BYTES = 31
"""Pieces whose counts, of at most 8 bits each, fit in a byte."""
_MOST_SUMS = 15
"""Pieces for which also the sum of two such counts fits in a byte."""


class BitTile:
    """Writes the counts of a tile. The image is `x`, the weights are `w`, both of bytes.

    Neighbouring rows of the image are `row_step` bytes apart, neighbouring pixels of the tile
    `pixel_step`. If `ahead` is not 0, the weights that lie so many bytes further are prefetched.
    """

    def __init__(
        self,
        b: KernelBuilder,
        memory: tuple[Param, Param],
        window: BitWindow,
        row_step: int,
        pixel_step: int,
        ahead: int,
    ) -> None:
        self._b, (self._x, self._w), self._window = b, memory, window
        self._row_step, self._pixel_step, self._ahead = row_step, pixel_step, ahead

    def counts(
        self, image: Operand, weights: Operand, pixels: int, rows: tuple[Operand, Operand]
    ) -> list[Operand]:
        """The counts of 4 filters of the first two pixels, then those of the next two, and so on.

        An odd last pixel is there twice.

        `image` is the index of the first byte of the first pixel's window, `weights` that of the
        first filter's first piece. Only the window rows `rows`, [first, end), are counted; they are
        all rows if a trip is a window.
        """
        sums = self._sums(image, weights, pixels, rows)
        return self._neighbours([*sums, sums[-1]] if pixels % 2 else sums)

    def _sums(
        self, image: Operand, weights: Operand, pixels: int, rows: tuple[Operand, Operand]
    ) -> list[Operand]:
        """For each pixel eight sums: two neighbouring lanes belong to each of the 4 filters."""
        b, window = self._b, self._window
        counts = pixels * FILTERS
        if window.trip == "window":
            sums = self._trip(image, weights, pixels, [None] * counts)
            return self._added(sums, len(window.pieces))
        inner = 1 if window.trip == "row" else window.columns
        fits = window.most_counted <= _MOST_BYTES
        pieces = len(window.pieces) * inner
        start = [b.const(0, BYTES)] * counts if fits else [b.const(0, PAIRS)] * pixels
        with b.loop("window_row", *rows, carry=start) as row:
            at = b.add(image, b.mul(row.index, self._row_step))
            panel = b.add(weights, b.mul(row.index, inner * window.trip_bytes * FILTERS))
            sums = list(row.carried) if fits else [b.const(0, BYTES)] * counts
            sums = self._row(at, panel, pixels, sums)
            if not fits:
                added = self._added(sums, pieces)
                sums = [b.add(a, c) for a, c in zip(row.carried, added, strict=True)]
            row.carry(sums)
        return self._added(list(row.results), window.most_counted) if fits else list(row.results)

    def _row(
        self, image: Operand, weights: Operand, pixels: int, sums: Sequence[Operand]
    ) -> list[Operand]:
        """The counts plus those of a window row."""
        b, window = self._b, self._window
        if window.trip == "row":
            return self._trip(image, weights, pixels, sums)
        with b.loop("tap", 0, window.columns, carry=sums) as tap:
            at = b.add(image, b.mul(tap.index, window.pixel_bytes))
            panel = b.add(weights, b.mul(tap.index, window.trip_bytes * FILTERS))
            tap.carry(self._trip(at, panel, pixels, tap.carried))
        return list(tap.results)

    def _trip(
        self, image: Operand, weights: Operand, pixels: int, sums: Sequence[Operand | None]
    ) -> list[Operand]:
        """The counts plus those of all pieces of a trip; None is a count that begins here."""
        b, running, offset = self._b, list(sums), 0
        loads = _Loads(b, self._x, image, self._row_step)
        for piece in self._window.pieces:
            values = [loads.piece(piece, pixel * self._pixel_step) for pixel in range(pixels)]
            if self._ahead:
                b.prefetch(self._w, weights, offset=offset + self._ahead)
            for number in range(FILTERS):
                align = WORD if offset % REGISTER else REGISTER
                loaded = b.load(self._w, weights, piece.bytes, offset=offset, align_bytes=align)
                weight = _whole(b, loaded)
                offset += piece.bytes
                indices = [pixel * FILTERS + number for pixel in range(pixels)]
                differs = [b.op("xor", value, weight) for value in values]
                found = [b.op("popcount", value) for value in differs]
                for index, count in zip(indices, found, strict=True):
                    total = running[index]
                    running[index] = count if total is None else b.add(total, count)
        return [count for count in running if count is not None]

    def _added(self, counts: Sequence[Operand], pieces: int) -> list[Operand]:
        """Registers of counts, 4 for each pixel, added up to eight sums for each pixel."""
        if pieces <= _MOST_SUMS:
            return self._neighbours(self._widened(self._neighbours(counts)))
        return self._neighbours(self._neighbours(self._widened(counts)))

    def _neighbours(self, values: Sequence[Operand]) -> list[Operand]:
        """Sums of neighbouring lanes: each pair of registers becomes one register."""
        b = self._b
        pairs = zip(values[::2], values[1::2], strict=True)
        return [b.op("pair_sums", b.op("join", *pair)) for pair in pairs]

    def _widened(self, values: Sequence[Operand]) -> list[Operand]:
        """Sums of neighbouring lanes, with twice the bits."""
        return [self._b.op("add_pairs", self._b.const(0, PAIRS), value) for value in values]


class _Loads:
    """Loads of image bytes, each of which is written once."""

    def __init__(self, b: KernelBuilder, x: Param, image: Operand, row_step: int) -> None:
        self._b, self._x, self._image, self._row_step = b, x, image, row_step
        self._loaded: dict[tuple[int, int], Operand] = {}

    def piece(self, piece: Piece, shift: int) -> Operand:
        """A piece of the window that begins `shift` bytes after the first one."""
        offsets = [row * self._row_step + byte + shift for row, byte in piece.words]
        if piece.is_consecutive:
            return self._bytes(offsets[0], REGISTER)
        words = [self._bytes(offset, WORD) for offset in offsets]
        return _whole(self._b, words[0]) if len(words) == 1 else self._b.op("join", *words)

    def _bytes(self, offset: int, lanes: int) -> Operand:
        if (offset, lanes) not in self._loaded:
            loaded = self._b.load(self._x, self._image, lanes, offset=offset)
            self._loaded[offset, lanes] = loaded
        return self._loaded[offset, lanes]


def _whole(b: KernelBuilder, value: Operand) -> Operand:
    """Bytes as a whole register, with zeros behind them."""
    lanes = REGISTER - value.type.lanes
    return b.op("join", value, Imm(0, VType(Elem.U8, lanes))) if lanes else value
