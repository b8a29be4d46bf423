"""Straight-line blocks of a kernel: statements, dependences between them, and the registry of
schedulers."""

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
    """Statements between two branches: all run, one after the other.

    Statement i must run after the statements `after[i]`, on which it depends; their indices are
    below i. `live_in` are the
    registers that the block reads and does not define, `live_out` those that it defines and other
    statements read. `loop` is the loop whose whole body this block is, if there is one; the block
    defines the values that it carries. `loop_out` are those of the loop's results that statements
    after it read.
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
"""Returns either the indices of a block's statements in the order in which the target's core shall
run them, or a call of an assembly function that the scheduler has written, instead of the block
(`Block.assembled`) or of the loop around it (`Block.loop_assembled`)."""

SCHEDULERS: dict[str, Scheduler] = {}
"""Schedulers by the name in `Core.scheduler`; the decorator `scheduler` adds them."""


def scheduler(name: str) -> Callable[[Scheduler], Scheduler]:
    """Decorator: register a scheduler under the name that cores give in `Core.scheduler`."""

    def register(function: Scheduler) -> Scheduler:
        SCHEDULERS[name] = function
        return function

    return register


class BlockBuilder:
    """Builds the blocks of one kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self._aliased = frozenset(name for pair in kernel.in_place for name in pair)
        self._reads = Counter(v.name for s in walk(kernel.body) for v in registers_read(s))

    def block(self, statements: tuple[Plain, ...], loop: For | None) -> Block:
        """The block of some consecutive statements of the kernel."""
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
        """For each statement, the earlier ones that must run before it."""
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
        """Whether one access may write what the other one reads or writes."""
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
