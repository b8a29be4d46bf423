"""Orders the instructions of a straight-line block for a core's pipeline."""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, takewhile

from ellc.codegen.kir.in_order.code import Access, Bank, Op, Reg
from ellc.codegen.kir.in_order.encoding import Encoding
from ellc.codegen.kir.in_order.live import may_overwrite
from ellc.codegen.kir.in_order.pressure import BANKS, InUse, Numbered, exceeds
from ellc.codegen.machine.pipeline import Issue, Step, Timeline, cycles_of_turns, steps_of

GROUP = 3
"""Multiply-adds after which a cycle stays free for loads and insertions that are waiting."""

_SLACK = 8
"""Cycles by which an instruction may be less urgent and still issue first in its cycle.

On pi3, predicted cycles of nests as in `translate.py`: 0 has 0.6 to 3.1 % more, 4 up to 2.5 % more,
16 up to 1.1 % more, 64 up to 3.0 % more."""
CAREFUL_WINDOW = 96
"""The window of careful orders. On pi3: 32 has 0.4 % more, 48 0.3 % more, 64 0.1 % more."""
_TURNS = 32
"""The window of orders in which instructions issue in turn. Cycles of blocks that count bits, 3x3
pixels with 128 and with 64 channels: 16 525, 302; 24 516, 297; 32 and more 501, 290. Without a
window, prefetches issue all at once, which takes a 4x4 image with 512 channels from 2,185 to
2,466 thousand modelled cycles."""
FETCH_CYCLES = 90
"""How long before the end of a block its prefetches issue."""


@dataclass(frozen=True, slots=True)
class StraightLine:
    """Instructions to order, and what surrounds them.

    `live_out` is read after them, and they may use `free` registers of each bank.
    """

    ops: Sequence[Op]
    encoding: Encoding
    rows: Mapping[str, Issue]
    live_out: frozenset[Reg]
    free: Mapping[Bank, int]


@dataclass(frozen=True, slots=True)
class Order:
    """The instructions of a block in some order."""

    ops: list[Op]
    _steps: Sequence[Step]

    def cycles(self) -> int:
        """The cycles of the block if it is the body of a loop."""
        return cycles_of_turns(self._steps)


