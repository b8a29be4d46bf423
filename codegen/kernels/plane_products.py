"""The products of window rows in planes: the words of weights that they take, and their code."""

from __future__ import annotations

from dataclasses import dataclass

from ellc.codegen.blocks.window import Axis
from ellc.codegen.kernels.plane_problem import NUMBERS, PIXELS
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand, Param


@dataclass(frozen=True, slots=True)
class _Use:
    """A pixel of a tile uses a word of a row with one or two taps, one of them in `half` b or t."""

    pixel: int
    taps: tuple[int, ...]
    half: str


@dataclass(frozen=True, slots=True)
class WeightWords:
    """The words of a window row: the taps of each, one or two.

    The words of a filter are in memory after its other numbers.
    """

    words: tuple[tuple[int, ...], ...]

    @staticmethod
    def of(columns: Axis) -> WeightWords:
        """The words that tiles use. A single tap is taken from a pair if possible."""
        used = sorted({use.taps for uses in _uses(columns, PIXELS).values() for use in uses})
        pairs = [taps for taps in used if len(taps) > 1]
        paired = {tap for taps in pairs for tap in taps}
        return WeightWords((*pairs, *(t for t in used if len(t) == 1 and t[0] not in paired)))

    def found(self, taps: tuple[int, ...]) -> tuple[int, str]:
        """The number of the word with these taps, and the half (b or t) that has the first."""
        number, word = next((n, w) for n, w in enumerate(self.words) if set(taps) <= set(w))
        return number, "bt"[word.index(taps[0])]

    def place(self, row: int, number: int) -> int:
        """Where a word is."""
        return NUMBERS + row * len(self.words) + number


def _uses(columns: Axis, pixels: int) -> dict[int, list[_Use]]:
    """For each word of a tile's row, how the pixels use it."""
    uses: dict[int, list[_Use]] = {}
    for pixel in range(pixels):
        of_word: dict[int, list[int]] = {}
        for tap in range(columns.taps):
            of_word.setdefault((pixel * columns.stride + tap) // 2, []).append(tap)
        for word, taps in of_word.items():
            half = "bt"[(pixel * columns.stride + taps[0]) % 2]
            uses.setdefault(word, []).append(_Use(pixel, tuple(taps), half))
    return dict(sorted(uses.items()))


@dataclass(frozen=True, slots=True)
class RowProducts:
    """Writes the products of a row of the windows of a tile.

    `numbers` is where the numbers of the filter are in the memory of the planes.
    """

    b: KernelBuilder
    planes: Param
    words: WeightWords
    columns: Axis
    numbers: Operand

    def added(self, sums: list[Operand], at: Operand, offset: int, row: int) -> list[Operand]:
        """The sums, one for each pixel, plus the products of the row at `at + offset`."""
        b, sums, weights = self.b, list(sums), dict[int, Operand]()
        for word, own in _uses(self.columns, len(sums)).items():
            value = b.load(self.planes, at, offset=offset + word)
            for use in own:
                number, half = self.words.found(use.taps)
                if number not in weights:
                    place = self.words.place(row, number)
                    weights[number] = b.load(self.planes, self.numbers, offset=place)
                name = "dsp_smlad_w" if len(use.taps) > 1 else f"dsp_smla{use.half}{half}_w"
                sums[use.pixel] = b.op(name, value, weights[number], sums[use.pixel])
        return sums


def unit_of(b: KernelBuilder, raised: Operand) -> Operand:
    """`2^(k - 1)` of a filter, from its k."""
    return b.shift_right(b.op("shl_by", b.const(1, raised), raised), 1)
