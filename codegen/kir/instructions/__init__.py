"""The machine instructions that kernels can use, one file per instruction set."""

from __future__ import annotations

from ellc.codegen.kir.instructions import dsp, neon, wasm, x86
from ellc.codegen.kir.instructions.row import Instruction
from ellc.codegen.machine.target import Target

SETS: dict[str, tuple[Instruction, ...]] = {
    "neon": neon.ROWS,
    "x86": x86.ROWS,
    "dsp": dsp.ROWS,
    "wasm": wasm.ROWS,
}

INSTRUCTIONS: dict[str, Instruction] = {row.name: row for rows in SETS.values() for row in rows}
"""All rows of all instruction sets, by name."""


def implementing(operation: str) -> tuple[Instruction, ...]:
    """The rows that implement an operation, in descending order of the lanes of their results."""
    return _IMPLEMENTING.get(operation, ())


def has_high_products(target: Target) -> bool:
    """Whether an instruction computes `mul_high` on vectors of 32-bit integers."""
    return any(row.available(target) for row in implementing("mul_high"))


def _by_operation() -> dict[str, tuple[Instruction, ...]]:
    implementing: dict[str, list[Instruction]] = {}
    for row in sorted(INSTRUCTIONS.values(), key=lambda row: -row.gives.lanes):
        if row.implements:
            implementing.setdefault(row.implements, []).append(row)
    return {operation: tuple(rows) for operation, rows in implementing.items()}


_IMPLEMENTING = _by_operation()
