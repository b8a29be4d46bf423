"""Static memory: places buffers in one arena by their live ranges, and gives a lower bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ellc.ir.errors import EllcError

MOST_ARENA_BYTES = (1 << 31) - 1
"""The most bytes that may be live at one step: the largest signed offset of 32 bits."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """The live range of a buffer of the arena: from step `first` to step `last`, both included."""

    id: str
    bytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Region:
    """The part of an arena that lies in one memory: `bytes` bytes from the offset `start`."""

    memory: str
    start: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ArenaPlan:
    """The offset of each buffer by id, the size of the arena, and a lower bound for it.

    The lower bound is the largest number of bytes that are live at one step. `lifetimes` are the
    live ranges of the buffers. If `regions` is not empty, each region lies in a memory of its own;
    they follow each other in the numbering of offsets, and no buffer crosses their ends.
    """

    offsets: Mapping[str, int]
    arena_bytes: int
    lower_bound_bytes: int
    lifetimes: tuple[Lifetime, ...] = ()
    regions: tuple[Region, ...] = ()


def plan_arena(lifetimes: Sequence[Lifetime], align_bytes: int) -> ArenaPlan:
    """Place buffers so that buffers with overlapping live ranges share no memory.

    The buffers are placed by first fit in several orders, and the smallest arena is chosen. Of
    equally small ones, the first is chosen, so that the result is deterministic. Offsets and sizes
    are multiples of `align_bytes`.

    Raises `EllcError` E304 if the lower bound exceeds `MOST_ARENA_BYTES`.
    """
    rounded = [_rounded(x, align_bytes) for x in lifetimes]
    bound = lower_bound(rounded)
    if bound > MOST_ARENA_BYTES:
        raise EllcError(
            f"the network needs {bound:,} bytes of memory for intermediate results; at most"
            f" {MOST_ARENA_BYTES:,} can be addressed",
            code="E304",
            hint="give smaller inputs (--shape)",
        )
    orders = (
        sorted(rounded, key=lambda x: (-x.bytes, x.first, x.id)),
        sorted(rounded, key=lambda x: (x.first, -x.bytes, x.id)),
        sorted(rounded, key=lambda x: (-(x.last - x.first), -x.bytes, x.id)),
        sorted(rounded, key=lambda x: (-x.bytes * (x.last - x.first + 1), x.id)),
    )
    plans = [_first_fit(order) for order in orders]
    best = min(plans, key=_size)
    offsets = {x.id: offset for x, offset in best}
    return ArenaPlan(offsets, _size(best), bound, tuple(lifetimes))


def lower_bound(lifetimes: Sequence[Lifetime]) -> int:
    """The largest number of bytes that are live at one step."""
    changes: dict[int, int] = {}
    for x in lifetimes:
        changes[x.first] = changes.get(x.first, 0) + x.bytes
        changes[x.last + 1] = changes.get(x.last + 1, 0) - x.bytes
    return max(accumulate(changes[step] for step in sorted(changes)), default=0)


def _first_fit(order: Sequence[Lifetime]) -> list[tuple[Lifetime, int]]:
    placed: list[tuple[Lifetime, int]] = []
    at_step: dict[int, list[tuple[int, int]]] = {}  # occupied byte ranges by step
    for item in order:
        steps = range(item.first, item.last + 1)
        occupied = sorted({span for step in steps for span in at_step.get(step, ())})
        offset = 0
        for start, stop in occupied:
            if offset + item.bytes <= start:
                break
            offset = max(offset, stop)
        placed.append((item, offset))
        for step in steps:
            at_step.setdefault(step, []).append((offset, offset + item.bytes))
    return placed


def _size(plan: list[tuple[Lifetime, int]]) -> int:
    return max((offset + x.bytes for x, offset in plan), default=0)


def _rounded(item: Lifetime, align: int) -> Lifetime:
    return Lifetime(item.id, -(-item.bytes // align) * align, item.first, item.last)
