"""The order of statements in straight-line blocks, which a core's scheduler may choose.

A scheduler takes one `Block` and returns the order in which its statements run. The order is
checked: if a dependence forbids it, that is an `InternalError`, never a wrong result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from ellc.codegen.kir.ir import For, If, Kernel, Stmt
from ellc.codegen.kir.straight_line import SCHEDULERS, Block, BlockBuilder, Plain
from ellc.codegen.kir.text import print_statement
from ellc.codegen.kir.verify import verify
from ellc.codegen.machine.core import Core
from ellc.ir.errors import InternalError


def schedule(kernel: Kernel, core: Core) -> Kernel:
    """The kernel with the statements of each straight-line block in the order that suits the core.

    Results are the same to the bit. For a core without a scheduler the kernel is returned as it is.
    Raises `InternalError` if the core's scheduler does not exist, omits or repeats a statement, or
    puts a statement before one whose value or store it needs.
    """
    if not core.scheduler:
        return kernel
    if core.scheduler not in SCHEDULERS:
        raise InternalError(f"core {core.name}: there is no scheduler {core.scheduler!r}")
    verify(kernel)
    scheduled = _Scheduling(kernel, core).kernel()
    verify(scheduled)
    return scheduled


class _Scheduling:
    """Walks one kernel and passes each block to the core's scheduler."""

    def __init__(self, kernel: Kernel, core: Core) -> None:
        self._kernel = kernel
        self._core = core
        self._blocks = BlockBuilder(kernel)
        self._scheduler = SCHEDULERS[core.scheduler]

    def kernel(self) -> Kernel:
        return replace(self._kernel, body=self._body(self._kernel.body))

    def _body(self, body: tuple[Stmt, ...], loop: For | None = None) -> tuple[Stmt, ...]:
        scheduled: list[Stmt] = []
        for branches, group in groupby(body, key=lambda s: isinstance(s, For | If)):
            if branches:
                scheduled += [self._inside(s) for s in group]
                continue
            statements = tuple(s for s in group if isinstance(s, Plain))
            scheduled += self._ordered(statements, loop if len(statements) == len(body) else None)
        return tuple(scheduled)

    def _inside(self, statement: Stmt) -> Stmt:
        match statement:
            case For():
                return replace(statement, body=self._body(statement.body, statement))
            case If():
                return replace(statement, body=self._body(statement.body))
        return statement

    def _ordered(self, statements: tuple[Plain, ...], loop: For | None) -> Iterator[Plain]:
        block = self._blocks.block(statements, loop)
        order = self._scheduler(block, self._core)
        if wrong := problem(block, order):
            raise InternalError(
                f"kernel {self._kernel.name}: scheduler {self._core.scheduler!r} {wrong}"
            )
        return (statements[index] for index in order)


def problem(block: Block, order: Sequence[int]) -> str:
    """What is wrong with an order of a block's statements; empty if nothing is."""
    count = len(block.statements)
    if sorted(order) != list(range(count)):
        return f"gives {list(order)}, which is not a permutation of 0..{count - 1}"
    rank = {index: at for at, index in enumerate(order)}
    for late, needed in enumerate(block.after):
        for early in sorted(needed):
            if rank[early] > rank[late]:
                first, second = (print_statement(block.statements[i]) for i in (late, early))
                return f"puts\n  {first}\nbefore\n  {second}\nwhich it depends on"
    return ""
