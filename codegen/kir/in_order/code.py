"""Machine code before registers are allocated: instructions, blocks and loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Union

Bank = Literal["x", "v", "p"]
"""The core's registers, the vector registers, and pairs of neighbouring core registers."""


class Unsupported(Exception):
    """The nest is outside the subset of kernel IR that is translated. LLVM compiles it."""


class Reg(NamedTuple):
    """A virtual register. Unlike values of kernel IR, it may be written several times.

    It is a tuple because the scheduler looks up registers most of its time, and hashes of tuples
    are several times faster than those of dataclasses.
    """

    bank: Bank
    number: int


@dataclass(frozen=True, slots=True)
class Access:
    """The bytes that an instruction reads or writes.

    Accesses of two `place`s may overlap; `alias` differs between buffers that never overlap.
    """

    alias: str
    place: object
    start: int
    bytes: int
    stores: bool

    def conflicts(self, other: Access) -> bool:
        """Whether the order of the two accesses matters."""
        if self.alias != other.alias or not (self.stores or other.stores):
            return False
        if self.place != other.place:
            return True
        return self.start < other.start + other.bytes and other.start < self.start + self.bytes


@dataclass(frozen=True, slots=True)
class Op:
    """An instruction, or two that stay together.

    `kind` names a row of the core's pipeline. In `text`, {0}, {1}, .. are `writes`, `updates`,
    `reads` and `late`, in this order. `lane` is the only lane of the last one of `reads` that
    counts; `half` is the only half of a vector register that is changed.
    """

    kind: str
    text: str
    writes: tuple[Reg, ...] = ()
    updates: tuple[Reg, ...] = ()
    reads: tuple[Reg, ...] = ()
    late: tuple[Reg, ...] = ()
    access: Access | None = None
    lane: int | None = None
    half: int | None = None

    registers: tuple[Reg, ...] = field(init=False, repr=False, compare=False)
    """All operands, in the order of `text`."""
    used: tuple[Reg, ...] = field(init=False, repr=False, compare=False)
    """The registers that it reads."""
    defined: tuple[Reg, ...] = field(init=False, repr=False, compare=False)
    """The registers that it writes."""
    _in_halves: Op | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        used = (*self.updates, *self.reads, *self.late)
        object.__setattr__(self, "used", used)
        object.__setattr__(self, "defined", (*self.writes, *self.updates))
        object.__setattr__(self, "registers", (*self.writes, *used))


def undefined(reg: Reg) -> Op:
    """No instruction: from here on the register is in use, whatever its content is."""
    return Op("nop", "", (reg,))


def in_halves(op: Op) -> Op:
    """The instruction with a register for each half of a vector register."""
    known = op._in_halves
    if known is None:
        known = _split(op)
        object.__setattr__(op, "_in_halves", known)
    return known


def _split(op: Op) -> Op:
    def both(regs: Sequence[Reg]) -> tuple[Reg, ...]:
        return tuple(part for reg in regs for part in _halves(reg))

    reads = both(op.reads)
    if op.lane is not None:
        reads = (*both(op.reads[:-1]), _halves(op.reads[-1])[op.lane // 2])
    writes, updates = both(op.writes), both(op.updates)
    if op.half is not None:
        (changed,) = op.defined
        writes, updates = (_halves(changed)[op.half],), ()
    return Op(op.kind, op.text, writes, updates, reads, both(op.late), op.access)


def _halves(reg: Reg) -> tuple[Reg, ...]:
    if reg.bank != "v":
        return (reg,)
    return (Reg("v", 2 * reg.number), Reg("v", 2 * reg.number + 1))


@dataclass(slots=True)
class Code:
    """Instructions without branches. Unless they are `fixed`, they may be reordered."""

    ops: list[Op] = field(default_factory=list)
    fixed: bool = False


@dataclass(slots=True)
class Loop:
    """A loop: `guard` leaves before the first trip, `latch` branches back to the body."""

    label: str
    guard: tuple[Op, ...]
    body: list[Node]
    latch: tuple[Op, ...]
    carried: tuple[Reg, ...] = ()
    """The registers of the carried values of the loop of kernel IR."""
    streams: tuple[str, ...] = ()
    """For each of them the parameter to whose elements a carried index points, in `carried` as an
    address; empty if the register contains the carried value itself."""
    index: Reg | None = None
    """The register of its index, unless the loop counts with another one."""
    trips: int = 8
    """The number of trips, or a guess."""
    peeled: bool = False
    """The last trip of the loop of kernel IR is behind this loop."""


Node = Union[Code, Loop]  # noqa: UP007  (a name usable at run time in annotations)


def codes(nodes: list[Node]) -> Iterator[Code]:
    """All straight-line blocks, in order, without guards and latches."""
    for node in nodes:
        if isinstance(node, Code):
            yield node
        else:
            yield from codes(node.body)
