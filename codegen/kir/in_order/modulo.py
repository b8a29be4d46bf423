"""Places the loads of a product loop between its multiply-adds, iteration over iteration.

The core is one on which a multiply-add of 128 bits issues in each cycle, but keeps a load into a
vector register, or an insertion, from issuing 4 cycles later (the addend clash of the Cortex-A53).
So three cycles with a multiply-add are followed by a gap. A vector of 16 bytes is loaded in halves:
one goes to a core register behind a multiply-add, from where it is inserted in a gap, and the other
one is loaded in a gap. A gap holds one insertion and one load of a half: they issue together.

In the 64-bit state, the load of the low half clears the high half, which therefore is inserted in
the next usable gap. In the 32-bit state halves are registers themselves, and are placed one by one.

Times are in cycles from the start of the iteration that uses the loaded vector: a negative time is
in an iteration before that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from ellc.codegen.kir.in_order.encoding import Half
from ellc.codegen.kir.in_order.product_loop import Product, Uses, uses_of

GROUP = 3
"""Multiply-adds between two gaps."""
CORE_LATENCY = 3
"""Cycles from the load of a half into a core register to its insertion."""
INSERT_LATENCY = 2
"""Cycles from the insertion to the first use of the vector."""
LOAD_LATENCY = 3
"""Cycles from the load of a half into a vector register to its first use."""
_ROUNDS = 6


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


@dataclass(frozen=True, slots=True)
class Schedule:
    """One iteration: the cycle of each product, the cycles without one, and the parts of loads.

    `registers` has the number of each load's vector register.
    """

    cycles: int
    product_cycles: tuple[int, ...]
    gaps: tuple[int, ...]
    parts: tuple[PlacedPart, ...]
    registers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Loads:
    """The loads of a loop: the products that read each of them, and each of their halves.

    With `apart`, halves are placed one by one.
    """

    uses: Uses
    half_uses: tuple[Uses, Uses]
    apart: bool

    @property
    def gaps(self) -> int:
        """The least number of gaps: each takes two halves."""
        if not self.apart:
            return len(self.uses)
        return -(-sum(bool(products) for half in self.half_uses for products in half) // 2)


def loads_of(products: Sequence[Product], loads: int, *, apart: bool) -> Loads:
    """The loads of a loop with these products."""
    halves = (uses_of(products, loads, 0), uses_of(products, loads, 1))
    return Loads(uses_of(products, loads), halves, apart)


@dataclass(frozen=True, slots=True)
class Job:
    """A load, or a half of it, with the times between which it must happen."""

    load: int
    half: Half
    release: int
    """It may be loaded from this time on: the register's last content is used up."""
    use: int
    """The time of its first use."""


@lru_cache(maxsize=256)
def schedule(loads: Loads, products: int, registers: int) -> Schedule:
    """The shortest schedule of a loop with `products` multiply-adds.

    The loads may have `registers` vector registers. Raises `NoSchedule`.
    """
    for cycles in range(max(products + 1, products + loads.gaps), 2 * products):
        found = _with_branch(loads, products, registers, cycles)
        if found is not None:
            return found
    raise NoSchedule


def _with_branch(loads: Loads, products: int, registers: int, cycles: int) -> Schedule | None:
    """A schedule with the branch behind the last multiply-add, or in a cycle of its own."""
    options = []
    for length, ends_with_gap in ((cycles, False), (cycles - 1, True)):
        for phase in range(GROUP + 1):
            gaps = range(phase, length, GROUP + 1)
            idle = _idle(products, length, gaps)
            last = length - 1
            if idle is not None and (last in gaps or last in idle) == ends_with_gap:
                options.append((length, gaps, idle))
    for length, gaps, idle in sorted(options, key=lambda option: len(option[2])):
        found = _with_gaps(loads, registers, length, gaps, idle)
        if found is not None:
            return found
    return None


