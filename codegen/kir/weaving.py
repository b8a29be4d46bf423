"""Weaves two chains of statements into one, for in-order cores.

A multiply-add of the Cortex-A53 blocks the adder of its unit four cycles after it starts. A load of
a vector, an addition or a maximum that would start in that cycle waits. In the order *two
multiply-adds, two cycles of other instructions* the blocked cycles fall on multiply-adds only, so
that nothing waits. A load of 128 bits takes both cycles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from ellc.codegen.kir.dataflow import registers_defined, registers_read
from ellc.codegen.kir.ir import Let, Load, Prefetch, Stmt
from ellc.codegen.kir.types import Elem

_RUN = 2
"""How many statements of the main chain follow one another, and how many cycles of the other."""
_BURST = 8
"""With `ahead`, at least so many cycles of the other chain run in this way, and then none until one
is needed again: only the first of them waits. Thousands of modelled cycles of depthwise 5x5 layers
on pi3_64 by `tests/benchmarks/constants.py`, 28x28x120 2: 1,442, 4: 1,375, 6: 1,342, 8: 1,319,
12: 1,338; 14x14x464 2: 1,566, 4: 1,523, 6: 1,493, 8: 1,483, 12: 1,508."""


def woven(main: Sequence[Stmt], side: Sequence[Stmt], ahead: int | None = None) -> Iterator[Stmt]:
    """All statements: two of `main`, then two cycles of `side`, and so on.

    Statements of `main` may read what `side` defines; then `side` runs ahead as far as necessary.
    With `ahead`, statements of `side` run in bursts, which begin when one of the next `ahead`
    statements of `main` needs the next one or one after it: what is defined too early takes
    registers. Statements of `side` must not read what `main` defines, and neither may store what
    the other loads.
    """
    waiting = deque(zip(side, _deadlines(main, side), strict=True))
    burst = 0
    undefined = {v.name for s in side for v in registers_defined(s)}

    def next_of_side() -> Stmt:
        statement, _ = waiting.popleft()
        undefined.difference_update(v.name for v in registers_defined(statement))
        return statement

    for number, statement in enumerate(main):
        while any(v.name in undefined for v in registers_read(statement)):
            yield next_of_side()
        yield statement
        if number % _RUN < _RUN - 1:
            continue
        if waiting and (ahead is None or waiting[0][1] <= number + ahead):
            burst = _BURST
        cycles = 0
        while waiting and burst > 0 and cycles < _RUN:
            burst -= _cycles(waiting[0][0])
            cycles += _cycles(waiting[0][0])
            yield next_of_side()
    while waiting:
        yield next_of_side()


def _deadlines(main: Sequence[Stmt], side: Sequence[Stmt]) -> list[int]:
    """For each statement of `side`: the first statement of `main` that needs it or a later one."""
    readers: dict[str, int] = {}
    for number, statement in enumerate(main):
        for register in registers_read(statement):
            readers.setdefault(register.name, number)
    deadlines = []
    deadline = len(main)
    for statement in reversed(side):
        defined = [readers.get(v.name, deadline) for v in registers_defined(statement)]
        deadline = min([deadline, *defined])
        deadlines.append(deadline)
    return deadlines[::-1]


def _cycles(statement: Stmt) -> int:
    """The cycles that a statement takes between multiply-adds; others run beside these."""
    match statement:
        case Prefetch():
            return 0
        case Let() if statement.result.type.elem is Elem.INDEX:
            return 0
        case Load() if statement.result.type.lanes > 1:
            return 2
    return 1
