"""How the parts of a compiled network lie in the memories that the user named."""

from __future__ import annotations

from collections.abc import Sequence

from ellc.codegen.machine.budgets import Budget
from ellc.codegen.output.model import Model
from ellc.codegen.output.package.manifest import MemoryUse
from ellc.ir.errors import EllcError

STACK_RESERVE_BYTES = 1024
"""The bytes of the first memory that the plan leaves free for the stack, whose size is known only
when the code is compiled. The networks of MLPerf Tiny take 300 to 800 bytes on a Cortex-M7."""
TOO_SMALL = "E319"


def arena_memories(budgets: Sequence[Budget]) -> tuple[tuple[str, int], ...]:
    """(name, bytes) of the memories that the arena may use; the first one also has the stack."""
    data = [(b.name, b.bytes) for b in budgets if b.holds_data]
    return tuple(
        (name, max(0, size - (0 if index else STACK_RESERVE_BYTES)))
        for index, (name, size) in enumerate(data)
    )


def memory_use(
    budgets: Sequence[Budget],
    model: Model,
    flash_bytes: int | None,
    stack_bytes: int | None,
    code_bytes: int | None = None,
) -> tuple[MemoryUse, ...]:
    """What the network takes of each memory.

    Sizes that are unknown are left out. `code_bytes` is the size of the kernels that are copied to
    memory for code. Raises `EllcError` E319 if something does not fit.
    """
    arena = {str(r.memory): r.bytes for r in model.regions}
    if model.regions:  # with the counters of a profile
        arena[str(model.regions[0].memory)] = model.arena_bytes
    stack_at = next((b.name for b in budgets if b.holds_data), "")
    uses = []
    for budget in budgets:
        parts = {
            "arena": arena.get(budget.name),
            "stack": stack_bytes if budget.name == stack_at else None,
            "code": code_bytes if budget.kind == "code" else None,
            "image": flash_bytes if budget.kind == "flash" else None,
        }
        known = tuple((what, count) for what, count in parts.items() if count is not None)
        uses.append(MemoryUse(budget.name, known, budget.bytes))
    if too_small := [use for use in uses if use.bytes > use.most_bytes]:
        raise _too_small(too_small)
    return tuple(uses)


def _too_small(uses: Sequence[MemoryUse]) -> EllcError:
    def text(use: MemoryUse) -> str:
        parts = ", ".join(f"{what} {count:,}" for what, count in use.parts)
        return f"{use.memory} has {use.most_bytes:,} bytes, {use.bytes:,} are needed: {parts}"

    enough = ",".join(f"{use.memory}={use.bytes}" for use in uses)
    return EllcError(
        f"the network does not fit in {', '.join(use.memory for use in uses)}",
        code=TOO_SMALL,
        problems=tuple(map(text, uses)),
        hint=f"--memory {enough} is enough; --optimize size makes code shorter, and --max-ram the "
        "arena smaller",
    )