class Orders:
    """The orders of a block. What they have in common is found once."""

    def __init__(self, block: StraightLine) -> None:
        self._block = block
        self._facts = _Facts.of(block)

    def early(self, window: int | None = None) -> Order:
        """The instructions in an order in which they issue early.

        Of the ready instructions, the one with the longest path to the end issues first. No more
        registers than are free are live at the same time, as long as this is possible. With a
        `window`, an instruction issues at most so many places before the first one that waits.
        """
        return self._order(_Scheduler(self._block, self._facts, window).ordered())

    def in_turn(self) -> Order:
        """The instructions in an order in which, of those that can issue, the first one does.

        It needs few more registers than the given order, which must have enough independent
        instructions near each other, such as blocks that count bits have. Cycles of those of 3x3
        pixels with 128 and with 64 channels: 502, 290; `early` in the best window 529, 301;
        `careful` 540, 310. All their instructions take at least 495 and 289. Prefetches keep their
        distances.
        """
        return self._order(_InTurn(self._block, self._facts, _TURNS).ordered())

    def careful(self, *, tight: bool) -> Order:
        """As `early`; if the registers are enough for the given order, they are for the new one.

        `tight` has the meaning that it has for `life_spans`.
        """
        return self._order(_Careful(self._block, self._facts, tight=tight).ordered())

    def given(self) -> Order:
        """The instructions as they are."""
        return self._order(range(len(self._block.ops)))

    def _order(self, places: Sequence[int]) -> Order:
        return Order([self._block.ops[i] for i in places], [self._facts.steps[i] for i in places])


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a scheduler must know of the instructions of a block.

    `paths` are the cycles from their issue to the end of the block, first if prefetches issue
    early, then if they issue before the next load by the same pointer.
    """

    steps: Sequence[Step]
    after: Sequence[Sequence[int]]
    needs: Sequence[int]
    numbered: Numbered
    paths: tuple[Sequence[int], Sequence[int]]

    @staticmethod
    def of(block: StraightLine) -> _Facts:
        """The facts of a block."""
        timed = [block.encoding.timed(op) for op in block.ops]
        after, needs = _dependences(timed, block.ops)
        fetches = any(op.kind == "prefetch" for op in timed)
        early = _paths(timed, after, block.rows, fetches_first=True)
        late = _paths(timed, after, block.rows, fetches_first=False) if fetches else early
        numbered = Numbered.of(block.ops, block.live_out)
        return _Facts(steps_of(timed, block.rows), after, needs, numbered, (early, late))


class _Scheduler:
    def __init__(self, block: StraightLine, facts: _Facts, window: int | None) -> None:
        self._count = len(block.ops)
        self._window = self._count if window is None else window
        self._kinds = [op.kind for op in block.ops]
        self._steps, self._after, self._needs = facts.steps, facts.after, list(facts.needs)
        # In a loop of many products, prefetches are for lines that are needed much later. They
        # issue before the loads by the same pointer, which then dies.
        self._priority = facts.paths[self._window < self._count]
        self._line = Timeline()
        self._ready: dict[int, int] = {}
        self._free = tuple(block.free[bank] for bank in BANKS)
        self._in_use = InUse.at_the_start(facts.numbered)
        self._stage_ops = sum(map(_waits_for_stage, self._steps))
        self._group: list[int] = []

    def ordered(self) -> list[int]:
        """The positions of the instructions in the new order."""
        order: list[int] = []
        by_rank = sorted(range(self._count), key=lambda i: (-self._priority[i], i))
        ranks = {i: rank for rank, i in enumerate(by_rank)}
        waiting = sorted(ranks[i] for i in range(self._count) if not self._needs[i])
        for rank in waiting:
            self._ready[by_rank[rank]] = 0
        left = dict.fromkeys(range(self._count))
        while waiting:
            end = next(iter(left)) + self._window
            ranked = [by_rank[rank] for rank in waiting]
            near = ranked if end >= self._count else [i for i in ranked if i < end]
            chosen = self._choice(near)
            if chosen is None:
                self._line.advance(self._next_cycle(near))
                continue
            del left[chosen]
            waiting.remove(ranks[chosen])
            self._issue(chosen)
            order.append(chosen)
            for later in self._after[chosen]:
                self._needs[later] -= 1
                if not self._needs[later]:
                    self._ready[later] = self._line.ready(self._steps[later])
                    insort(waiting, ranks[later])
        return order

    def _choice(self, waiting: Sequence[int]) -> int | None:
        """The instruction to issue in the present cycle; None if it must end."""
        full: set[str] = set()
        best = self._most_urgent(waiting, full)
        if best is None:
            return None
        if self._line.is_new and _can_be_second(self._steps[best]):
            # It still fits behind an instruction that must be the first of its cycle.
            rest = waiting[waiting.index(best) + 1 :]
            first = self._first_of_cycle(rest, self._priority[best] - _SLACK, full)
            return best if first is None else first
        return best

    def _most_urgent(self, waiting: Sequence[int], full: set[str]) -> int | None:
        """The most urgent instruction that may issue in the present cycle.

        Kinds of which none may are added to `full`.
        """
        blocked: list[int] = []
        for i in waiting:
            if self._may_issue(i, full):
                if not self._too_many(i):
                    return i
                blocked.append(i)
        # If registers are short and nothing else can ever issue, one instruction must.
        return blocked[0] if blocked and len(blocked) == len(waiting) else None

    def _first_of_cycle(self, waiting: Sequence[int], least: int, full: set[str]) -> int | None:
        """The most urgent one of those that must be the first of a cycle."""
        for i in waiting:
            if self._priority[i] < least:
                break
            if not self._steps[i].row.first:
                continue
            if self._may_issue(i, full) and not self._too_many(i):
                return i
        return None

    def _may_issue(self, index: int, full: set[str]) -> bool:
        kind = self._kinds[index]
        if kind in full or self._ready[index] > self._line.now:
            return False
        waits = kind == "multiply_add" and self._keeps_gap()
        if waits or not self._line.fits(self._steps[index]):
            full.add(kind)
            return False
        return True

    def _next_cycle(self, waiting: Sequence[int]) -> int:
        now = self._line.now
        return max(now + 1, min(self._ready[i] for i in waiting))

    def _issue(self, index: int) -> None:
        step = self._steps[index]
        self._line.issue(step)
        if self._kinds[index] == "multiply_add":
            self._group = [t for t in self._group if t >= self._line.now - GROUP]
            self._group.append(self._line.now)
        self._stage_ops -= _waits_for_stage(step)
        self._in_use.issue(index)

    def _keeps_gap(self) -> bool:
        """Whether a multiply-add must wait, so that others can use the add stage later."""
        now = self._line.now
        recent = sum(1 for t in self._group if now - GROUP <= t < now)
        return bool(self._stage_ops) and recent >= GROUP

    def _too_many(self, index: int) -> bool:
        """Whether an instruction needs more registers than there are now."""
        return self._in_use.grows_beyond(self._free, index)


class _InTurn(_Scheduler):
    """Instructions are as urgent as they are early in the given order."""

    def __init__(self, block: StraightLine, facts: _Facts, window: int | None) -> None:
        super().__init__(block, facts, window)
        self._priority = range(self._count, 0, -1)


class _Careful(_Scheduler):
    """Issues an instruction only if those before it in the given order can follow in that order.

    When they have, the same registers are live as in the given order at that place.
    """

    def __init__(self, block: StraightLine, facts: _Facts, *, tight: bool) -> None:
        super().__init__(block, facts, CAREFUL_WINDOW)
        self._left = dict.fromkeys(range(len(block.ops)))
        self._reached = 0
        self._overlaps = [tight and may_overwrite(op) for op in block.ops]

    def _issue(self, index: int) -> None:
        super()._issue(index)
        del self._left[index]
        self._reached = max(self._reached, index)

    def _too_many(self, index: int) -> bool:
        if index == next(iter(self._left)) or not self._in_use.begins(index):
            return False
        end = max(index, self._reached)
        before = (i for i in takewhile(lambda i: i < end, self._left) if i != index)
        return exceeds(self._in_use, self._free, chain((index,), before), self._overlaps)


def _can_be_second(step: Step) -> bool:
    return not (step.row.first or step.row.alone or step.row.halves)


def _waits_for_stage(step: Step) -> bool:
    return step.row.stage_after == 0


def _paths(
    ops: Sequence[Op],
    after: Sequence[Sequence[int]],
    rows: Mapping[str, Issue],
    *,
    fetches_first: bool,
) -> list[int]:
    """For each instruction the cycles from its issue to the end of the block."""
    paths = [0] * len(ops)
    before_loads: dict[tuple[Reg, ...], int] = {}
    for i in range(len(ops) - 1, -1, -1):
        op = ops[i]
        length = rows[op.kind].cycles
        if op.kind == "prefetch":
            length = FETCH_CYCLES if fetches_first else before_loads.get(op.reads, 0) + 1
        for later in after[i]:
            length = max(length, paths[later] + _delay(op, ops[later], rows))
        paths[i] = length
        if op.access is not None:
            before_loads[op.reads] = length
    return paths


def _delay(op: Op, later: Op, rows: Mapping[str, Issue]) -> int:
    """The cycles from the issue of an instruction to that of one which may need its results."""
    row, reader = rows[op.kind], rows[later.kind]
    delay = 0
    for reg in op.defined:
        if reg in later.reads:
            delay = max(delay, row.latency - reader.need)
        if reg in later.updates or reg in later.late:
            delay = max(delay, row.latency - reader.update_need)
    return delay


def _dependences(ops: Sequence[Op], whole: Sequence[Op]) -> tuple[list[list[int]], list[int]]:
    """For each instruction those that must follow it, and how many it follows.

    In `ops`, halves of vectors are registers themselves. In `whole` they are not: there, one of two
    instructions that load the halves of a register defines it, and stays the first one.
    """
    before: list[set[int]] = [set() for _ in ops]
    writer: dict[Reg, int] = {}
    readers: dict[Reg, list[int]] = defaultdict(list)
    accesses: list[tuple[int, Access]] = []
    begun: dict[Reg, int] = {}
    for i, op in enumerate(ops):
        if whole[i].half is not None:
            (changed,) = whole[i].defined
            if whole[i].writes:
                begun[changed] = i
            elif changed in begun:
                before[i].add(begun[changed])
        for reg in op.used:
            if reg in writer:
                before[i].add(writer[reg])
        for reg in op.defined:
            before[i].update(readers[reg])
            if reg in writer:
                before[i].add(writer[reg])
        if op.access is not None:
            before[i].update(at for at, other in accesses if other.conflicts(op.access))
            accesses.append((i, op.access))
        for reg in op.used:
            readers[reg].append(i)
        for reg in op.defined:
            writer[reg] = i
            readers[reg] = [i] if reg in op.updates else []
        before[i].discard(i)
    after: list[list[int]] = [[] for _ in ops]
    for i, needed in enumerate(before):
        for early in sorted(needed):
            after[early].append(i)
    return after, [len(needed) for needed in before]
