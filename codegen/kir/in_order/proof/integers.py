"""The meaning of operations on integers, for statements and for instructions.

A vector is four words of 32 bits, whatever its elements are. A word of a result is a symbol for the
operation on words of the operands, with the places of the elements that count in them.
"""

from __future__ import annotations

from collections.abc import Sequence

from ellc.codegen.kir.in_order.proof.symbols import (
    UNKNOWN,
    Lanes,
    Symbols,
    Unproved,
    literal_lanes,
)

_CLAMPED = {
    "16": (4, 0xFFFF8000, 0x00007FFF),
    "8": (2, 0xFF80FF80, 0x007F007F),
    "unsigned 8": (2, 0x00000000, 0x00FF00FF),
}
"""The bytes of a lane and the words of the limits to which numbers are clamped before they become
narrower: to 16 bits, to bytes, and to unsigned bytes."""


class Integers:
    """Operations on words. Raises `Unproved` if a word that counts is unknown."""

    def __init__(self, symbols: Symbols) -> None:
        self._symbols = symbols

    def of(self, *what: object) -> int:
        """The symbol of an operation."""
        if UNKNOWN in (part for part in what if type(part) is int):
            raise Unproved("an operand is not complete")
        return self._symbols.of(*what)

    def product(self, a: Lanes, b: Lanes, high: bool, total: Lanes | None = None) -> Lanes:
        """Products of 8 signed bytes, in two lanes of 16 bits of each word."""

        def word(i: int) -> int:
            at, place = 2 * high + i // 2, ("low", "high")[i % 2]
            if total is None:
                return self.of("wide_mul", a[at], b[at], place)
            return self.of("wide_mul_add", total[i], a[at], b[at], place)

        return (word(0), word(1), word(2), word(3))

    def dot(self, total: Lanes, a: Lanes, four: int) -> Lanes:
        """Four products of signed bytes, added to each lane of 32 bits; `four` is one word."""
        w, x, y, z = (self.of("dot", t, p, four) for t, p in zip(total, a, strict=True))
        return (w, x, y, z)

    def add_pairs(self, total: Lanes, pairs: Lanes) -> Lanes:
        """Two lanes of 16 bits, added to one of 32 bits."""
        w, x, y, z = (self.of("add_pairs", t, p) for t, p in zip(total, pairs, strict=True))
        return (w, x, y, z)

    def pair_sums(self, a: Lanes, b: Lanes) -> Lanes:
        """The sums of two neighbouring lanes of 32 bits."""
        return (
            self.of("pair_sum", a[0], a[1]),
            self.of("pair_sum", a[2], a[3]),
            self.of("pair_sum", b[0], b[1]),
            self.of("pair_sum", b[2], b[3]),
        )

    def doubled(self, word: int, place: int) -> int:
        """The low or the high 16 bits of a word (`place` 0 or 1), twice."""
        return self.of("doubled 16", word, f"{place}")

    def each(self, op: str, bits: int, words: int, *operands: Lanes) -> Lanes:
        """An operation on each lane of so many bits, in the first words."""
        name = op if op in ("and", "xor") else f"{op} of {bits // 8}"
        return _filled([self.of(name, *(v[i] for v in operands)) for i in range(words)])

    def shifted(self, op: str, a: Lanes, bits: int) -> Lanes:
        """A shift of lanes of 32 bits by a number of bits."""
        w, x, y, z = (self.of(op, word, f"by {bits}") for word in a)
        return (w, x, y, z)

    def rounded(self, a: Lanes, bits: Lanes) -> Lanes:
        """A shift of lanes of 32 bits to the right, rounded."""
        return self.each("shr_round", 32, 4, a, bits)

    def negative(self, a: Lanes) -> Lanes:
        """0 minus lanes of 32 bits."""
        return self.each("sub", 32, 4, literal_lanes(self._symbols, 0), a)

    def narrowed(self, a: Lanes, to: str, *, saturates: bool = False) -> Lanes:
        """The lanes of a register with half as many bits: "16", "8" or "unsigned 8".

        They are in the first half of the result.
        """
        name = f"saturate {to}" if saturates else f"narrow {to.removeprefix('unsigned ')}"
        words = [
            UNKNOWN if UNKNOWN in pair else self.of(name, *pair)
            for pair in ((a[0], a[1]), (a[2], a[3]))
        ]
        return _filled(words)

    def narrowed_if_clamped(self, a: Lanes, to: str) -> Lanes:
        """Lanes with half as many bits; those that were clamped before are saturated."""
        inner = [word if word == UNKNOWN else self._clamped(word, to) for word in a]
        if None in inner:
            return self.narrowed(a, to)
        w, x, y, z = (word or UNKNOWN for word in inner)
        return self.narrowed((w, x, y, z), to, saturates=True)

    def _clamped(self, word: int, to: str) -> int | None:
        size, *limits = _CLAMPED[to]
        low, high = (self._symbols.of("bits", bits) for bits in limits)
        match self._symbols.meaning(word):
            case (str(least), int(most), int(top)) if least == f"min of {size}" and top == high:
                match self._symbols.meaning(most):
                    case (str(name), int(inner), int(bottom)) if (
                        name == f"max of {size}" and bottom == low
                    ):
                        return inner
        return None

    def widened(self, a: Lanes, bits: int, *, signed: bool) -> Lanes:
        """The first lanes of `bits` bits as lanes of twice as many."""
        name = f"widen {'signed' if signed else 'unsigned'} {bits}"
        words = [
            UNKNOWN if not a[i // 2] else self.of(name, a[i // 2], f"{i % 2}") for i in range(4)
        ]
        return (words[0], words[1], words[2], words[3])


def _filled(words: Sequence[int]) -> Lanes:
    w, x, y, z = (*words, *[UNKNOWN] * (4 - len(words)))
    return (w, x, y, z)
