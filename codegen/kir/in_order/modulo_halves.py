"""Places the halves of a product loop's loads one by one: in the 32-bit state, they are registers.

A multiply-add by lane reads one half of a register. So the halves of a load of which only lanes are
read need not be neighbours, and each is replaced as soon as it is used up. A load that is read as a
vector has a whole register. This is what lets tiles of 4x8 and 5x8 run in 45 and 54 cycles per four
steps (2.84 and 2.96 products of numbers per cycle, of 3 that are possible) with 16 registers: with
whole registers, 4x8 takes 48, and 5x8 does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import heappop, heappush
from math import gcd

from ellc.codegen.kir.in_order.encoding import Half
from ellc.codegen.kir.in_order.loop_schedule import (
    CORE_LATENCY,
    GROUP,
    INSERT_LATENCY,
    LOAD_LATENCY,
    ROUNDS,
    Halves,
    NoSchedule,
    PlacedPart,
    Schedule,
    core_registers,
    shared,
)
from ellc.codegen.kir.in_order.product_loop import Product, Uses, uses_of

_SLOTS = 2
"""Halves that a gap takes: an insertion and a load."""
_HALVES: tuple[Half, Half] = (0, 1)


@dataclass(frozen=True, slots=True)
class HalfLoads:
    """The products that read each half of a load, and the loads that are read as vectors."""

    uses: tuple[Uses, Uses]
    whole: frozenset[int]

    @property
    def count(self) -> int:
        """How many halves are read."""
        return sum(bool(products) for half in self.uses for products in half)

    def first(self, load: int, half: Half) -> int:
        """The first product that reads a half."""
        return self.uses[half][load][0]

    def last(self, load: int, half: Half) -> int:
        """The last one."""
        return self.uses[half][load][-1]


def half_loads(products: Sequence[Product], loads: int) -> HalfLoads:
    """The halves of the loads of a loop with these products."""
    whole = {p.vector for p in products} | {p.other for p in products if p.lane is None}
    uses = (uses_of(products, loads, 0), uses_of(products, loads, 1))
    return HalfLoads(uses, frozenset(whole))


@dataclass(frozen=True, slots=True)
class _Job:
    """A half, where it goes, and the products between which it is loaded.

    It may be loaded behind product `after`, or that of the trip before (`wraps`), and must be there
    for product `use`.
    """

    load: int
    half: Half
    place: int
    after: int
    wraps: bool
    use: int


@lru_cache(maxsize=256)
def schedule(loads: HalfLoads, products: int, registers: int, cores: int) -> Schedule:
    """The shortest schedule of a loop with `products` multiply-adds.

    The loads may have `registers` vector registers, and `cores` registers through which they are
    inserted. Raises `NoSchedule`.
    """
    options = list(_options(loads, registers))
    least = products + -(-loads.count // _SLOTS)
    for cycles in range(max(least, products + 1), 2 * products):
        for quiet in _quiet_cycles(products, cycles):
            usable = [c for c in sorted(quiet) if (c - GROUP - 1) % cycles in quiet]
            if _SLOTS * len(usable) < loads.count:
                continue
            busy = [cycle for cycle in range(cycles) if cycle not in quiet]
            for jobs in options:
                times = _times(jobs, busy, usable, cycles)
                found = times and _schedule(loads, jobs, times, quiet, busy, cycles)
                if found and core_registers(found, cores) is not None and found.spans_two_trips:
                    return found
    raise NoSchedule


def _options(loads: HalfLoads, registers: int) -> Iterator[list[_Job]]:
    """The ways to share the registers between loads that are read as vectors and the others."""
    read = [load for load in range(len(loads.uses[0])) if any(loads.uses[h][load] for h in _HALVES)]
    whole = sorted((n for n in read if n in loads.whole), key=lambda n: loads.first(n, 0))
    halves = [(n, h) for n in read if n not in loads.whole for h in _HALVES if loads.uses[h][n]]
    halves.sort(key=lambda half: loads.first(*half))
    for count in range(1, registers + 1):
        rest = _SLOTS * (registers - count)
        if count > len(whole) or (halves and not rest):
            return
        jobs: list[_Job] = []
        for number, mine in enumerate(shared(whole, count)):
            for half in _HALVES:
                group = [(load, half) for load in mine]
                jobs += _in_one_place(loads, group, _SLOTS * number + half)
        for number, one in enumerate(shared(list(range(len(halves))), rest) if halves else ()):
            jobs += _in_one_place(loads, [halves[n] for n in one], _SLOTS * count + number)
        yield jobs


def _in_one_place(
    loads: HalfLoads, group: Sequence[tuple[int, Half]], place: int
) -> Iterator[_Job]:
    """The jobs of halves that replace each other in one place."""
    for position, (load, half) in enumerate(group):
        after = loads.last(*group[position - 1])
        yield _Job(load, half, place, after, position == 0, loads.first(load, half))


def _quiet_cycles(products: int, cycles: int) -> Iterator[frozenset[int]]:
    """Sets of cycles without a product. The last cycle has one: the branch issues behind it.

    A quiet cycle is of use for loads if the one four cycles before is quiet, too. So they are four
    apart, round and round through the trip, and only the first one is of no use. If all that are
    four apart are quiet and there are still too few, the others come before some of them.
    """
    count, ring = cycles - products, cycles // gcd(GROUP + 1, cycles)
    for start in range(cycles if count < ring else cycles // ring):
        quiet = {(start + (GROUP + 1) * n) % cycles for n in range(min(count, ring))}
        missing = count - len(quiet)
        before = [c for c in range(cycles) if c not in quiet and (c + 1) % cycles in quiet]
        if missing > len(before):
            continue
        quiet |= {before[n * len(before) // missing] for n in range(missing)}
        if cycles - 1 not in quiet:
            yield frozenset(quiet)


def _times(
    jobs: Sequence[_Job], busy: Sequence[int], usable: Sequence[int], cycles: int
) -> list[tuple[int, int]] | None:
    """For each job its gap and its place there: an insertion, or a load. None if one is too late.

    Earliest deadline first over several trips, until times repeat.
    """
    windows = [(busy[j.after] + 1 - cycles * j.wraps, busy[j.use]) for j in jobs]
    if any(release > use - INSERT_LATENCY for release, use in windows):
        return None
    waiting = sorted(
        (release + cycles * turn, use + cycles * turn, number, turn)
        for turn in range(ROUNDS)
        for number, (release, use) in enumerate(windows)
    )
    times: dict[tuple[int, int], tuple[int, int]] = {}
    ready: list[tuple[int, int, int]] = []
    position = 0
    for slot in (gap + cycles * turn for turn in range(-1, ROUNDS) for gap in usable):
        while position < len(waiting) and waiting[position][0] <= slot:
            heappush(ready, waiting[position][1:])
            position += 1
        for place in range(min(_SLOTS, len(ready))):
            use, number, turn = heappop(ready)
            if slot > use - (LOAD_LATENCY if place else INSERT_LATENCY):
                return None
            times[number, turn] = (slot - cycles * turn, place)
    found = []
    for number in range(len(jobs)):
        steady = times.get((number, ROUNDS - 3)), times.get((number, ROUNDS - 2))
        if steady[0] is None or steady[0] != steady[1]:
            return None
        found.append(steady[0])
    return found


def _schedule(
    loads: HalfLoads,
    jobs: Sequence[_Job],
    times: Sequence[tuple[int, int]],
    quiet: frozenset[int],
    busy: Sequence[int],
    cycles: int,
) -> Schedule | None:
    """The schedule with loads at these times: in each gap an insertion, then a load of a half.

    Loads into core registers issue behind products, but for the last one, where the branch does.
    """
    occupied = quiet | {cycles - 1}
    parts = []
    for job, (gap, is_load) in zip(jobs, times, strict=True):
        if is_load:
            parts.append(PlacedPart(job.load, job.half, "half", gap))
            continue
        before = range(gap - CORE_LATENCY, gap - cycles, -1)
        core = next((t for t in before if t % cycles not in occupied), None)
        if core is None:
            return None
        parts.append(PlacedPart(job.load, job.half, "insert", gap))
        parts.append(PlacedPart(job.load, job.half, "core", core))
    parts.sort(key=lambda part: (part.kind != "insert", part.time))
    number = {(job.load, job.half): job.place for job in jobs}
    places: list[Halves] = [
        (number.get((load, 0), 0), number.get((load, 1), 1)) for load in range(len(loads.uses[0]))
    ]
    return Schedule(cycles, tuple(busy), tuple(sorted(quiet)), tuple(parts), tuple(places))
