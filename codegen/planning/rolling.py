"""Turns the steps of equal bands into loops, so that the size of the code does not grow with them.

Two bands are equal if they run the same kernels, and if the pointers and the parts of values move
on by the same distances. A chain then consists of its first bands, a loop, and its last bands.
`unrolled` restores the steps of every band.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from ellc.codegen.blocks.calls import Arg, BufferArg
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.loops import Repeat
from ellc.codegen.planning.memory import ArenaPlan
from ellc.codegen.planning.plan import PartAccess, Plan, Step, StepPart
from ellc.codegen.planning.step_costs import has_little_work

_Distances = tuple[object, ...]
"""By how much the pointers and the parts of a band's steps move on to the next band."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Consecutive equal bands; `steps` are those of the first one."""

    steps: tuple[Step, ...]
    trips: int
    distances: tuple[_Distances, ...] = ()


def rolled(
    steps: Sequence[Step], arena: ArenaPlan, first: int, target: Target
) -> tuple[list[Step], ArenaPlan]:
    """The steps with loops, and the arena plan with live ranges of these steps.

    The loops have numbers from `first` on.
    """
    result: list[Step] = []
    new_index: list[int] = []
    for run in _runs(steps):
        begin = len(result)
        own = run.steps
        if run.trips > 1:
            repeat = Repeat(first, run.trips, alone=has_little_work(own, target))
            own = tuple(_looped(*pair, repeat) for pair in zip(own, run.distances, strict=True))
            first += 1
        result += own
        new_index += [*range(begin, begin + len(own))] * run.trips
    ends = [*new_index, len(result)]
    lifetimes = tuple(
        replace(x, first=ends[x.first] if x.first >= 0 else -1, last=ends[x.last])
        for x in arena.lifetimes
    )
    return result, replace(arena, lifetimes=lifetimes)


def _runs(steps: Sequence[Step]) -> Iterator[_Run]:
    open_run: _Run | None = None
    previous: tuple[Step, ...] = ()
    for band, group in groupby(steps, key=lambda step: step.band):
        own = tuple(group)
        moved = None if band is None or open_run is None else _advance(previous, own)
        if open_run is not None and moved is not None and open_run.distances in ((), moved):
            open_run = _Run(open_run.steps, open_run.trips + 1, moved)
        else:
            if open_run is not None:
                yield open_run
            open_run = _Run(own, 1)
        previous = own
    if open_run is not None:
        yield open_run


def _advance(a: Sequence[Step], b: Sequence[Step]) -> tuple[_Distances, ...] | None:
    """The distances between two bands, or None if the bands are not equal."""
    if len(a) != len(b):
        return None
    distances = [_distances(x, y) for x, y in zip(a, b, strict=True)]
    found = tuple(d for d in distances if d is not None)
    return found if len(found) == len(a) else None


def _distances(a: Step, b: Step) -> _Distances | None:
    """By how much step `b` of a band is further than step `a` of the last one; None if unequal."""
    if a.band is None or a.values or b.values or a.call.kernel is not b.call.kernel:
        return None
    if (a.call.extent, a.op, a.macs) != (b.call.extent, b.op, b.macs):
        return None
    moved: list[object] = []
    for x, y in zip(a.call.args, b.call.args, strict=True):
        if isinstance(x, BufferArg) and isinstance(y, BufferArg) and x.buffer == y.buffer:
            moved.append(y.offset_bytes - x.offset_bytes)
        elif x == y:
            moved.append(0)
        else:
            return None
    if a.part is None or b.part is None:
        return (*moved,) if a.part is b.part else None
    for p, q in zip(_parts(a.part), _parts(b.part), strict=True):
        if p is None or q is None:
            moved.append((0, 0))
            continue
        rows = q.box.rows[0] - p.box.rows[0]
        offset = q.access.offset - p.access.offset
        if _moved(p, rows, offset) != q:
            return None
        moved.append((rows, offset))
    return tuple(moved)


def _parts(part: StepPart) -> tuple[PartAccess | None, ...]:
    return (part.result, *part.operands)


def _moved(x: PartAccess, rows: int, offset: int) -> PartAccess:
    box = replace(x.box, rows=(x.box.rows[0] + rows, x.box.rows[1] + rows))
    return replace(x, box=box, access=replace(x.access, offset=x.access.offset + offset))


def _looped(step: Step, distances: _Distances, repeat: Repeat) -> Step:
    """The step of a band as a step of a loop over equal bands."""
    args: list[Arg] = []
    count = len(step.call.args)
    for arg, distance in zip(step.call.args, distances[:count], strict=True):
        assert isinstance(distance, int)
        args.append(replace(arg, trip_bytes=distance) if isinstance(arg, BufferArg) else arg)
    part = step.part
    if part is not None:
        result, *operands = (
            _in_loop(x, d) for x, d in zip(_parts(part), distances[count:], strict=True)
        )
        assert result is not None
        part = StepPart(result, tuple(operands))
    return replace(
        step,
        call=replace(step.call, args=tuple(args)),
        macs=step.macs * repeat.trips,
        moved_bytes=step.moved_bytes * repeat.trips,
        repeat=repeat,
        part=part,
    )


def _in_loop(x: PartAccess | None, distance: object) -> PartAccess | None:
    if x is None:
        return None
    assert isinstance(distance, tuple)
    rows, offset = distance
    return replace(x, access=replace(x.access, trip=offset), trip_rows=rows)


def unrolled(plan: Plan) -> Plan:
    """The plan with the steps of every band. The live ranges remain those of the loops."""
    steps: list[Step] = []
    for repeat, group in groupby(
        plan.steps, key=lambda s: s.repeat if s.band is not None else None
    ):
        own = tuple(group)
        if repeat is None:
            steps += own
            continue
        for trip in range(repeat.trips):
            steps += [_on_trip(step, trip, repeat.trips) for step in own]
    return replace(plan, steps=tuple(steps))


def _on_trip(step: Step, trip: int, trips: int) -> Step:
    """What a step of a loop over bands is on one trip."""

    def moved(arg: Arg) -> Arg:
        if not isinstance(arg, BufferArg):
            return arg
        return BufferArg(arg.buffer, arg.offset_bytes + trip * arg.trip_bytes)

    def part_of(x: PartAccess | None) -> PartAccess | None:
        if x is None:
            return None
        placed = _moved(x, trip * x.trip_rows, trip * x.access.trip)
        return replace(placed, access=replace(placed.access, trip=0), trip_rows=0)

    part = step.part
    if part is not None:
        result, *operands = map(part_of, _parts(part))
        assert result is not None
        part = StepPart(result, tuple(operands))
    return replace(
        step,
        name=f"{step.name}_trip{trip}" if trip else step.name,
        call=replace(step.call, args=tuple(map(moved, step.call.args))),
        macs=step.macs // trips,
        moved_bytes=step.moved_bytes // trips,
        repeat=None,
        part=part,
    )
