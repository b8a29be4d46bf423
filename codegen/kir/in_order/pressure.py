"""Counts the registers in use while the instructions of a block are ordered.

Most of the scheduler's time is spent here. So registers are numbers, and what an instruction does
to them is looked up in lists.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import gt
from typing import get_args

from ellc.codegen.kir.in_order.code import Bank, Op, Reg
from ellc.codegen.kir.in_order.live import may_overwrite

BANKS: tuple[Bank, ...] = get_args(Bank)

Numbers = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Numbered:
    """The registers of the instructions of a block, as numbers.

    `bank` is the position of a register's bank in `BANKS`; `kept` says whether it is read after the
    block.
    """

    writes: Sequence[Numbers]
    used: Sequence[Numbers]
    defined: Sequence[Numbers]
    all: Sequence[Numbers]
    bank: Sequence[int]
    kept: Sequence[bool]

    @staticmethod
    def of(ops: Sequence[Op], live_out: frozenset[Reg]) -> Numbered:
        """The instructions with numbers. `live_out` is read after them."""
        numbers: dict[Reg, int] = {}
        for op in ops:
            for reg in op.registers:
                numbers.setdefault(reg, len(numbers))

        def numbered(regs: Iterable[Reg]) -> Numbers:
            return tuple(numbers[reg] for reg in regs)

        return Numbered(
            [numbered(op.writes) for op in ops],
            [numbered(op.used) for op in ops],
            [numbered(op.defined) for op in ops],
            [numbered(op.registers) for op in ops],
            [BANKS.index(reg.bank) for reg in numbers],
            [reg in live_out for reg in numbers],
        )


@dataclass(slots=True)
class InUse:
    """The registers in use, how often each is still read, and how many of each bank are in use."""

    numbered: Numbered
    reads: list[int]
    live: list[bool]
    count: list[int]

    @staticmethod
    def at_the_start(numbered: Numbered) -> InUse:
        """What is in use before the first instruction."""
        size = len(numbered.bank)
        reads, live, count, written = [0] * size, [False] * size, [0] * len(BANKS), set[int]()
        for used, defined in zip(numbered.used, numbered.defined, strict=True):
            for reg in used:
                reads[reg] += 1
                if reg not in written and not live[reg]:
                    live[reg] = True
                    count[numbered.bank[reg]] += 1
            written.update(defined)
        return InUse(numbered, reads, live, count)

    def issue(self, index: int) -> None:
        """An instruction reads and writes its registers."""
        numbered, reads, live = self.numbered, self.reads, self.live
        for reg in numbered.used[index]:
            reads[reg] -= 1
        for reg in numbered.all[index]:
            now = reads[reg] > 0 or numbered.kept[reg]
            if now != live[reg]:
                live[reg] = now
                self.count[numbered.bank[reg]] += 1 if now else -1

    def begins(self, index: int) -> bool:
        """Whether an instruction writes a register that is not in use."""
        return not all(self.live[reg] for reg in self.numbered.writes[index])

    def grows_beyond(self, free: Sequence[int], index: int) -> bool:
        """Whether an instruction needs a register more than there are now."""
        numbered, live = self.numbered, self.live
        writes = numbered.writes[index]
        grown = sum(not live[reg] for reg in writes)
        if not grown:
            return False
        bank = numbered.bank[writes[0]]
        if self.count[bank] + grown <= free[bank]:
            return False
        ended = {
            reg
            for reg in numbered.used[index]
            if numbered.bank[reg] == bank and self.reads[reg] == 1 and not numbered.kept[reg]
        }
        return grown > len(ended)


def exceeds(
    now: InUse, free: Sequence[int], order: Iterable[int], overlaps: Sequence[bool]
) -> bool:
    """Whether instructions that follow each other need more registers than are `free`.

    They are not issued. One that `overlaps` may write a register that it is the last to read.
    """
    numbered, reads, live, count = now.numbered, now.reads.copy(), now.live.copy(), now.count.copy()
    bank, kept = numbered.bank, numbered.kept

    def begin(registers: Numbers) -> None:
        for reg in registers:
            if not live[reg]:
                live[reg] = True
                count[bank[reg]] += 1

    def end(registers: Numbers) -> None:
        for reg in registers:
            if live[reg] and not reads[reg] and not kept[reg]:
                live[reg] = False
                count[bank[reg]] -= 1

    for i in order:
        used = numbered.used[i]
        for reg in used:
            reads[reg] -= 1
        if overlaps[i]:
            end(used)
        begin(numbered.defined[i] if overlaps[i] else numbered.all[i])
        if any(map(gt, count, free)):
            return True
        end(numbered.all[i])
    return False


def enough(
    free: Mapping[Bank, int], ops: Sequence[Op], out: frozenset[Reg], *, tight: bool
) -> bool:
    """Whether no more registers than `free` are in use at the same time, as `assign` counts them.

    `out` are live after the block. `tight` has the meaning that it has for `life_spans`. What is
    live before and after the block keeps its register also where it waits to be written again.
    """
    live, held = set(out), _live_before(ops) & out
    count = Counter(reg.bank for reg in live)

    def grow(registers: Iterable[Reg]) -> None:
        for reg in registers:
            if reg not in live:
                live.add(reg)
                count[reg.bank] += 1

    for op in reversed(ops):
        grow(op.defined if tight and may_overwrite(op) else op.registers)
        if any(count[bank] > most for bank, most in free.items()):
            return False
        for reg in op.writes:
            if reg in live and reg not in held:
                live.remove(reg)
                count[reg.bank] -= 1
        grow(op.used)
    return not any(count[bank] > most for bank, most in free.items())


def _live_before(ops: Sequence[Op]) -> set[Reg]:
    """The registers that instructions read before they write them."""
    found, written = set[Reg](), set[Reg]()
    for op in ops:
        found.update(reg for reg in op.used if reg not in written)
        written.update(op.writes)
    return found
