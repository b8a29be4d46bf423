"""Rows of instructions as LLVM IR: intrinsics, called for one register after the other."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ellc.codegen.kir.instructions import implementing
from ellc.codegen.kir.instructions.row import Instruction
from ellc.codegen.kir.llvm.writer import Writer
from ellc.codegen.kir.types import VType
from ellc.codegen.machine.target import Target

_CALL = re.compile(r"call (.+?) (@[\w.]+)\((.*)\)")
_NAMED = re.compile(r"(\w+) = (.*)")


def row_for(
    target: Target, operation: str, types: tuple[VType, ...], result: VType
) -> Instruction | None:
    """The target's instruction that computes an operation on such operands; None without one."""
    for row in implementing(operation):
        if row.available(target) and row.registers(types, result):
            return row
    return None


def by_registers(w: Writer, row: Instruction, types: Sequence[VType], values: Sequence[str]) -> str:
    """One instruction for each register: LLVM does not split an intrinsic's operands."""
    results = []
    for part in range(types[0].lanes // row.takes[0].lanes):
        args = [
            w.lanes_of(value, whole, part * type_.lanes, type_.lanes)
            for value, whole, type_ in zip(values, types, row.takes, strict=True)
        ]
        results.append(instruction(w, row, args))
    return w.in_one(results, row.gives)


def instruction(w: Writer, row: Instruction, args: Sequence[str]) -> str:
    """One instruction; `args` are its operands without their types."""
    text = row.llvm[w.target.arch]
    if text.startswith("@"):
        operands = ", ".join(f"{w.type(type_)} {{{i}}}" for i, type_ in enumerate(row.takes))
        text = f"call {w.type(row.gives)} {text}({operands})"
    *first, last = text.splitlines()
    names: dict[str, str] = {}
    for line in first:
        name, what = _parts(_NAMED, line)
        names[name] = _line(w, what, args, names)
    return _line(w, last, args, names)


def _line(w: Writer, text: str, args: Sequence[str], names: dict[str, str]) -> str:
    if text.startswith("call "):
        result, function, operands = _parts(_CALL, text)
        types = ", ".join(o.rsplit(" ", 1)[0] for o in re.split(r", (?![^<]*>)", operands))
        w.declarations.add(f"declare {result} {function}({types})")
    return w.let(text.format(*args, **names))


def _parts(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    match = pattern.fullmatch(text)
    assert match is not None, text
    return match.groups()
