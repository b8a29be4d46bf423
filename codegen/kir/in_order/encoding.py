"""What the scheduler must know of an instruction set: its registers, and how to write operations.

The texts of instructions contain `{0}`, `{1}`, .. for registers; `Encoding.name` says what becomes
of them. Texts that are the same in both states of a core, such as `add {0}, {1}, {2}`, are written
where they are needed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from ellc.codegen.kir.in_order.code import Access, Bank, Op, Reg, Unsupported

Half = Literal[0, 1]
"""The low or the high 8 bytes of a vector."""


class Encoding(ABC):
    """The instructions of one state of a core. Methods raise `Unsupported` for other operands."""

    registers: ClassVar[Mapping[Bank, tuple[int, ...]]]
    """The registers that may be assigned, first those that a function need not save. Register 0 of
    the bank `x` contains the address of the frame."""
    halves: ClassVar[Bank]
    """The bank of registers through which halves of vectors are loaded."""
    half_registers: ClassVar[int]
    """How many of them a loop of products uses."""
    lane_registers: ClassVar[int]
    """Only so many vector registers, from the first one on, can be operands by lane."""
    loads_halves_apart: ClassVar[bool]
    """Whether the halves of a vector register are registers themselves. Otherwise, a load of the
    low half clears the high half."""
    loads_beside: ClassVar[bool] = False
    """Whether parts of loads issue in the same cycle as a multiply-add."""
    has_integers: ClassVar[bool] = False
    """Whether vectors of integers are translated."""
    offsets_are_rare: ClassVar[bool]
    """Whether LLVM's loads and stores of vectors have no displacements, but a pointer each."""
    split_reach: ClassVar[int]
    """The distance of pointers to places from which vectors are loaded in parts."""
    literals_by_lane: ClassVar[bool] = False
    """Whether literals that are factors share vector registers, because these are few."""
    near: ClassVar[range]
    """Displacements that every load and store of a vector can have."""
    reach_bytes: ClassVar[int]
    """Pointers to places that differ by a constant are multiples of this number apart."""
    stream_reach: ClassVar[int]
    """If pointers are few, loads of a loop of products share a pointer up to this displacement,
    which includes the step of the pointer. If it is 0, displacements are large, and loads share
    pointers as other code does."""

    # --- registers -------------------------------------------------------------------------------

    @abstractmethod
    def name(self, bank: Bank, number: int) -> object:
        """What a text inserts for a register."""

    @abstractmethod
    def saves(self, used: set[tuple[Bank, int]]) -> tuple[str, ...]:
        """The names of those registers that a function must save."""

    @abstractmethod
    def timed(self, op: Op) -> Op:
        """An instruction with the registers that matter for its time."""

    # --- integers --------------------------------------------------------------------------------

    @abstractmethod
    def immediate(self, value: int) -> str:
        """A number as an operand of additions and comparisons; empty if it cannot be one."""

    @abstractmethod
    def constant(self, to: Reg, value: int) -> Iterator[Op]:
        """Set a register to a number that fits in it."""

    @abstractmethod
    def multiplied(self, to: Reg, a: Reg, b: Reg, plus: Reg) -> Op:
        """`plus + a * b`."""

    @abstractmethod
    def subtracted(self, to: Reg, a: Reg, b: Reg, whole: Reg) -> Op:
        """`whole - a * b`."""

    @abstractmethod
    def selected(self, to: Reg, a: Reg, b: Reg, which: Literal["min", "max"]) -> Op:
        """The smaller or the larger one of two integers."""

    @abstractmethod
    def branch(self, condition: str, label: str) -> Op:
        """A conditional branch."""

    # --- memory ----------------------------------------------------------------------------------

    @abstractmethod
    def word_slot(self, reg: Reg, at: int, *, stores: bool) -> Op:
        """Load or store a word of the frame."""

    @abstractmethod
    def vector_load(self, to: Reg, base: Reg | None, at: int, access: Access | None = None) -> Op:
        """Load a vector from a pointer, or from the frame if `base` is None."""

    @abstractmethod
    def vector_store(
        self, what: Reg, base: Reg | None, at: int, access: Access | None = None
    ) -> Op:
        """Store a vector."""

    def split_load(
        self, to: Reg, through: Reg, base: Reg | None, at: int, access: Access | None = None
    ) -> tuple[Op, ...]:
        """Load a vector by three instructions, which issue beside others.

        Half of it passes through a register of the bank `halves`.
        """
        raise Unsupported("a load in parts")

    def whole_store(self, what: Reg, base: Reg, access: Access) -> Op:
        """Store a vector by one instruction that has no displacement."""
        raise Unsupported("a store without displacement")

    @abstractmethod
    def prefetch(self, base: Reg, at: int, *, stores: bool = False) -> Iterator[Op]:
        """Prefetch a cache line to load from it, or to store to it.

        Nothing if the displacement has no encoding.
        """

    # --- vectors ---------------------------------------------------------------------------------

    @abstractmethod
    def arithmetic(self, name: str, to: Reg, a: Reg, b: Reg) -> Op:
        """add, sub, mul, min or max of vectors of 4 floats."""

    @abstractmethod
    def product(self, total: Reg, vector: Reg, other: Reg, lane: int | None) -> Op:
        """`total += vector * other`; of `other` one lane counts, or all if `lane` is None."""

    def on_bytes(self, name: str, element_bytes: int, to: Reg, *reads: Reg) -> Op:
        """An operation of kernel IR on integers of 1 or 2 bytes.

        `pair_sums` reads two vectors, `add_pairs` adds to 0 and so reads only the narrow one.
        """
        raise Unsupported("integers in vectors")

    def product_by_lane(self, to: Reg, vector: Reg, other: Reg, lane: int) -> Op:
        """`to = vector * other`, where one lane of `other` counts."""
        raise Unsupported("a product by lane")

    def word_insertion(self, to: Reg, lane: int, word: Reg) -> Op:
        """Move the low 32 bits of a core register to a lane."""
        raise Unsupported("an insertion of a lane")

    @abstractmethod
    def vector_move(self, to: Reg, source: Reg) -> Op:
        """Copy a vector."""

    @abstractmethod
    def lane_splat(self, to: Reg, source: Reg, lane: int) -> Op:
        """A vector whose lanes are one lane of another."""

    @abstractmethod
    def zero(self, to: Reg) -> Op:
        """A vector of zeros."""

    @abstractmethod
    def number(self, reg: Reg, value: float) -> Op | None:
        """A vector of a number; None if no instruction contains it."""

    @abstractmethod
    def word_splat(self, to: Reg, word: Reg) -> Op:
        """A vector whose lanes are the low 32 bits of a core register."""

    # --- loads in parts --------------------------------------------------------------------------

    @abstractmethod
    def half_load(self, to: Reg, half: Half, base: Reg, at: int, access: Access) -> Op:
        """Load 8 bytes at `at` into a half of a vector."""

    @abstractmethod
    def core_load(self, to: Reg, base: Reg, at: int, access: Access) -> Op:
        """Load 8 bytes into a register of the bank `halves`."""

    @abstractmethod
    def insertion(self, to: Reg, half: Half, source: Reg) -> Op:
        """Move such a register to the half of a vector."""
