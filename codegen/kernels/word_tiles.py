"""Products of bytes in general registers: `sxtb16` widens two bytes, `smlad` adds two products.

Both halves of `sxtb16` widen every other byte of a word: four channels 0, 1, 2, 3 become the pairs
(0, 2) and (1, 3). Image values are widened once for all filters, into *columns* of 16-bit numbers
in scratch memory. Weights stay bytes. They are packed `[block][pair][two filters][4]`: a word has
the pair of one filter in bytes 0 and 2, and that of the next filter in bytes 1 and 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ellc.codegen.blocks.calls import CodeGoal
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand, Param
from ellc.codegen.kir.types import Elem
from ellc.ir.types import Array

WORD, PAIR = 4, 2  # bytes in a word, factors in a register
_AHEAD = 2  # pixels whose values are loaded together
TRIPS = (32, 16, 12, 8, 4)
"""Values of each pixel in a trip of the inner loop: the largest number that divides a window. With
the registers that LLVM allocates, a trip spends 27 modelled cycles of a Cortex-M33 on spilled
pointers. 32 values of a tile of 4x2 take 304 cycles in trips of 16 (Cortex-M7: 173), 255 in one
trip of 32 (166)."""
SHORT_TRIP = 8
"""The most values in a trip where code should be small. An inner loop of 32 values of a tile of 4x2
has 240 instructions, and each kernel has one."""


@dataclass(frozen=True, slots=True)
class WordTile:
    """A tile of `pixels` x `filters` sums in general registers. `filters` is even."""

    pixels: int
    filters: int

    @property
    def note(self) -> str:
        """A short name for reports, such as `4x2`."""
        return f"{self.pixels}x{self.filters}"


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the widened values lie: elements from a pixel to the next, and from a pair to the next.

    `window` is the number of values of a pixel's window, and `trip` divides it.
    """

    pixel_step: int
    pair_step: int
    window: Operand
    trip: int


def trip_of(window: int, code: CodeGoal) -> int:
    """The values in a trip of the inner loop."""
    most = SHORT_TRIP if code == "size" else TRIPS[0]
    return next(n for n in TRIPS if n <= most and window % n == 0)


def pack_words(weights: Array, filters: int) -> Array:
    """[F, kh, kw, C] -> [blocks, kw * kh * C / 4, 2, filters / 2, 2, 2], as described above."""
    count, rows, columns, depth = weights.shape
    blocks = -(-count // filters)
    padded = np.zeros((blocks * filters, columns, rows, depth), weights.dtype)
    padded[:count] = weights.swapaxes(1, 2)
    # [block, two filters, filter, four channels, channel of pair, pair] of the same window.
    split = padded.reshape(blocks, filters // 2, 2, columns * rows * depth // WORD, 2, 2)
    return np.asarray(split.transpose(0, 3, 5, 1, 4, 2), order="C")


class Widening:
    """Widens image values into columns. Groups of four values are aligned to `align_bytes`."""

    def __init__(self, b: KernelBuilder, x: Param, columns: Param, align_bytes: int) -> None:
        self._b, self._x, self._columns, self._align_bytes = b, x, columns, align_bytes
        self._sign = "s" if x.elem.is_signed else "u"

    def write(
        self,
        words: Sequence[tuple[Operand, int]],
        target: Operand,
        places: Sequence[tuple[int, int]],
    ) -> None:
        """Widen the words of the image at (index, offset).

        The two pairs of each are stored as far after `target` as its element of `places` says.
        """
        b = self._b
        for first in range(0, len(words), 2):
            loaded = [
                b.load(self._x, index, WORD, offset=offset, align_bytes=self._align_bytes)
                for index, offset in words[first : first + 2]
            ]
            for word, pairs in zip(loaded, places[first : first + 2], strict=True):
                for place, turn in zip(pairs, ("", "_ror8"), strict=True):
                    pair = b.bitcast(b.op(f"dsp_{self._sign}xtb16{turn}", word), Elem.I16)
                    b.store(pair, self._columns, target, offset=place, align_bytes=WORD)


class WordProducts:
    """Adds the products of tiles with blocks of `filters` filters, an even number."""

    def __init__(self, b: KernelBuilder, w: Param, columns: Param, filters: int) -> None:
        self._b, self._w, self._columns, self._filters = b, w, columns, filters

    def added(
        self,
        sums: list[Operand],
        block: Operand,
        pixels: int,
        base: Operand,
        columns: Columns,
    ) -> list[Operand]:
        """The sums plus all products of a tile; sums are ordered by pixel, then filter.

        The columns begin at `base`.
        """
        b, width = self._b, self._filters
        panel = b.mul(block, b.mul(columns.window, width))
        with b.loop("k", 0, columns.window, columns.trip, carry=sums) as k:
            running = list(k.carried)
            at = (
                b.add(base, b.mul(k.index, columns.pair_step // PAIR)),
                b.add(panel, b.mul(k.index, width)),
            )
            for pair in range(columns.trip // PAIR):
                running = self._pair(running, at, pair, pixels, columns)
            k.carry(running)
        return list(k.results)

    def _pair(
        self,
        sums: list[Operand],
        at: tuple[Operand, Operand],
        pair: int,
        pixels: int,
        columns: Columns,
    ) -> list[Operand]:
        """The sums plus the products of a pair of channels, that number `pair` of the trip."""
        b, width = self._b, self._filters
        x_index, w_index = at

        def value(pixel: int) -> Operand:
            offset = pixel * columns.pixel_step + pair * columns.pair_step
            return b.load(self._columns, x_index, PAIR, offset=offset, align_bytes=WORD)

        values = {pixel: value(pixel) for pixel in range(min(_AHEAD, pixels))}
        for filter_ in range(0, width, 2):
            offset = (pair * width + filter_) * PAIR
            word = b.load(self._w, w_index, WORD, offset=offset, align_bytes=WORD)
            right, left = b.op("dsp_sxtb16_ror8", word), b.op("dsp_sxtb16", word)
            for pixel, number, following in _product_order(pixels):
                weight, index = (left, right)[number], pixel * width + filter_ + number
                sums[index] = b.op("dsp_smlad", values[pixel], weight, sums[index])
                if following and following not in values:
                    values[following] = value(following)
        return sums


def _product_order(pixels: int) -> Iterator[tuple[int, int, int]]:
    """The products of a word of weights, as triples (pixel, filter, pixel to load next or 0).

    The pixels come in groups. The first group begins with the filter that is widened first. The
    last group ends with it, so that the register of the other filter is free for the next word
    while two products are left. Values of a group are loaded while the group before is multiplied.
    """
    for first in range(0, pixels, _AHEAD):
        for place, number in enumerate((0, 1) if first else (1, 0)):
            for pixel in range(first, min(first + _AHEAD, pixels)):
                following = pixel + _AHEAD if place else 0
                yield pixel, number, following if following < pixels else 0
