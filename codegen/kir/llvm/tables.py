"""Writes the look-up of bytes in a table: by instructions on AArch64, else lane by lane.

The instructions need indices that fill registers: 8 lanes or a multiple of 16. Other numbers of
indices are looked up lane by lane on AArch64, too.
"""

from __future__ import annotations

from ellc.codegen.kir.instructions import INSTRUCTIONS
from ellc.codegen.kir.instructions.neon import MOST_TABLES
from ellc.codegen.kir.ir import Let
from ellc.codegen.kir.llvm.instructions import instruction
from ellc.codegen.kir.llvm.operations import spells
from ellc.codegen.kir.llvm.writer import InstructionWriter
from ellc.codegen.kir.types import VType

_BYTES = 16  # in a register
_ENTRIES = 256


@spells("pick")
def pick(w: InstructionWriter, let: Let) -> str:
    """The lanes of the second operand that the indices in the first operand select."""
    indices, table = (arg.type for arg in let.args)
    index, lanes = (w.value(arg) for arg in let.args)
    fills_registers = indices.lanes == 8 or indices.lanes % _BYTES == 0
    if not w.target.isa.looks_up_in_registers or not fills_registers:
        return _picked_singly(w, indices, table, index, lanes)
    registers = _registers(w, table, lanes)
    register = indices.with_lanes(min(indices.lanes, _BYTES))
    parts = [
        _look_up(w, register, part, registers)
        for part in [
            w.lanes_of(index, indices, start, register.lanes)
            for start in range(0, indices.lanes, register.lanes)
        ]
    ]
    return w.concatenated(parts, register)


def _look_up(w: InstructionWriter, type_: VType, index: str, registers: list[str]) -> str:
    """The bytes at these indices of a table in several registers.

    Each instruction searches a group of registers. For an index outside its group, the first
    instruction gives 0, and any other keeps the result of the instruction before it.
    """
    result = ""
    for start in range(0, len(registers), MOST_TABLES):
        group = registers[start : start + MOST_TABLES]
        if not start:
            row = INSTRUCTIONS[f"neon_tbl{len(group)}_{type_.lanes}b"]
            result = instruction(w, row, [*group, index])
            continue
        row = INSTRUCTIONS[f"neon_tbx{len(group)}_{type_.lanes}b"]
        passed = w.number(start * _BYTES, type_)
        rest = w.let(f"sub {w.type(type_)} {index}, {passed}")
        result = instruction(w, row, [result, *group, rest])
    return result


def _registers(w: InstructionWriter, table: VType, lanes: str) -> list[str]:
    """The table in whole registers, padded with zeros."""
    t = w.type(table)
    if table.lanes == 1:
        t = "<1 x i8>"
        lanes = w.let(f"insertelement {t} poison, i8 {lanes}, i32 0")
    registers = []
    for start in range(0, table.lanes, _BYTES):
        picks = [min(start + i, table.lanes) for i in range(_BYTES)]
        mask = ", ".join(f"i32 {p}" for p in picks)
        registers.append(
            w.let(f"shufflevector {t} {lanes}, {t} zeroinitializer, <{_BYTES} x i32> <{mask}>")
        )
    return registers


def _picked_singly(
    w: InstructionWriter, indices: VType, table: VType, index: str, lanes: str
) -> str:
    p, t = w.type(indices), w.type(table)
    value = "poison"
    for lane in range(indices.lanes):
        one_index = index
        if indices.lanes > 1:
            one_index = w.let(f"extractelement {p} {index}, i32 {lane}")
        byte = _byte_at(w, one_index, table, t, lanes)
        if indices.lanes == 1:
            return byte
        value = w.inserted(indices, value, byte, lane)
    return value


def _byte_at(w: InstructionWriter, one_index: str, table: VType, t: str, lanes: str) -> str:
    """The byte of the table at one index; 0 beyond the table."""
    inside = ""
    if table.lanes < _ENTRIES:
        inside = w.let(f"icmp ult i8 {one_index}, {table.lanes}")
        one_index = w.let(f"select i1 {inside}, i8 {one_index}, i8 0")
    byte = lanes
    if table.lanes > 1:
        wide = w.let(f"zext i8 {one_index} to i32")
        byte = w.let(f"extractelement {t} {lanes}, i32 {wide}")
    if not inside:
        return byte
    return w.let(f"select i1 {inside}, i8 {byte}, i8 0")
