"""Straight-line blocks of a kernel, their dependences, and the registry of schedulers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ellc.codegen.kir.dataflow import registers_read
from ellc.codegen.kir.ir import (
    Assembled,
    AssemblyFunction,
    For,
    Kernel,
    Let,
    Load,
    Prefetch,
    Store,
    Var,
    walk,
)
from ellc.codegen.machine.target import Target

Plain = Let | Load | Store | Prefetch
"""A statement that contains no others."""


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive statements without branches.

    Statement i depends on the statements with the indices `after[i]`, which are below i, and must
    run after them. `live_in` lists the registers that the block reads but does not define.
    `live_out` lists the registers that the block defines and other statements read. If the block is
    the whole body of a loop, `loop` is this loop, and `loop_out` lists the results of the loop that
    later statements read.
    """

    statements: tuple[Plain, ...]
    after: tuple[frozenset[int], ...]
    live_in: tuple[Var, ...]
    live_out: tuple[Var, ...]
    loop: For | None = None
    loop_out: tuple[Var, ...] = ()

    def assembled(self, function: AssemblyFunction) -> Assembled:
        """The statement that runs an assembly function instead of the block."""
        return Assembled(function, self.statements, self.live_out)

    def loop_assembled(self, function: AssemblyFunction) -> Assembled:
        """The statement that runs an assembly function instead of the whole loop."""
        assert self.loop is not None
        return Assembled(function, (self.loop,), self.loop_out)


Scheduler = Callable[[Block, Target], Sequence[int] | Assembled]
"""A scheduler returns either the indices of a block's statements, in the order in which the core
should run them, or a call of an assembly function that the scheduler has written. The call replaces
the block (`Block.assembled`) or the loop around it (`Block.loop_assembled`)."""

SCHEDULERS: dict[str, Scheduler] = {}
"""The schedulers by name, as in `Core.scheduler`. A core whose scheduler only replaces whole nests
has none here: the statements of its blocks stay in the order of the kernel."""


class BlockBuilder:
    """Builds the blocks of one kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self._aliased = frozenset(name for pair in kernel.in_place for name in pair)
        self._reads = Counter(v.name for s in walk(kernel.body) for v in registers_read(s))

    def block(self, statements: tuple[Plain, ...], loop: For | None) -> Block:
        """The block that consists of these consecutive statements of the kernel."""
        defined = dict.fromkeys(s.result for s in statements if isinstance(s, Let | Load))
        read = [v for s in statements for v in registers_read(s)]
        inside = Counter(v.name for v in read)
        return Block(
            statements,
            self._dependences(statements),
            tuple(dict.fromkeys(v for v in read if v not in defined)),
            tuple(v for v in defined if self._reads[v.name] > inside[v.name]),
            loop,
            tuple(v for v in loop.results if self._reads[v.name]) if loop else (),
        )

    def _dependences(self, statements: tuple[Plain, ...]) -> tuple[frozenset[int], ...]:
        """For each statement, the indices of the earlier statements that must run before it."""
        definitions: dict[str, int] = {}
        accesses: list[tuple[int, Load | Store]] = []
        dependences = []
        for index, statement in enumerate(statements):
            needed = {
                definitions[v.name] for v in registers_read(statement) if v.name in definitions
            }
            if isinstance(statement, Load | Store):
                needed |= {at for at, other in accesses if self._conflict(other, statement)}
                accesses.append((index, statement))
            if isinstance(statement, Let | Load):
                definitions[statement.result.name] = index
            dependences.append(frozenset(needed))
        return tuple(dependences)

    def _conflict(self, a: Load | Store, b: Load | Store) -> bool:
        """Whether one access may write elements that the other access reads or writes."""
        if isinstance(a, Load) and isinstance(b, Load):
            return False
        if a.param != b.param:
            return a.param.name in self._aliased and b.param.name in self._aliased
        if a.index != b.index:
            return True
        return a.offset < b.offset + _lanes(b) and b.offset < a.offset + _lanes(a)


def _lanes(access: Load | Store) -> int:
    value = access.result if isinstance(access, Load) else access.value
    return value.type.lanes
