"""Places the loads of a product loop beside its multiply-adds, iteration over iteration.

The core is one that issues two instructions in each cycle, of which one may be a multiply-add of
128 bits and the other a load of 8 bytes, an insertion or an instruction on integers (the
Cortex-A55). A load of 16 bytes would take two cycles with nothing beside it, so each vector is
loaded in three parts: its low half, its high half by way of a core register, and the insertion of
that half. If a loop has fewer multiply-adds than parts, it also has cycles without one, which have
room for a part and an insertion.

Times are in cycles from the start of the iteration that uses the loaded vector: a negative time is
in an iteration before that one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import heappop, heappush
from typing import Literal

from ellc.codegen.kir.in_order.loop_schedule import Kind, NoSchedule, PlacedPart, Schedule
from ellc.codegen.kir.in_order.modulo import Job, contents_of, jobs_of
from ellc.codegen.kir.in_order.product_loop import Uses

CORE_LATENCY, LOAD_LATENCY, INSERT_LATENCY = 4, 3, 4
"""Cycles from a load into a core register to the insertion, from a load into a vector register to
the insertion, and from there to the first use."""
_OTHERS = 4
"""Places that a counter, pointers and the branch need."""
_ROUNDS = 7
_LATE = (_ROUNDS - 4, _ROUNDS - 3)
_EARLY = 8
"""How much earlier than its other half a vector's high half may be loaded."""
_KINDS: tuple[Kind, ...] = ("insert", "half", "core")
_IDLE: tuple[Room, Room] = ("insert", "load")
"""What a cycle without a multiply-add has room for."""


Room = Literal["any", "load", "insert"]
"""What a place has room for: any part, a load, or an insertion."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A place for one part of a load."""

    cycle: int
    room: Room


@lru_cache(maxsize=256)
def schedule(uses: Uses, products: int, registers: int) -> Schedule:
    """The shortest schedule of a loop with `products` multiply-adds.

    `uses` has the products that read each load. The loads may have `registers` vector registers.
    Raises `NoSchedule`.
    """
    parts = 3 * len(uses) + _OTHERS
    for cycles in range(products, 2 * products):
        if products + 2 * (cycles - products) >= parts:
            found = _with_idle(uses, registers, cycles, cycles - products)
            if found is not None:
                return found
    raise NoSchedule


def _with_idle(uses: Uses, registers: int, cycles: int, count: int) -> Schedule | None:
    """A schedule in which `count` cycles, spread over the trip, have no multiply-add."""
    idle = frozenset(i * cycles // count for i in range(count))
    busy = [cycle for cycle in range(cycles) if cycle not in idle]
    contents = contents_of(uses, len(busy), registers)
    if not contents:
        return None
    # The branch is behind the last multiply-add.
    places = [_Place(cycle, "any") for cycle in busy[:-1]]
    places += [_Place(cycle, room) for cycle in idle for room in _IDLE]
    places.sort(key=lambda place: place.cycle)
    jobs = jobs_of(uses, contents, busy, cycles)
    times = _times(jobs, places, cycles)
    if times is None:
        return None
    parts = tuple(
        PlacedPart(job.load, 0 if kind == "half" else 1, kind, time)
        for kind in _KINDS
        for job, time in zip(jobs, times[kind], strict=True)
    )
    registers_of = {load: register for register, mine in enumerate(contents) for load in mine}
    places_of = tuple((2 * registers_of[n], 2 * registers_of[n] + 1) for n in range(len(uses)))
    return Schedule(cycles, tuple(busy), tuple(sorted(idle)), parts, places_of)


_Part = tuple[int, Kind, int, int]
"""A part of a load of one iteration: its deadline and kind, the number of the job, the iteration.

It is a tuple because the one with the earliest deadline is placed first.
"""


@dataclass(slots=True)
class _Parts:
    """Parts that wait for their release, and those that may be placed now, of each kind of room."""

    waiting: list[tuple[int, _Part]]
    loads: list[_Part] = field(default_factory=list)
    inserts: list[_Part] = field(default_factory=list)

    def first(self, now: int, room: Room) -> _Part | None:
        """Take the part with the earliest deadline for a place."""
        while self.waiting and self.waiting[0][0] <= now:
            _, part = heappop(self.waiting)
            heappush(self.inserts if part[1] == "insert" else self.loads, part)
        ready = [
            parts
            for parts, allowed in ((self.loads, "load"), (self.inserts, "insert"))
            if parts and room in ("any", allowed)
        ]
        return heappop(min(ready, key=lambda parts: parts[0])) if ready else None


def _times(
    jobs: Sequence[Job], places: Sequence[_Place], cycles: int
) -> dict[Kind, list[int]] | None:
    """For each kind of part, and for each job, when it happens.

    Earliest deadline first over several iterations, until times repeat.
    """
    parts = _Parts(
        sorted(
            released
            for turn in range(_ROUNDS)
            for number, job in enumerate(jobs)
            for released in _loads_of(job, number, turn, cycles)
        )
    )
    times: dict[tuple[Kind, int, int], int] = {}
    for now, place in _all_places(places, cycles):
        part = parts.first(now, place.room)
        if part is None:
            continue
        deadline, kind, number, turn = part
        if now > deadline:
            return None
        times[kind, number, turn] = now
        half, core = times.get(("half", number, turn)), times.get(("core", number, turn))
        if kind != "insert" and half is not None and core is not None:
            release = max(half + LOAD_LATENCY, core + CORE_LATENCY)
            latest = jobs[number].use + cycles * turn - INSERT_LATENCY
            heappush(parts.waiting, (release, (latest, "insert", number, turn)))
    return _steady(times, len(jobs), cycles)


def _loads_of(job: Job, number: int, turn: int, cycles: int) -> Iterator[tuple[int, _Part]]:
    """Both loads of a vector. The one into a core register may precede the register's release.

    The other one may be beside the last multiply-add that reads the register, which is first.
    """
    release, deadline = job.release - 1 + cycles * turn, job.use + cycles * turn - INSERT_LATENCY
    yield release, (deadline - LOAD_LATENCY, "half", number, turn)
    yield release - _EARLY, (deadline - CORE_LATENCY, "core", number, turn)


def _all_places(places: Sequence[_Place], cycles: int) -> Iterator[tuple[int, _Place]]:
    for turn in range(-1, _ROUNDS):
        for place in places:
            yield place.cycle + cycles * turn, place


def _steady(
    times: Mapping[tuple[Kind, int, int], int], count: int, cycles: int
) -> dict[Kind, list[int]] | None:
    """The times of all jobs, if they are the same in two late iterations."""
    found: dict[Kind, list[int]] = {kind: [] for kind in _KINDS}
    for kind in _KINDS:
        for number in range(count):
            first, second = (times.get((kind, number, turn)) for turn in _LATE)
            if first is None or second is None or second - first != cycles:
                return None
            found[kind].append(first - cycles * _LATE[0])
    return found
