"""The schedule of a product loop: what issues in each cycle of a trip, and where loads go.

The core is one on which a multiply-add of 128 bits issues in each cycle, but keeps a load into a
vector register, or an insertion, from issuing 4 cycles later (the addend clash of the Cortex-A53).
So three cycles with a multiply-add are followed by a gap. A vector of 16 bytes is loaded in halves:
one goes to a core register behind a multiply-add, from where it is inserted in a gap, and the other
one is loaded in a gap. A gap holds one insertion and one load of a half: they issue together.

Times are in cycles from the start of the iteration that uses the loaded vector: a negative time is
in an iteration before that one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ellc.codegen.kir.in_order.encoding import Half

GROUP = 3
"""Multiply-adds between two gaps."""
CORE_LATENCY = 3
"""Cycles from the load of a half into a core register to its insertion."""
INSERT_LATENCY = 2
"""Cycles from the insertion to the first use of the vector."""
LOAD_LATENCY = 3
"""Cycles from the load of a half into a vector register to its first use."""
ROUNDS = 6
"""Trips that a search looks at, until times repeat."""


class NoSchedule(Exception):
    """No schedule was found."""


Kind = Literal["half", "core", "insert"]
"""A load of a half into a vector register, or into a core register, and the insertion of it."""


@dataclass(frozen=True, slots=True)
class PlacedPart:
    """When an instruction of a load issues, and for which half."""

    load: int
    half: Half
    kind: Kind
    time: int


Halves = tuple[int, int]
"""Where the halves of a load go: half `n % 2` of vector register `n // 2` for each number `n`."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """One iteration: the cycle of each product, the cycles without one, and the parts of loads.

    `places` has the places of each load's halves.
    """

    cycles: int
    product_cycles: tuple[int, ...]
    gaps: tuple[int, ...]
    parts: tuple[PlacedPart, ...]
    places: tuple[Halves, ...]

    @property
    def spans_two_trips(self) -> bool:
        """Whether each load happens in the trip that uses it or in the one before."""
        return all(-self.cycles <= part.time < self.cycles for part in self.parts)


def shared(loads: list[int], registers: int) -> list[list[int]]:
    """The loads of each register, in order. If two share one, they are half a trip apart."""
    if len(loads) <= registers:
        return [[load] for load in loads]
    pairs, half = len(loads) - registers, len(loads) // 2
    if pairs > half:
        return [list(loads[first::registers]) for first in range(registers)]
    second = set(range(half, half + pairs))
    return [
        [load, loads[half + number]] if number < pairs else [load]
        for number, load in enumerate(loads)
        if number not in second
    ]


def core_registers(found: Schedule, most: int) -> dict[tuple[int, Half], int] | None:
    """The number of the core register for each half that is inserted; None if `most` are too few.

    A register is in use from the load of a half to its insertion.
    """
    inserted = {(p.load, p.half): p.time for p in found.parts if p.kind == "insert"}
    taken: list[set[int]] = [set() for _ in range(most)]
    numbers: dict[tuple[int, Half], int] = {}
    for part in sorted((p for p in found.parts if p.kind == "core"), key=lambda p: p.time):
        half = (part.load, part.half)
        mine = {time % found.cycles for time in range(part.time, inserted[half] + 1)}
        free = [number for number, cycles in enumerate(taken) if cycles.isdisjoint(mine)]
        if not free:
            return None
        taken[free[0]] |= mine
        numbers[half] = free[0]
    return numbers
