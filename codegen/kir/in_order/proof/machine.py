"""Runs lines of assembly on symbols: what both states of a core have in common."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from ellc.codegen.kir.in_order.proof.symbols import (
    UNKNOWN,
    Lanes,
    Linear,
    Memory,
    Symbols,
    Unproved,
    Value,
)

Place = str | int
"""A core register (`x3`), a vector register (`v4`), or the offset of a slot in the frame."""

OPERANDS = re.compile(r"\[[^\]]*\](?=$|, )|[^,\s][^,]*")
_IMMEDIATE = re.compile(r"#(-?\d+)")
_SHIFT = re.compile(r"lsl #(\d+)")
_MOST_BITS = 64
SLOT_BYTES = 16


class Machine(ABC):
    """Registers, flags, the frame and memory.

    `writable` are the ranges of offsets in the frame that the function may write.
    """

    address: ClassVar[re.Pattern[str]]
    """An address: a core register and a number of bytes."""
    forbidden: ClassVar[frozenset[Place]]
    """The registers that a function must not change."""
    kept: ClassVar[frozenset[Place]]
    """Those that it must save before it changes them."""
    handlers: ClassVar[Mapping[str, Callable[..., None]]]
    """The method for each mnemonic; its arguments are the operands as text."""

    def __init__(self, symbols: Symbols, memory: Memory, writable: tuple[range, ...]) -> None:
        self._symbols, self.memory, self._writable = symbols, memory, writable
        self.values: dict[Place, Value] = {}
        self.compared: tuple[Linear, Linear] | None = None
        """The operands of the last comparison."""
        self.counted: Linear | None = None
        """The result of the last subtraction that set the flags."""

    @classmethod
    @abstractmethod
    def branch(cls, line: str) -> tuple[str, str] | None:
        """The condition and the label of a branch; None for other lines."""

    @classmethod
    @abstractmethod
    def written(cls, line: str) -> tuple[Place, ...]:
        """The registers and slots that an instruction changes."""

    @classmethod
    @abstractmethod
    def saved(cls, saves: Iterable[str]) -> set[Place]:
        """The registers of `kept` that are saved completely."""

    def run(self, line: str) -> None:
        """Run an instruction that is no branch."""
        mnemonic, _, rest = line.partition(" ")
        handler = self.handlers.get(mnemonic)
        if handler is None:
            raise Unproved(f"{line}: unknown instruction")
        try:
            handler(self, *OPERANDS.findall(rest))
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise Unproved(f"{line}: {error!r}") from error
        except Unproved as error:
            raise Unproved(f"{line}: {error}") from error

    @abstractmethod
    def settle(self) -> None:
        """Raise `Unproved` if an instruction must follow before the next label or branch."""

    # --- operands --------------------------------------------------------------------------------

    @abstractmethod
    def core(self, operand: str) -> str:
        """The place of a core register."""

    @abstractmethod
    def vector(self, operand: str) -> Lanes:
        """A vector, or a lane of one in all lanes."""

    @abstractmethod
    def set_vector(self, operand: str, lanes: Lanes) -> None:
        """Change a vector register."""

    def address_of(self, operand: str) -> tuple[str, int]:
        """The core register and the displacement of an address."""
        match = self.address.fullmatch(operand)
        if match is None:
            raise Unproved(f"{operand} is no address")
        return match[1], int(match[2])

    def number(self, operand: str) -> Linear:
        """An immediate number, or the integer in a core register."""
        if operand.startswith("#"):
            return Linear((), immediate(operand))
        value = self.values[self.core(operand)]
        if not isinstance(value, Linear):
            raise Unproved(f"{operand} is no integer")
        return value

    def lanes_of(self, place: str) -> Lanes:
        """The lanes of a vector register; raises `Unproved` if it contains no vector."""
        value = self.values[place]
        if not isinstance(value, tuple):
            raise Unproved(f"{place} is no vector")
        return value

    def element(self, base: str, offset: int) -> int:
        """The element at a displacement from a pointer."""
        return self._symbols.element(self.memory, self.number(base).shifted(offset))

    def check_slot(self, offset: int, size: int) -> None:
        """Raise `Unproved` unless the function may write so many bytes of the frame."""
        if not any(offset in r and offset + size - 1 in r for r in self._writable):
            raise Unproved("a slot that belongs to the caller")

    # --- instructions on integers ----------------------------------------------------------------

    def add(self, to: str, a: str, b: str, shift: str = "lsl #0") -> None:
        """`a + (b << shift)`."""
        value = self.number(a).plus(self.number(b), 1 << shifted(shift))
        self.values[self.core(to)] = value

    def sub(self, to: str, a: str, b: str, shift: str = "lsl #0") -> None:
        """`a - (b << shift)`."""
        value = self.number(a).plus(self.number(b), -1 << shifted(shift))
        self.values[self.core(to)] = value

    def subs(self, to: str, a: str, b: str) -> None:
        """`a - b`, and the flags."""
        self.sub(to, a, b)
        self.compared, self.counted = None, self.number(to)

    def lsl(self, to: str, a: str, by: str) -> None:
        """`a << by`."""
        self.values[self.core(to)] = Linear().plus(self.number(a), 1 << shifted(f"lsl {by}"))

    def mul(self, to: str, a: str, b: str) -> None:
        """`a * b`."""
        self.values[self.core(to)] = self._symbols.product(self.number(a), self.number(b))

    def multiply_add(self, to: str, a: str, b: str, c: str) -> None:
        """`c + a * b`."""
        product = self._symbols.product(self.number(a), self.number(b))
        self.values[self.core(to)] = self.number(c).plus(product)

    def multiply_subtract(self, to: str, a: str, b: str, c: str) -> None:
        """`c - a * b`."""
        product = self._symbols.product(self.number(a), self.number(b))
        self.values[self.core(to)] = self.number(c).plus(product, -1)

    def divide(self, to: str, a: str, b: str) -> None:
        """`a / b`, rounded towards zero."""
        self.values[self.core(to)] = self._symbols.quotient(self.number(a), self.number(b))

    def forget_flags(self) -> None:
        """Another instruction may have set the flags, as at the head of a loop."""
        self.compared = self.counted = None

    def compare(self, a: str, b: str) -> None:
        """The flags of `a - b`."""
        self.compared, self.counted = (self.number(a), self.number(b)), None

    def nothing(self) -> None:
        """It changes no value."""
        return

    def prefetch(self, where: str) -> None:
        """A hint, which changes no value."""
        self.address_of(where)

    @staticmethod
    def each(name: str) -> Callable[[Any, str, str, str], None]:
        """An instruction on each lane of two vectors."""

        def run(self: Machine, to: str, a: str, b: str) -> None:
            self.set_vector(to, self._symbols.each(name, self.vector(a), self.vector(b)))

        return run


INTEGERS: Mapping[str, Callable[..., None]] = {
    "add": Machine.add,
    "sub": Machine.sub,
    "subs": Machine.subs,
    "lsl": Machine.lsl,
    "mul": Machine.mul,
    "sdiv": Machine.divide,
    "cmp": Machine.compare,
    "nop": Machine.nothing,
}
"""Instructions that are the same in both states."""


def complete(lanes: Lanes, operand: str) -> Lanes:
    """The lanes; raises `Unproved` if one is unknown."""
    if UNKNOWN in lanes:
        raise Unproved(f"{operand} is not complete")
    return lanes


def immediate(operand: str) -> int:
    """The number in `#number`; a register is none."""
    match = _IMMEDIATE.fullmatch(operand)
    if match is None:
        raise Unproved(f"{operand} is no number")
    return int(match[1])


def shifted(shift: str) -> int:
    """The number of bits in `lsl #bits`."""
    match = _SHIFT.fullmatch(shift)
    if match is None or int(match[1]) >= _MOST_BITS:
        raise Unproved(f"{shift} is no shift")
    return int(match[1])
