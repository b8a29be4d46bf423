"""Writes machine instructions as LLVM IR: calls of intrinsics, one call for each register."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ellc.codegen.kir.instructions import implementing
from ellc.codegen.kir.instructions.row import Instruction
from ellc.codegen.kir.llvm.writer import InstructionWriter, type_name
from ellc.codegen.kir.types import VType
from ellc.codegen.machine.core import Arch
from ellc.codegen.machine.target import Target

_CALL = re.compile(r"call (.+?) (@[\w.]+)\((.*)\)")
_NAMED = re.compile(r"(\w+) = (.*)")


def row_for(
    w: InstructionWriter, operation: str, types: tuple[VType, ...], result: VType
) -> Instruction | None:
    """The target's instruction that computes an operation on these types, or None."""
    key = (operation, types, result)
    if key not in w.rows:
        w.rows[key] = _row_for(w.target, *key)
    return w.rows[key]


def _row_for(
    target: Target, operation: str, types: tuple[VType, ...], result: VType
) -> Instruction | None:
    for row in implementing(operation):
        if row.available(target) and row.registers(types, result):
            return row
    return None


def by_registers(
    w: InstructionWriter, row: Instruction, types: Sequence[VType], values: Sequence[str]
) -> str:
    """The result of an instruction that is written once for each register.

    LLVM does not split the operands of an intrinsic, so they are split here.
    """
    results = []
    for part in range(types[0].lanes // row.takes[0].lanes):
        args = [
            w.lanes_of(value, operand_type, part * type_.lanes, type_.lanes)
            for value, operand_type, type_ in zip(values, types, row.takes, strict=True)
        ]
        results.append(instruction(w, row, args))
    return w.concatenated(results, row.gives)


def instruction(w: InstructionWriter, row: Instruction, args: Sequence[str]) -> str:
    """The result of one instruction. `args` are its operands without their types."""
    value, names = "", dict[str, str]()
    for line in _lines(row, w.target.arch, w.target.word_bits):
        if line.declaration:
            w.declarations.add(line.declaration)
        value = names[line.name] = w.let(line.template.format(*args, **names))
    return value


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a row's LLVM text.

    `name` is the name by which later lines use its value, `template` is the instruction, and
    `declaration` declares the intrinsic that it calls.
    """

    name: str
    template: str
    declaration: str


@functools.cache
def _lines(row: Instruction, arch: Arch, word_bits: int) -> tuple[_Line, ...]:
    """The lines of a row's LLVM text. The last line has no name."""
    text = row.llvm[arch]
    if text.startswith("@"):
        types = [type_name(type_, word_bits) for type_ in (*row.takes, row.gives)]
        operands = ", ".join(f"{type_} {{{i}}}" for i, type_ in enumerate(types[:-1]))
        text = f"call {types[-1]} {text}({operands})"
    *first, last = text.splitlines()
    named = [*(_parts(_NAMED, line) for line in first), ("", last)]
    return tuple(_Line(name, what, _declaration(what)) for name, what in named)


def _declaration(text: str) -> str:
    """The declaration of the intrinsic that a line calls; empty if the line calls none."""
    if not text.startswith("call "):
        return ""
    result, function, operands = _parts(_CALL, text)
    types = ", ".join(o.rsplit(" ", 1)[0] for o in re.split(r", (?![^<]*>)", operands))
    return f"declare {result} {function}({types})"


def _parts(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    match = pattern.fullmatch(text)
    assert match is not None, text
    return match.groups()
