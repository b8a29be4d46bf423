"""Symbols for values: two values are the same if their symbols are.

An integer is a `Linear`: symbols times numbers, plus a constant. A lane of a vector is the number
of a symbol that stands for an operation on other symbols, for an element of memory or for a
literal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class Unproved(Exception):
    """The proof fails; says where."""


@dataclass(frozen=True, slots=True)
class Linear:
    """An integer: a sum of symbols times numbers, plus a constant."""

    terms: tuple[tuple[int, int], ...] = ()
    constant: int = 0

    def plus(self, other: Linear, times: int = 1) -> Linear:
        """`self + times * other`."""
        sums = dict(self.terms)
        for symbol, count in other.terms:
            sums[symbol] = sums.get(symbol, 0) + times * count
        kept = tuple(sorted((s, c) for s, c in sums.items() if c))
        return Linear(kept, self.constant + times * other.constant)

    def shifted(self, by: int) -> Linear:
        """The sum with a number."""
        return Linear(self.terms, self.constant + by)


Lanes = tuple[int, int, int, int]
UNKNOWN = 0
"""The symbol of a lane whose content does not matter."""


@dataclass(frozen=True, slots=True)
class Half:
    """The lanes in a core register: two in the 64-bit state, which are half a vector, else one."""

    lanes: tuple[int, ...]


Value = Linear | Half | Lanes


class Symbols:
    """Numbers symbols by what they stand for."""

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}
        self._meanings: list[object] = [None]

    def of(self, *what: object) -> int:
        """The symbol for something that can be hashed."""
        number = self._numbers.get(what)
        if number is None:
            number = self._numbers[what] = len(self._meanings)
            self._meanings.append(what)
        return number

    def meaning(self, symbol: int) -> object:
        """What a symbol stands for."""
        return self._meanings[symbol]

    def fresh(self, what: str) -> int:
        """A symbol that differs from all others."""
        return self.of(what, len(self._meanings))

    def integer(self, *what: object) -> Linear:
        """An integer of which nothing is known but what it stands for."""
        return Linear(((self.of(*what), 1),))

    def lanes(self, what: str) -> Lanes:
        """A vector of which nothing is known."""
        first = self.fresh(what)
        return (self.of(first, 0), self.of(first, 1), self.of(first, 2), self.of(first, 3))

    def each(self, what: str, *operands: Lanes) -> Lanes:
        """The result of an operation lane by lane."""
        a, b, c, d = (self.of(what, *lanes) for lanes in zip(*operands, strict=True))
        return (a, b, c, d)

    def product(self, a: Linear, b: Linear) -> Linear:
        """The product of two integers."""
        for one, other in ((a, b), (b, a)):
            if not one.terms:
                return Linear().plus(other, one.constant)
        return self.integer("mul", *sorted((a, b), key=lambda v: (v.terms, v.constant)))

    def quotient(self, a: Linear, b: Linear) -> Linear:
        """The quotient of two integers, rounded towards zero."""
        return self.integer("div", a, b)

    def element(self, memory: Memory, address: Linear) -> int:
        """The element at an address, which is loaded."""
        memory.loaded.add(address)
        return self.of("at", address, memory.stores_before(address))

    def moved(self, symbol: int, other: int, step: int, index: Linear) -> int | None:
        """An element whose address depends on an index.

        If `symbol` and `other` are elements that lie `n * step` bytes apart, the result is the
        element `n * index` bytes behind the former; None if they are not.
        """
        a, b = self._meanings[symbol], self._meanings[other]
        if not (isinstance(a, tuple) and isinstance(b, tuple)) or a[0] != "at" or b[0] != "at":
            return None
        if a[2] != b[2]:
            return None
        there = between(a[1], b[1], step, index)
        return None if there is None else self.of("at", there, a[2])


def between(a: Linear, b: Linear, step: int, index: Linear) -> Linear | None:
    """`a + n * index` if `b = a + n * step` for an integer n, else None."""
    far = b.constant - a.constant
    if a.terms != b.terms or far % step:
        return None
    return a.plus(index, far // step)


def literal_lanes(symbols: Symbols, bits: int) -> Lanes:
    """A vector with the same bits in all lanes."""
    one = symbols.of("bits", bits & 0xFFFF_FFFF)
    return (one, one, one, one)


@dataclass(frozen=True, slots=True)
class Stored:
    """A store of up to four lanes."""

    address: Linear
    lanes: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """The size of what is stored."""
        return 4 * len(self.lanes)

    def may_overlap(self, address: Linear, size: int) -> bool:
        """Whether it may write some of the bytes at an address."""
        if self.address.terms != address.terms:
            return True
        start = self.address.constant
        return start < address.constant + size and address.constant < start + self.bytes


class Memory:
    """The stores since the last boundary, and how many boundaries with stores there were.

    `loaded` are the addresses of elements that were loaded since the last boundary.

    Stores of an address whose first symbol is a parameter concern the parameters that may point to
    the same buffer. `buffers` names, for the symbol of each parameter, its buffer.
    """

    def __init__(self, buffers: dict[int, str]) -> None:
        self._buffers = buffers
        self.stores: list[Stored] = []
        self.loaded: set[Linear] = set()
        self.epochs: dict[str, int] = {}

    def buffer(self, address: Linear) -> str:
        """The buffer that contains an address."""
        found = [
            self._buffers[s] for s, count in address.terms if s in self._buffers and count == 1
        ]
        if len(found) != 1:
            raise Unproved("an address that is in no buffer")
        return found[0]

    def store(self, address: Linear, lanes: tuple[int, ...]) -> None:
        """Record a store."""
        if UNKNOWN in lanes:
            raise Unproved("stores an unknown lane")
        self.buffer(address)
        self.stores.append(Stored(address, lanes))

    def stores_before(self, address: Linear) -> tuple[object, ...]:
        """What tells apart contents of the same element at different times."""
        name = self.buffer(address)
        earlier = frozenset(
            s for s in self.stores if self.buffer(s.address) == name and s.may_overlap(address, 4)
        )
        return (self.epochs.get(name, 0), earlier)

    def boundary(self, buffers: Iterable[str], epoch: int) -> None:
        """Forget the stores: from now on, contents of these buffers have another epoch."""
        self.stores, self.loaded = [], set()
        for name in buffers:
            self.epochs[name] = epoch

    def differs(self, other: Memory) -> bool:
        """Whether the stores are not the same, up to an order that does not matter."""
        return self._by_buffer() != other._by_buffer()

    def _by_buffer(self) -> dict[str, object]:
        groups: dict[str, list[Stored]] = {}
        for stored in self.stores:
            groups.setdefault(self.buffer(stored.address), []).append(stored)
        return {name: _ordered(stores) for name, stores in groups.items()}


def _ordered(stores: list[Stored]) -> object:
    """The stores as a set if none overlaps another, else in their order."""
    for i, stored in enumerate(stores):
        if any(stored.may_overlap(other.address, other.bytes) for other in stores[:i]):
            return tuple(stores)
    return frozenset(stores)
