"""Places the loads of a product loop between its multiply-adds, iteration over iteration.

The core is one on which a multiply-add of 128 bits issues in each cycle, but keeps a load into a
vector register, or an insertion, from issuing 4 cycles later (the addend clash of the Cortex-A53).
So three cycles with a multiply-add are followed by a gap. A vector of 16 bytes is loaded in three
parts: in a gap its low half, behind the next multiply-add its high half into a core register, and
in the next usable gap the insertion of the high half. A gap holds the insertion of one vector and
the low half of the next: they issue together.

Times are in cycles from the start of the iteration that uses the loaded vector: a negative time is
in an iteration before that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

GROUP = 3
"""Multiply-adds between two gaps."""
HIGH_LATENCY = 3
"""Cycles from the load of the high half to its insertion."""
INSERT_LATENCY = 2
"""Cycles from the insertion to the first use of the vector."""
_ROUNDS = 6


class NoSchedule(Exception):
    """No schedule was found."""


@dataclass(frozen=True, slots=True)
class PlacedLoad:
    """When the three parts of a load issue, and into which vector register it goes."""

    load: int
    register: int
    low: int
    high: int
    insert: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """One iteration: the cycle of each product, the cycles without one, and the loads."""

    cycles: int
    product_cycles: tuple[int, ...]
    gaps: tuple[int, ...]
    loads: tuple[PlacedLoad, ...]


@dataclass(frozen=True, slots=True)
class _Job:
    """A load with the times between which it must happen."""

    load: int
    register: int
    release: int
    """The low half may be loaded from this time on: the register's last content is used up."""
    deadline: int
    """The latest time of the insertion."""


@lru_cache(maxsize=256)
def schedule(uses: tuple[tuple[int, ...], ...], products: int, registers: int) -> Schedule:
    """The shortest schedule of a loop with `products` multiply-adds.

    `uses[i]` are the indices of the products that read load i; the loads may have `registers`
    vector registers. Raises `NoSchedule`.
    """
    least = products + -(-len(uses) * 4 // 4)  # every load takes a gap
    for cycles in range(max(products + 1, least), 2 * products):
        found = _with_branch(uses, products, registers, cycles)
        if found is not None:
            return found
    raise NoSchedule


def _with_branch(
    uses: Sequence[Sequence[int]], products: int, registers: int, cycles: int
) -> Schedule | None:
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
        found = _with_gaps(uses, products, registers, length, gaps, idle)
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
    uses: Sequence[Sequence[int]],
    products: int,
    registers: int,
    cycles: int,
    gaps: Sequence[int],
    idle: frozenset[int],
) -> Schedule | None:
    """A schedule with these gaps; None if the loads do not fit into them."""
    taken = idle.union(gaps)
    busy = [cycle for cycle in range(cycles) if cycle not in taken]
    clash = {(cycle + GROUP + 1) % cycles for cycle in busy}
    usable = [gap for gap in gaps if gap not in clash]
    jobs = _jobs(uses, busy, registers, cycles)
    placed = _placed(jobs, usable, taken, cycles) if jobs and len(usable) >= len(jobs) else None
    if placed is None:
        return None
    return Schedule(cycles, tuple(busy), tuple(sorted(taken)), placed)


def _jobs(
    uses: Sequence[Sequence[int]], busy: Sequence[int], registers: int, cycles: int
) -> list[_Job]:
    """The windows of all loads; registers go round among loads that are used for a short time."""
    order = sorted(range(len(uses)), key=lambda load: uses[load][0])
    contents: list[list[int]] = []
    if len(uses) <= registers:
        contents = [[load] for load in order]
    else:
        span = {load: uses[load][-1] - uses[load][0] for load in order}
        long = [load for load in order if 2 * span[load] > len(busy)]
        short = [load for load in order if 2 * span[load] <= len(busy)]
        shared = registers - len(long)
        if shared < 1:
            return []
        contents = [[load] for load in long] + _shared(short, shared)
    jobs = []
    for register, loads in enumerate(contents):
        for position, load in enumerate(loads):
            before = loads[position - 1]
            last = busy[uses[before][-1]] - (cycles if position == 0 else 0)
            deadline = busy[uses[load][0]] - INSERT_LATENCY
            jobs.append(_Job(load, register, last + 1, deadline))
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


def _placed(
    jobs: Sequence[_Job], usable: Sequence[int], gaps: frozenset[int], cycles: int
) -> tuple[PlacedLoad, ...] | None:
    """Earliest deadline first over several iterations, until times repeat."""
    slots = [gap + cycles * turn for turn in range(-1, _ROUNDS) for gap in usable]
    waiting = sorted(
        (job.release + cycles * turn, job.deadline + cycles * turn, number, turn)
        for turn in range(_ROUNDS)
        for number, job in enumerate(jobs)
    )
    times: dict[tuple[int, int], tuple[int, int]] = {}
    ready: list[tuple[int, int, int]] = []
    position = 0
    for slot, following in pairwise(slots):
        while position < len(waiting) and waiting[position][0] <= slot:
            _, deadline, number, turn = waiting[position]
            ready.append((deadline, number, turn))
            position += 1
        if not ready:
            continue
        ready.sort()
        deadline, number, turn = ready.pop(0)
        if following > deadline:
            return None
        times[number, turn] = (slot - cycles * turn, following - cycles * turn)
    placed = []
    for number, job in enumerate(jobs):
        steady = times.get((number, _ROUNDS - 3)), times.get((number, _ROUNDS - 2))
        if steady[0] is None or steady[0] != steady[1]:
            return None
        low, insert = steady[0]
        high = next(t for t in range(low + 1, insert) if t % cycles not in gaps)
        if high + HIGH_LATENCY > insert:
            return None
        placed.append(PlacedLoad(job.load, job.register, low, high, insert))
    return tuple(placed)
