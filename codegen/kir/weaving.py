"""Weaves two chains of statements into one, for in-order cores.

A multiply-add of the Cortex-A53 blocks the adder of its unit four cycles after it starts. A load of
a vector, an addition or a maximum that would start in that cycle waits. In the order *two
multiply-adds, two cycles of other instructions* the blocked cycles fall on multiply-adds only, so
that nothing waits. A load of 128 bits takes both cycles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ellc.codegen.kir.dataflow import registers_defined, registers_read
from ellc.codegen.kir.ir import Let, Load, Prefetch, Stmt
from ellc.codegen.kir.types import Elem

_RUN = 2
"""How many statements of the main chain follow one another, and how many cycles of the other."""


def woven(main: Sequence[Stmt], side: Sequence[Stmt]) -> Iterator[Stmt]:
    """All statements: two of `main`, then two cycles of `side`, and so on.

    Statements of `main` may read what `side` defines; then `side` runs ahead as far as necessary.
    Statements of `side` must not read what `main` defines, and neither may store what the other
    loads.
    """
    waiting = list(side)
    undefined = {v.name: s for s in side for v in registers_defined(s)}

    def next_of_side() -> Stmt:
        statement = waiting.pop(0)
        for register in registers_defined(statement):
            del undefined[register.name]
        return statement

    for number, statement in enumerate(main):
        while any(v.name in undefined for v in registers_read(statement)):
            yield next_of_side()
        yield statement
        if number % _RUN == _RUN - 1:
            cycles = 0
            while waiting and cycles < _RUN:
                cycles += _cycles(waiting[0])
                yield next_of_side()
    while waiting:
        yield next_of_side()


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
