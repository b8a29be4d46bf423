"""How much of a microcontroller's memories a network may use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ellc.codegen.machine.memories import MemoryKind
from ellc.codegen.machine.target import Target
from ellc.ir.errors import EllcError

NO_SUCH_MEMORY = "E318"


@dataclass(frozen=True, slots=True)
class Budget:
    """The bytes of a memory that a network may use."""

    name: str
    bytes: int
    kind: MemoryKind

    @property
    def holds_data(self) -> bool:
        """Whether buffers of the arena may lie here."""
        return self.kind in ("data", "any")


def budgets(target: Target, asked: Sequence[tuple[str, int]] | None) -> tuple[Budget, ...]:
    """The memories that a network may use, in the order of preference.

    `asked` has pairs (name, bytes). If it is empty, these are the memories of the target's board
    with all their bytes; None means that nothing is limited. The kind of a memory is that in the
    board's row. A memory that has no row holds the image if it is called flash, code if it is
    called itcm (Arm's name), and data otherwise.
    Raises `EllcError` E318 for a target with an operating system, for a board whose memories are
    not known, and if no memory holds data.
    """
    if asked is None:
        return ()
    if target.os != "none":
        raise EllcError(
            f"memories cannot be chosen for {target.name!r}, because it has virtual memory",
            code=NO_SUCH_MEMORY,
            hint="leave out --memory; --max-ram limits the arena",
        )
    kinds = {memory.name: memory.kind for memory in target.memories}
    unlisted: dict[str, MemoryKind] = {"flash": "flash", "itcm": "code"}
    found = tuple(
        Budget(name, size, kinds.get(name) or unlisted.get(name, "data")) for name, size in asked
    ) or tuple(Budget(m.name, m.bytes, m.kind) for m in target.memories)
    if not any(budget.holds_data for budget in found):
        known = ", ".join(m.name for m in target.memories if m.kind in ("data", "any"))
        raise EllcError(
            "no memory is given for intermediate results"
            if asked
            else f"the memories of {target.name!r} are not known",
            code=NO_SUCH_MEMORY,
            hint=f"give one of {known} with --memory" if known else "use --memory ram=64K",
        )
    return found
