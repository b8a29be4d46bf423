"""Divides an arena between several memories: the buffers with most work per byte in the first one.

How much faster a memory is depends on the board, its caches and its clocks. The order of the
memories is enough here: a byte is placed in an earlier memory if more predicted cycles are spent
on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from ellc.codegen.blocks.calls import BufferArg
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.memory import ArenaPlan, Lifetime, Region, lower_bound, plan_arena
from ellc.codegen.planning.plan import Plan, Step
from ellc.codegen.planning.step_costs import step_costs
from ellc.ir.errors import InternalError

Memories = Sequence[tuple[str, int]]


def cycles_per_byte(steps: Sequence[Step], target: Target) -> dict[str, float]:
    """The predicted cycles per byte that steps spend on each buffer of the arena, by id.

    The cycles of a step are divided between its buffers in proportion to their bytes.
    """
    found: dict[str, float] = {}
    for step, cost in zip(steps, step_costs(steps, target), strict=True):
        args = [a for a in step.call.placed_args if isinstance(a, BufferArg)]
        sizes = {a.buffer.id: max(1, a.buffer.bytes) for a in args}
        trips = 1 if step.repeat is None else step.repeat.trips
        for buffer in sizes:
            share = trips * cost.cycles(target.core) / sum(sizes.values())
            found[buffer] = found.get(buffer, 0.0) + share
    return found


def plan_memories(
    lifetimes: Sequence[Lifetime],
    align_bytes: int,
    memories: Memories,
    density: Mapping[str, float],
) -> ArenaPlan | None:
    """An arena with a region in every memory that is needed, or None if none was found.

    `memories` are pairs (name, bytes). If everything fits in the first one, it has the whole arena.
    Otherwise buffers are placed in several orders, such as that of `density`, each in the first
    memory with space for it, and the division is chosen that leaves the fewest cycles to later
    memories. If all fail, the first memory in which everything fits has the whole arena.
    """
    whole = plan_arena(lifetimes, align_bytes)
    name, size = memories[0]
    if whole.arena_bytes <= size:
        return _alone(whole, name)
    orders: tuple[Callable[[Lifetime], tuple[float, int, str]], ...] = (
        lambda x: (-density.get(x.id, 0.0), -x.bytes, x.id),
        lambda x: (-density.get(x.id, 0.0) * x.bytes, -x.bytes, x.id),
        lambda x: (-x.bytes, x.first, x.id),
        lambda x: (-x.bytes * (x.last - x.first + 1), x.first, x.id),
    )
    tried = [_divide(sorted(lifetimes, key=order), align_bytes, memories) for order in orders]
    if divisions := [division for division in tried if division is not None]:
        return _joined(min(divisions, key=partial(_later_cycles, density)), whole, memories)
    fitting = [_alone(whole, name) for name, size in memories if whole.arena_bytes <= size]
    return fitting[0] if fitting else None


def _alone(whole: ArenaPlan, memory: str) -> ArenaPlan:
    """A plan whose arena lies in one memory."""
    return replace(whole, regions=(Region(memory, 0, whole.arena_bytes),))


def _divide(
    order: Sequence[Lifetime], align_bytes: int, memories: Memories
) -> list[ArenaPlan] | None:
    """A plan for every memory; None if a buffer fits in none of them."""
    groups: list[list[Lifetime]] = [[] for _ in memories]
    plans = [plan_arena((), align_bytes) for _ in memories]
    for item in order:
        for number, (_, size) in enumerate(memories):
            group = [*groups[number], item]
            if lower_bound(group) > size:
                continue
            plan = plan_arena(group, align_bytes)
            if plan.arena_bytes <= size:
                groups[number], plans[number] = group, plan
                break
        else:
            return None
    return plans


def _later_cycles(density: Mapping[str, float], plans: Sequence[ArenaPlan]) -> float:
    """The cycles spent on buffers, times the number of memories before the buffer's own."""
    return sum(
        number * x.bytes * density.get(x.id, 0.0)
        for number, plan in enumerate(plans)
        for x in plan.lifetimes
    )


def _joined(plans: Sequence[ArenaPlan], whole: ArenaPlan, memories: Memories) -> ArenaPlan:
    """One plan whose regions are the arenas of `plans`; regions without bytes are left out."""
    offsets: dict[str, int] = {}
    regions: list[Region] = []
    start = 0
    for plan, (name, _) in zip(plans, memories, strict=True):
        if plan.arena_bytes:
            regions.append(Region(name, start, plan.arena_bytes))
        offsets |= {id_: start + offset for id_, offset in plan.offsets.items()}
        start += plan.arena_bytes
    return replace(whole, offsets=offsets, arena_bytes=start, regions=tuple(regions))


def verify_regions(plan: Plan) -> None:
    """Raise `InternalError` if a buffer of the arena crosses the end of a region."""
    regions = [(r.start, r.start + r.bytes) for r in plan.arena.regions]
    for id_, offset in plan.arena.offsets.items():
        end = offset + plan.buffers[id_].bytes
        if regions and not any(a <= offset and end <= b for a, b in regions):
            raise InternalError(f"buffer {id_!r} crosses the end of a memory")
