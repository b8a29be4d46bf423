"""Places the loads of a product loop between its multiply-adds: the 64-bit state.

The load of the low half of a vector clears the high half, which therefore is inserted in the next
usable gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import heappop, heappush
from itertools import pairwise

from ellc.codegen.kir.in_order.loop_schedule import (
    CORE_LATENCY,
    GROUP,
    INSERT_LATENCY,
    ROUNDS,
    NoSchedule,
    PlacedPart,
    Schedule,
    shared,
)
from ellc.codegen.kir.in_order.product_loop import Uses

_MORE_CYCLES = 64
"""By how many cycles a schedule may be longer than the least number. Longer ones gain nothing."""


@dataclass(frozen=True, slots=True)
class Job:
    """A load with the times between which it must happen."""

    load: int
    release: int
    """It may be loaded from this time on: the register's last content is used up."""
    use: int
    """The time of its first use."""


@lru_cache(maxsize=256)
def schedule(uses: Uses, products: int, registers: int) -> Schedule:
    """The shortest schedule of a loop with `products` multiply-adds.

    `uses` has the products that read each load. The loads may have `registers` vector registers.
    Raises `NoSchedule`.
    """
    least = max(products + 1, products + len(uses))
    most = min(2 * products, least + _MORE_CYCLES)
    for sharing in (contents_of, _longest_free):
        contents = sharing(uses, products, registers)
        for cycles in range(least, most) if contents else ():
            found = _with_branch(uses, products, contents, cycles)
            if found is not None:
                return found
    raise NoSchedule


def _with_branch(
    uses: Uses, products: int, contents: Sequence[Sequence[int]], cycles: int
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
        found = _with_gaps(uses, contents, length, gaps, idle)
        if found is not None:
            return found
    return None


def _idle(products: int, cycles: int, gaps: Sequence[int]) -> frozenset[int] | None:
    """Cycles with neither a product nor a load, if there are more cycles than both need.

    They are spread over the trip, each before a gap. None if the cycles are too few or too many.
    """
    count = cycles - len(gaps) - products
    before = [gap - 1 for gap in gaps if gap > 0]
    if cycles - 1 not in gaps:
        before.append(cycles - 1)
    if not 0 <= count <= len(before):
        return None
    return frozenset(before[i * len(before) // count] for i in range(count))


def _with_gaps(
    uses: Uses,
    contents: Sequence[Sequence[int]],
    cycles: int,
    gaps: Sequence[int],
    idle: frozenset[int],
) -> Schedule | None:
    """A schedule with these gaps; None if the loads do not fit into them."""
    if len(gaps) < len(uses):
        return None
    taken = idle.union(gaps)
    busy = [cycle for cycle in range(cycles) if cycle not in taken]
    clash = {(cycle + GROUP + 1) % cycles for cycle in busy}
    usable = [gap for gap in gaps if gap not in clash]
    if len(usable) < len(uses):
        return None
    jobs = jobs_of(uses, contents, busy, cycles)
    times = _times(jobs, usable, cycles)
    parts = times and _low_first(jobs, times, taken, cycles)
    if not parts:
        return None
    registers_of = {load: register for register, mine in enumerate(contents) for load in mine}
    places = tuple((2 * registers_of[n], 2 * registers_of[n] + 1) for n in range(len(uses)))
    return Schedule(cycles, tuple(busy), tuple(sorted(taken)), tuple(parts), places)


@lru_cache(maxsize=64)
def contents_of(uses: Uses, products: int, registers: int) -> list[list[int]]:
    """The loads of each register, in order; they go round among loads that are used shortly."""
    order = sorted(range(len(uses)), key=lambda load: uses[load][0])
    if len(uses) <= registers:
        return [[load] for load in order]
    span = {load: uses[load][-1] - uses[load][0] for load in order}
    long = [load for load in order if 2 * span[load] > products]
    short = [load for load in order if 2 * span[load] <= products]
    rest = registers - len(long)
    if rest < 1:
        return []
    return [[load] for load in long] + shared(short, rest)


@lru_cache(maxsize=64)
def _longest_free(uses: Uses, products: int, registers: int) -> list[list[int]]:
    """The loads of each register, in order; a load gets the register that is free for longest.

    The registers go round at a point of the trip that leaves the shortest time between two contents
    of a register as long as possible.
    """
    order = sorted(range(len(uses)), key=lambda load: uses[load][0])
    if len(uses) <= registers:
        return [[load] for load in order]
    best: tuple[int, list[list[int]]] = (-1, [])
    for first in range(len(order)):
        turn = [(load, 0) for load in order[first:]] + [(load, products) for load in order[:first]]
        contents: list[list[int]] = [[] for _ in range(registers)]
        begun, ended = [0] * registers, [-products] * registers
        least = products
        for load, later in turn:
            register = min(range(registers), key=lambda r: (ended[r], r))
            if contents[register]:
                least = min(least, uses[load][0] + later - ended[register])
            else:
                begun[register] = uses[load][0] + later
            contents[register].append(load)
            ended[register] = uses[load][-1] + later
        ends = zip(begun, ended, strict=True)
        least = min(least, *(begin + products - end for begin, end in ends))
        if least > best[0]:
            best = (least, contents)
    return [sorted(mine, key=lambda load: uses[load][0]) for mine in best[1]]


def jobs_of(
    uses: Uses, contents: Sequence[Sequence[int]], busy: Sequence[int], cycles: int
) -> list[Job]:
    """The windows of all loads."""
    jobs = []
    for mine in contents:
        for position, load in enumerate(mine):
            last = busy[uses[mine[position - 1]][-1]] - (cycles if position == 0 else 0)
            jobs.append(Job(load, last + 1, busy[uses[load][0]]))
    return jobs


def _times(jobs: Sequence[Job], usable: Sequence[int], cycles: int) -> list[tuple[int, int]] | None:
    """For each job its gap and the next one. None if one comes too late.

    Earliest deadline first over several iterations, until times repeat.
    """
    if any(job.release > job.use - INSERT_LATENCY for job in jobs):
        return None
    slots = [gap + cycles * turn for turn in range(-1, ROUNDS) for gap in usable]
    waiting = sorted(
        (job.release + cycles * turn, job.use + cycles * turn, number, turn)
        for turn in range(ROUNDS)
        for number, job in enumerate(jobs)
    )
    times: dict[tuple[int, int], tuple[int, int]] = {}
    ready: list[tuple[int, int, int]] = []
    position = 0
    for slot, following in pairwise(slots):
        while position < len(waiting) and waiting[position][0] <= slot:
            heappush(ready, waiting[position][1:])
            position += 1
        if ready:
            use, number, turn = heappop(ready)
            if following > use - INSERT_LATENCY:
                return None
            times[number, turn] = (slot - cycles * turn, following - cycles * turn)
    found = []
    for number in range(len(jobs)):
        steady = times.get((number, ROUNDS - 3)), times.get((number, ROUNDS - 2))
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