def _idle(products: int, cycles: int, gaps: Sequence[int]) -> frozenset[int] | None:
    """Cycles with neither a product nor a load, if there are more cycles than both need.

    They are spread over the trip, each before a gap. None if the cycles are too few or too many.
    """
    count = cycles - len(gaps) - products
    before = [cycle for cycle in range(cycles) if cycle + 1 in gaps or cycle + 1 == cycles]
    before = [cycle for cycle in before if cycle not in gaps]
    if not 0 <= count <= len(before):
        return None
    return frozenset(before[i * len(before) // count] for i in range(count))


def _with_gaps(
    loads: Loads, registers: int, cycles: int, gaps: Sequence[int], idle: frozenset[int]
) -> Schedule | None:
    """A schedule with these gaps; None if the loads do not fit into them."""
    taken = idle.union(gaps)
    busy = [cycle for cycle in range(cycles) if cycle not in taken]
    clash = {(cycle + GROUP + 1) % cycles for cycle in busy}
    usable = [gap for gap in gaps if gap not in clash]
    contents = contents_of(loads.uses, len(busy), registers)
    if not contents or len(usable) < loads.gaps:
        return None
    jobs = jobs_of(loads, contents, busy, cycles)
    times = _times(jobs, usable, cycles, apart=loads.apart)
    if times is None:
        return None
    arrange = _halves_apart if loads.apart else _low_first
    parts = arrange(jobs, times, taken, cycles)
    if parts is None:
        return None
    places = {load: register for register, mine in enumerate(contents) for load in mine}
    numbers = tuple(places[load] for load in range(len(loads.uses)))
    return Schedule(cycles, tuple(busy), tuple(sorted(taken)), tuple(parts), numbers)


def contents_of(uses: Uses, products: int, registers: int) -> list[list[int]]:
    """The loads of each register, in order; they go round among loads that are used shortly."""
    order = sorted(range(len(uses)), key=lambda load: uses[load][0])
    if len(uses) <= registers:
        return [[load] for load in order]
    span = {load: uses[load][-1] - uses[load][0] for load in order}
    long = [load for load in order if 2 * span[load] > products]
    short = [load for load in order if 2 * span[load] <= products]
    shared = registers - len(long)
    if shared < 1:
        return []
    return [[load] for load in long] + _shared(short, shared)


def jobs_of(
    loads: Loads, contents: Sequence[Sequence[int]], busy: Sequence[int], cycles: int
) -> list[Job]:
    """The windows of all loads, or of all halves that are read."""
    jobs = []
    halves: tuple[Half, ...] = (0, 1)
    each = (
        [(half, loads.half_uses[half]) for half in halves]
        if loads.apart
        else [(halves[0], loads.uses)]
    )
    for mine in contents:
        for half, uses in each:
            read = [load for load in mine if uses[load]]
            for position, load in enumerate(read):
                last = busy[uses[read[position - 1]][-1]] - (cycles if position == 0 else 0)
                jobs.append(Job(load, half, last + 1, busy[uses[load][0]]))
    return jobs


def _shared(loads: Sequence[int], registers: int) -> list[list[int]]:
    """The loads of each register. If two share one, they are half a trip apart."""
    pairs, half = len(loads) - registers, len(loads) // 2
    if pairs > half:
        return [list(loads[first::registers]) for first in range(registers)]
    second = set(range(half, half + pairs))
    return [
        [load, loads[half + number]] if number < pairs else [load]
        for number, load in enumerate(loads)
        if number not in second
    ]


def _times(
    jobs: Sequence[Job], usable: Sequence[int], cycles: int, *, apart: bool
) -> list[tuple[int, int]] | None:
    """For each job its gap and the next one; with `apart`, its gap and its place there.

    Earliest deadline first over several iterations, until times repeat.
    """
    slots = [gap + cycles * turn for turn in range(-1, _ROUNDS) for gap in usable]
    waiting = sorted(
        (job.release + cycles * turn, job.use + cycles * turn, number, turn)
        for turn in range(_ROUNDS)
        for number, job in enumerate(jobs)
    )
    times: dict[tuple[int, int], tuple[int, int]] = {}
    ready: list[tuple[int, int, int]] = []
    position = 0
    for slot, following in pairwise(slots):
        while position < len(waiting) and waiting[position][0] <= slot:
            ready.append(waiting[position][1:])
            position += 1
        ready.sort()
        now, ready = ready[: 2 if apart else 1], ready[2 if apart else 1 :]
        for place, (use, number, turn) in enumerate(now):
            if (slot if apart else following) > use - (LOAD_LATENCY if place else INSERT_LATENCY):
                return None
            second = place if apart else following - cycles * turn
            times[number, turn] = (slot - cycles * turn, second)
    found = []
    for number in range(len(jobs)):
        steady = times.get((number, _ROUNDS - 3)), times.get((number, _ROUNDS - 2))
        if steady[0] is None or steady[0] != steady[1]:
            return None
        found.append(steady[0])
    return found


def _low_first(
    jobs: Sequence[Job], times: Sequence[tuple[int, int]], gaps: frozenset[int], cycles: int
) -> list[PlacedPart] | None:
    """The low half in the first gap, and the insertion of the high half in the second one."""
    parts = []
    for job, (low, insert) in zip(jobs, times, strict=True):
        core = next(t for t in range(low + 1, insert) if t % cycles not in gaps)
        if core + CORE_LATENCY > insert:
            return None
        parts.append(PlacedPart(job.load, 1, "insert", insert))
        parts.append(PlacedPart(job.load, 0, "half", low))
        parts.append(PlacedPart(job.load, 1, "core", core))
    return parts


def _halves_apart(
    jobs: Sequence[Job], times: Sequence[tuple[int, int]], gaps: frozenset[int], cycles: int
) -> list[PlacedPart] | None:
    """In each gap an insertion, then a load of a half."""
    parts = []
    for job, (gap, place) in zip(jobs, times, strict=True):
        if place:
            parts.append(PlacedPart(job.load, job.half, "half", gap))
            continue
        before = range(gap - CORE_LATENCY, gap - cycles, -1)
        core = next((t for t in before if t % cycles not in gaps), None)
        if core is None:
            return None
        parts.append(PlacedPart(job.load, job.half, "insert", gap))
        parts.append(PlacedPart(job.load, job.half, "core", core))
    return sorted(parts, key=lambda part: (part.kind != "insert", part.time))


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
