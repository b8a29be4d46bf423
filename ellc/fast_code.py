"""Chooses the kernels that a microcontroller keeps in fast memory for code.

The choice is a fragment of a linker script, `NAME_code.ld`: every kernel has a section of its own,
so that a linker script can place any of them without compiling again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ellc.codegen.machine.budgets import Budget
from ellc.codegen.output.build import BuildResult
from ellc.codegen.planning.plan import Plan
from ellc.codegen.planning.step_costs import step_costs
from ellc.codegen.toolchain.elf_reader import ElfFile

_TEXT = ".text."


def write_fast_code(
    plan: Plan, built: BuildResult, budgets: Sequence[Budget], folder: Path
) -> tuple[Path, int] | None:
    """Write `NAME_code.ld` for the first memory that holds code only. Returns it and its bytes.

    It lists the sections of the kernels on which most predicted cycles per byte of code are spent,
    as many as fit. Returns None if no such memory was given, or if no object was made.
    """
    memory = next((budget for budget in budgets if budget.kind == "code"), None)
    if memory is None or "obj" not in built.files:
        return None
    sections = ElfFile.read(built.files["obj"][0]).sections
    sizes = {s.name.removeprefix(_TEXT): s.size for s in sections if s.name.startswith(_TEXT)}
    chosen, used = [], 0
    for kernel in _by_density(plan, sizes):
        if used + sizes[kernel] <= memory.bytes:
            chosen.append(kernel)
            used += sizes[kernel]
    path = folder / f"{built.model.name}_code.ld"
    lines = [f"/* The kernels of {built.model.name} to place in {memory.name}: {used} bytes. */"]
    lines += [f"*({_TEXT}{kernel})" for kernel in chosen]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    return path, used


def _by_density(plan: Plan, sizes: dict[str, int]) -> list[str]:
    """The kernels of a call, those with most predicted cycles per byte of code first."""
    cycles: dict[str, float] = {}
    for step, cost in zip(plan.steps, step_costs(plan.steps, plan.target), strict=True):
        trips = 1 if step.repeat is None else step.repeat.trips
        name = step.call.kernel.name
        cycles[name] = cycles.get(name, 0.0) + trips * cost.cycles(plan.target.core)
    known = [name for name in cycles if name in sizes]
    return sorted(known, key=lambda name: (-cycles[name] / max(1, sizes[name]), name))
