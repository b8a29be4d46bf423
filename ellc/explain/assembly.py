"""Compiles kernels to readable assembly, with cycles if they are known.

Directives are left out, except those that put data between instructions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ellc.codegen.kir.assembly import assembly_text
from ellc.codegen.kir.ir import Kernel
from ellc.codegen.kir.llvm import llvm_module
from ellc.codegen.machine.target import Target
from ellc.codegen.toolchain.llvm import EmitKind, IrJob, compile_ir
from ellc.explain.cycle_tool import Cost, Modelled

_LABEL = re.compile(r"^[^\s:]+:")
_DATA = re.compile(r"^\.(byte|short|hword|2byte|word|long|4byte|quad|xword|8byte|zero|inst)\b")
_ALIGN = re.compile(r"^\.p2align\s+(\d+)(?:\s*,[^,]*,\s*(\d+))?")
_INSTRUCTION_BYTES = 4
"""The size of an instruction on the cores whose cycles can be modelled (AArch64 and A32)."""


@dataclass(frozen=True, slots=True)
class Line:
    """A label, an instruction, or data between instructions."""

    text: str
    cost: Cost | None = None

    @property
    def cycles(self) -> float:
        """The modelled cycles that all runs of this instruction take in one call of the network."""
        return self.cost.runs * self.cost.cycles if self.cost else 0.0


@dataclass(frozen=True, slots=True)
class Assembly:
    """The assembly of one kernel; its lines have costs only if `has_cycles`."""

    lines: tuple[Line, ...]
    has_cycles: bool = False

    def text(self) -> str:
        """The lines as text.

        If cycles are known, a line begins with its cycles in a call, its runs in a call, and the
        cycles of each run.
        """
        if not self.has_cycles:
            return "\n".join(line.text for line in self.lines)
        rows = [f"{'cycles':>12} {'runs':>10} {'each':>7}", *map(_with_cost, self.lines)]
        return "\n".join(rows)


def assemble(kernels: Sequence[Kernel], target: Target, modelled: Modelled) -> dict[str, Assembly]:
    """Compile kernels to assembly, by name; each kernel is a module, compiled in parallel."""
    jobs = [IrJob(k.name, llvm_module([k], target), EmitKind.ASM) for k in kernels]
    texts = compile_ir(jobs, target) if jobs else []
    return {
        kernel.name: Assembly(
            tuple(_lines(text.decode() + assembly_text([kernel], target), modelled.instructions)),
            has_cycles=kernel.name in modelled.instructions,
        )
        for kernel, text in zip(kernels, texts, strict=True)
    }


def _lines(text: str, instructions: Mapping[str, Mapping[int, Cost]]) -> Iterator[Line]:
    """The lines; the costs of instructions are in `instructions`, by function and byte offset."""
    costs: Mapping[int, Cost] = {}
    offset = 0
    for raw_line in text.splitlines():
        line = raw_line.strip()
        aligned = _ALIGN.match(line)
        if _LABEL.match(raw_line):
            name = line.partition(":")[0]
            if name in instructions:
                costs, offset = instructions[name], 0
            yield Line(line)
        elif aligned:
            end = offset + _padding(offset, 1 << int(aligned[1]), aligned[2])
            for position in range(offset, end, _INSTRUCTION_BYTES):
                yield Line("    nop", costs.get(position))
            offset = end
        elif line.startswith("."):
            if _DATA.match(line):
                yield Line(f"    {_spaced(line)}")
                offset += _INSTRUCTION_BYTES
        elif line:
            yield Line(f"    {_spaced(line)}", costs.get(offset))
            offset += _INSTRUCTION_BYTES


def _padding(offset: int, align: int, limit: str | None) -> int:
    padding = -offset % align
    return padding if limit is None or padding <= int(limit) else 0


def _spaced(line: str) -> str:
    """An instruction with its mnemonic padded, so that operands are aligned."""
    mnemonic, _, rest = line.partition("\t")
    return f"{mnemonic:<8}{rest}" if rest else mnemonic


def _with_cost(line: Line) -> str:
    if line.cost is None:
        return f"{'':>31}  {line.text}"
    return f"{line.cycles:12,.0f} {line.cost.runs:10,.0f} {line.cost.cycles:7.2f}  {line.text}"
