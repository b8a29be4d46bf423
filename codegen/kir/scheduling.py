"""Applies a core's scheduler to the straight-line blocks of a kernel.

A scheduler gets one `Block`. It returns the order in which the statements of the block run, or a
call of an assembly function that replaces the block or the loop around it. This module checks the
answer, so that a wrong order is an `InternalError`, never a wrong result. It cannot check the code
of an assembly function, but only its interface: the source must be the block or the loop, and the
results must be all values that later statements read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby

from ellc.codegen.kir.dataflow import registers_read
from ellc.codegen.kir.in_order import scheduler as _in_order  # noqa: F401  (registers itself)
from ellc.codegen.kir.ir import Assembled, For, If, Kernel, Stmt, walk
from ellc.codegen.kir.nests import NEST_SCHEDULERS, Nest, aliases
from ellc.codegen.kir.straight_line import SCHEDULERS, Block, BlockBuilder, Plain, Scheduler
from ellc.codegen.kir.text import print_statement
from ellc.codegen.kir.verify import verify
from ellc.codegen.machine.target import Target
from ellc.ir.errors import InternalError


def schedule(kernel: Kernel, target: Target) -> Kernel:
    """The kernel, with each straight-line block scheduled for the target's core.

    Results are the same to the bit. If the core has no scheduler, the kernel is returned unchanged.
    Raises `InternalError` if the scheduler does not exist, omits or repeats a statement, puts a
    statement before another on which it depends, or replaces statements that it was not given, and
    if `verify` rejects the kernel before or after scheduling.
    """
    core = target.core
    if not core.scheduler:
        return kernel
    if core.scheduler not in SCHEDULERS.keys() | NEST_SCHEDULERS.keys():
        raise InternalError(f"core {core.name}: there is no scheduler {core.scheduler!r}")
    verify(kernel)
    scheduled = _Scheduling(kernel, target).kernel()
    if scheduled != kernel:
        verify(scheduled)
    return scheduled


class _Scheduling:
    """Walks one kernel, and passes each nest or block to the core's scheduler."""

    def __init__(self, kernel: Kernel, target: Target) -> None:
        self._kernel = kernel
        self._target = target
        self._scheduler = SCHEDULERS.get(target.core.scheduler)
        self._nests = NEST_SCHEDULERS.get(target.core.scheduler)
        self._read = {v.name for s in walk(kernel.body) for v in registers_read(s)}

    @cached_property
    def _blocks(self) -> BlockBuilder:
        return BlockBuilder(self._kernel)

    def kernel(self) -> Kernel:
        return replace(self._kernel, body=self._body(self._kernel.body))

    def _body(self, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        if self._scheduler is None:
            return tuple(map(self._inside, body))
        scheduled: list[Stmt] = []
        for branches, group in groupby(body, key=lambda s: not isinstance(s, Plain)):
            if branches:
                scheduled += [self._inside(s) for s in group]
            else:
                block = self._blocks.block(tuple(s for s in group if isinstance(s, Plain)), None)
                scheduled += self._scheduled(block, self._scheduler)
        return tuple(scheduled)

    def _inside(self, statement: Stmt) -> Stmt:
        match statement:
            case For():
                return self._nest(statement) or self._loop(statement)
            case If():
                return replace(statement, body=self._body(statement.body))
        return statement

    def _nest(self, loop: For) -> Stmt | None:
        """A call of the function that replaces a loop with everything inside, if there is one."""
        if self._nests is None:
            return None
        results = tuple(v for v in loop.results if v.name in self._read)
        nest = Nest(loop, results, aliases(self._kernel.in_place))
        function = self._nests(nest, self._target)
        return None if function is None else nest.assembled(function)

    def _loop(self, loop: For) -> Stmt:
        """A scheduled loop. If its body is one block, the scheduler may replace the whole loop."""
        plain = tuple(s for s in loop.body if isinstance(s, Plain))
        if self._scheduler is None or not plain or len(plain) < len(loop.body):
            return replace(loop, body=self._body(loop.body))
        scheduled = self._scheduled(self._blocks.block(plain, loop), self._scheduler)
        match scheduled:
            case (Assembled(_, (inner,), _) as call,) if inner is loop:
                return call
        return replace(loop, body=scheduled)

    def _scheduled(self, block: Block, scheduler: Scheduler) -> tuple[Stmt, ...]:
        chosen = scheduler(block, self._target)
        if wrong := problem(block, chosen):
            name = self._target.core.scheduler
            raise InternalError(f"kernel {self._kernel.name}: scheduler {name!r} {wrong}")
        if isinstance(chosen, Assembled):
            return (chosen,)
        return tuple(block.statements[index] for index in chosen)


def problem(block: Block, chosen: Sequence[int] | Assembled) -> str:
    """What is wrong with a scheduler's answer for a block; empty if nothing is."""
    if not isinstance(chosen, Assembled):
        return _order_problem(block, chosen)
    allowed = [block.assembled(chosen.function)]
    if block.loop is not None:
        allowed.append(block.loop_assembled(chosen.function))
    return "" if chosen in allowed else "replaces statements that it was not given"


def _order_problem(block: Block, order: Sequence[int]) -> str:
    count = len(block.statements)
    if sorted(order) != list(range(count)):
        return f"returns {list(order)}, which is not a permutation of 0..{count - 1}"
    rank = {index: at for at, index in enumerate(order)}
    for late, needed in enumerate(block.after):
        for early in sorted(needed):
            if rank[early] > rank[late]:
                first, second = (print_statement(block.statements[i]) for i in (late, early))
                return f"puts\n  {first}\nbefore\n  {second}\non which the former depends"
    return ""
