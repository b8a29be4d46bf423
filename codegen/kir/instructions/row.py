"""The description of a machine instruction: its meaning, and how LLVM and C write it."""

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
    """An operation of the kernel IR that is one instruction on some machines.

    `takes` are the types of its operands, and `gives` is the type of its result. `meaning` maps
    arrays of shape (lanes,), one per operand, to the exact result. Kernels use an instruction by
    its name. The LLVM emitter rejects an instruction that the target lacks.
    """

    name: str
    takes: tuple[VType, ...]
    gives: VType
    meaning: Callable[..., Array]
    llvm: Mapping[Arch, str]
    """LLVM IR for each architecture. Either an intrinsic, `@NAME`, which is called with all
    operands, or several lines in which {0}, {1}, .. are the operands. Every line but the last is
    `NAME = ...`; later lines refer to its value as {NAME}."""
    c: str
    """One lane of the result as a C expression: `i` is the lane, a, b, c, .. are the operands, and
    `a.l[i]` is a lane of a vector."""
    needs: tuple[str, ...] = ("",)
    """Alternatives, each a list of features separated by spaces. `Target.features` must contain all
    features of at least one alternative."""
    implements: str = ""
    """The operation of `ops.py` that the instruction computes, or a name by which the LLVM emitter
    looks up an instruction for a part of an operation (`shl_round`). The emitter uses the
    instruction if the operands fill one or several of the instruction's registers. An instruction
    for which this is empty is used only by its own name."""
    asm: Mapping[Arch, str] = field(default_factory=dict)
    """Assembly, with operands as in `llvm`, and with {r} for the result. If `llvm` has several
    lines, LLVM combines them into this one instruction."""

    @property
    def updates(self) -> int | None:
        """The index of the operand that the instruction updates, such as a sum, or None.

        This operand shares its register with the result, or is wider than all other operands, as
        sums of products are.
        """
        for index, type_ in enumerate(self.takes):
            tied = any(f"{{{index}}}" not in text for text in self.asm.values())
            narrower = [t for t in self.takes if t.elem.bytes < type_.elem.bytes]
            if tied or 0 < len(narrower) == len(self.takes) - 1:
                return index
        return None

    def cost(self, target: Target) -> Cost | None:
        """The cost of the instruction on the target's core, or None if no source gives it."""
        return COSTS.get(target.core.name, {}).get(target.arch, {}).get(self.name)

    def slots(self, target: Target) -> float:
        """The issue slots that predictions assume: the cycles of `cost`, or 1 if it is unknown."""
        cost = self.cost(target)
        return cost.cycles if cost else 1.0

    def result(self, types: tuple[VType, ...], attrs: tuple[int, ...]) -> VType:
        """The type of the result. Rows of `ops.py` have the same method."""
        return self.gives

    def available(self, target: Target) -> bool:
        """Whether the target has this instruction."""
        return target.arch in self.llvm and any(target.has(*words.split()) for words in self.needs)

    def registers(self, types: tuple[VType, ...], result: VType) -> int:
        """How often this instruction must run, once per register, to compute an operation.

        The number is a power of two, or 0 if the instruction cannot compute the operation on these
        types.
        """
        count, rest = divmod(result.lanes, self.gives.lanes)
        if rest or count & (count - 1):
            return 0
        wanted = (*self.takes, self.gives)
        fits = tuple(t.with_lanes(t.lanes * count) for t in wanted) == (*types, result)
        return count if fits else 0
