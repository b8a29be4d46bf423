"""Orders the instructions of a straight-line block for a core's pipeline."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from ellc.codegen.kir.in_order.code import Access, Bank, Op, Reg
from ellc.codegen.kir.in_order.encoding import Encoding
from ellc.codegen.kir.in_order.live import may_overwrite
from ellc.codegen.kir.in_order.pressure import BANKS, InUse, Numbered, Pressure
from ellc.codegen.machine.pipeline import Issue, Timeline

GROUP = 3
"""Multiply-adds after which a cycle stays free for loads and insertions that are waiting."""

_SLACK = 8
"""Cycles by which an instruction may be less urgent and still issue first in its cycle."""
CAREFUL_WINDOW = 64
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


def scheduled(block: StraightLine, window: int | None = None) -> list[Op]:
    """The instructions in an order in which they issue early.

    Of the ready instructions, the one with the longest path to the end issues first. No more
    registers than are free are live at the same time, as long as this is possible. With a `window`,
    an instruction issues at most so many places before the first one that waits.
    """
    return _Scheduler(block, window or len(block.ops)).ordered()


def carefully_scheduled(block: StraightLine, *, tight: bool) -> list[Op]:
    """As `scheduled`; if the registers are enough for the given order, they are for the new one.

    `tight` has the meaning that it has for `liveness`.
    """
    return _Careful(block, tight=tight).ordered()


class _Scheduler:
    def __init__(self, block: StraightLine, window: int) -> None:
        ops = self._ops = block.ops
        self._rows, self._window = block.rows, window
        # In a loop of many products, prefetches are for lines that are needed much later. They
        # issue before the loads by the same pointer, which then dies.
        self._fetches_first = window >= len(ops)
        self._timed = [block.encoding.timed(op) for op in ops]
        self._after, self._needs = _dependences(self._timed, ops)
        self._priority = self._paths()
        self._line = Timeline(block.rows)
        self._ready: dict[int, int] = {}
        self._numbered = Numbered.of(ops, block.live_out)
        self._free = tuple(block.free[bank] for bank in BANKS)
        self._in_use = InUse.at_the_start(self._numbered)
        self._stage_ops = sum(self._waits_for_stage(op) for op in ops)
        self._group: list[int] = []

    def ordered(self) -> list[Op]:
        order: list[int] = []
        waiting = sorted((i for i in range(len(self._ops)) if not self._needs[i]), key=self._rank)
        for i in waiting:
            self._ready[i] = 0
        left = set(range(len(self._ops)))
        while waiting:
            end = min(left) + self._window
            near = [i for i in waiting if i < end] if end < len(self._ops) else waiting
            chosen = self._choice(near)
            if chosen is None:
                self._line.advance(self._next_cycle(near))
                continue
            left.remove(chosen)
            waiting.remove(chosen)
            self._issue(chosen)
            order.append(chosen)
            released = []
            for later in self._after[chosen]:
                self._needs[later] -= 1
                if not self._needs[later]:
                    self._ready[later] = self._line.ready(self._timed[later])
                    released.append(later)
            if released:
                waiting = sorted((*waiting, *released), key=self._rank)
        return [self._ops[i] for i in order]

    def _rank(self, index: int) -> tuple[int, int]:
        return -self._priority[index], index

    def _choice(self, waiting: Sequence[int]) -> int | None:
        """The instruction to issue in the present cycle; None if it must end."""
        possible = self._possible(waiting)
        best = next(possible, None)
        if best is None:
            return None
        if self._line.is_new and self._can_be_second(best):
            # It still fits behind an instruction that must be the first of its cycle.
            least = self._priority[best] - _SLACK
            firsts = (i for i in possible if self._rows[self._ops[i].kind].first)
            return next((i for i in firsts if self._priority[i] >= least), best)
        return best

    def _can_be_second(self, index: int) -> bool:
        row = self._rows[self._ops[index].kind]
        return not (row.first or row.alone or row.halves)

    def _possible(self, waiting: Sequence[int]) -> Iterator[int]:
        """The instructions that may issue in the present cycle, the most urgent first."""
        line, blocked = self._line, []
        tried: set[str] = set()
        found = False
        for i in waiting:
            op = self._ops[i]
            if self._ready[i] > line.now or op.kind in tried:
                continue
            if not line.fits(self._timed[i]) or (op.kind == "multiply_add" and self._keeps_gap()):
                tried.add(op.kind)
            elif self._too_many(i):
                blocked.append(i)
            else:
                found = True
                yield i
        # If registers are short and nothing else can ever issue, one instruction must.
        if not found and blocked and len(blocked) == len(waiting):
            yield blocked[0]

    def _next_cycle(self, waiting: Sequence[int]) -> int:
        now = self._line.now
        return max(now + 1, min(self._ready[i] for i in waiting))

    def _issue(self, index: int) -> None:
        op = self._ops[index]
        self._line.issue(self._timed[index])
        if op.kind == "multiply_add":
            self._group = [t for t in self._group if t >= self._line.now - GROUP]
            self._group.append(self._line.now)
        self._stage_ops -= self._waits_for_stage(op)
        self._in_use.issue(index)

    def _keeps_gap(self) -> bool:
        """Whether a multiply-add must wait, so that others can use the add stage later."""
        now = self._line.now
        recent = sum(1 for t in self._group if now - GROUP <= t < now)
        return bool(self._stage_ops) and recent >= GROUP

    def _waits_for_stage(self, op: Op) -> bool:
        return self._rows[op.kind].stage_after == 0

    # --- registers -------------------------------------------------------------------------------

    def _too_many(self, index: int) -> bool:
        """Whether an instruction needs more registers than there are now."""
        return self._in_use.grows_beyond(self._free, index)

    # --- paths -----------------------------------------------------------------------------------

    def _paths(self) -> list[int]:
        """For each instruction the cycles from its issue to the end of the block."""
        paths = [0] * len(self._ops)
        before_loads: dict[tuple[Reg, ...], int] = {}
        for i in range(len(self._ops) - 1, -1, -1):
            op = self._timed[i]
            length = self._rows[op.kind].cycles
            if op.kind == "prefetch":
                length = FETCH_CYCLES if self._fetches_first else before_loads.get(op.reads, 0) + 1
            for later in self._after[i]:
                length = max(length, paths[later] + self._delay(op, self._timed[later]))
            paths[i] = length
            if op.access is not None:
                before_loads[op.reads] = length
        return paths

    def _delay(self, op: Op, later: Op) -> int:
        row, reader = self._rows[op.kind], self._rows[later.kind]
        delays = [0]
        for reg in op.defined:
            if reg in later.reads:
                delays.append(row.latency - reader.need)
            if reg in later.updates or reg in later.late:
                delays.append(row.latency - reader.update_need)
        return max(delays)


class _Careful(_Scheduler):
    """Issues an instruction only if those before it in the given order can follow in that order.

    When they have, the same registers are live as in the given order at that place.
    """

    def __init__(self, block: StraightLine, *, tight: bool) -> None:
        super().__init__(block, CAREFUL_WINDOW)
        self._left = dict.fromkeys(range(len(block.ops)))
        self._reached = 0
        self._overlaps = [tight and may_overwrite(op) for op in block.ops]

    def _issue(self, index: int) -> None:
        super()._issue(index)
        del self._left[index]
        self._reached = max(self._reached, index)

    def _too_many(self, index: int) -> bool:
        if index == next(iter(self._left)):
            return False
        end = max(index, self._reached)
        before = (i for i in takewhile(lambda i: i < end, self._left) if i != index)
        pressure = Pressure(self._in_use)
        for i in (index, *before):
            if pressure.exceeds(self._free, i, overlaps=self._overlaps[i]):
                return True
        return False


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
