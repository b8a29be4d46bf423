"""A row describes a machine instruction to the kernel IR: meaning and spelling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ellc.codegen.kir.instructions.costs import COSTS
from ellc.codegen.kir.types import VType
from ellc.codegen.machine.core import Arch
from ellc.codegen.machine.cost import Cost
from ellc.codegen.machine.target import Target
from ellc.ir.types import Array


@dataclass(frozen=True, slots=True, eq=False)
class Instruction:
    """An operation of the kernel IR that is one instruction of some machines.

    `meaning` maps arrays of shape (lanes,), one per operand, to such an array, exactly. Kernels use
    an instruction by its name; the LLVM emitter rejects it for a target that lacks it.
    """

    name: str
    takes: tuple[VType, ...]
    gives: VType
    meaning: Callable[..., Array]
    llvm: Mapping[Arch, str]
    """How each architecture's intrinsics spell it: `@NAME`, called with all operands, or lines of
    LLVM IR in which {0}, {1}, .. are the operands' names. All but the last line are `NAME = ...`,
    and {NAME} is that value in the lines after it."""
    c: str
    """One lane of the result as a C expression: `i` is the lane, a, b, c, .. are the operands, and
    `a.l[i]` is a lane of a vector."""
    needs: tuple[str, ...] = ("",)
    """Alternatives, each a list of words: features that `Target.features` must contain."""
    implements: str = ""
    """The operation of `ops.py` that it computes, or a part of one that the LLVM emitter looks up.
    The emitter uses the instruction if the operands fill one or several of its registers."""
    asm: Mapping[Arch, str] = field(default_factory=dict)
    """Assembly, with the operands as in `llvm` and {r} for the result. If `llvm` has several lines,
    this is the one instruction into which LLVM combines them."""

    @property
    def updates(self) -> int | None:
        """The index of the operand that the instruction updates, such as a sum; None without one.

        Its register is that of the result, or it is wider than all others, as sums of products are.
        """
        for index, type_ in enumerate(self.takes):
            tied = any(f"{{{index}}}" not in text for text in self.asm.values())
            narrower = [t for t in self.takes if t.elem.bytes < type_.elem.bytes]
            if tied or 0 < len(narrower) == len(self.takes) - 1:
                return index
        return None

    def cost(self, target: Target) -> Cost | None:
        """What it takes on the target's core; None where there is no source for that."""
        return COSTS.get(target.core.name, {}).get(target.arch, {}).get(self.name)

    def slots(self, target: Target) -> float:
        """Its issue slots in predictions: the cycles of its cost, one where there is no source."""
        cost = self.cost(target)
        return cost.cycles if cost else 1.0

    def result(self, types: tuple[VType, ...], attrs: tuple[int, ...]) -> VType:
        """The result's type, as for the rows of `ops.py`."""
        return self.gives

    def available(self, target: Target) -> bool:
        """Whether the target has it."""
        return target.arch in self.llvm and any(target.has(*words.split()) for words in self.needs)

    def registers(self, types: tuple[VType, ...], result: VType) -> int:
        """How many of these instructions compute such a result, one for each register.

        0 if they cannot.
        """
        count, rest = divmod(result.lanes, self.gives.lanes)
        if rest or count & (count - 1):
            return 0
        wanted = (*self.takes, self.gives)
        fits = tuple(t.with_lanes(t.lanes * count) for t in wanted) == (*types, result)
        return count if fits else 0
