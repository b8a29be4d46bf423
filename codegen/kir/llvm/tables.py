"""Bytes looked up in a table of lanes: AArch64 has instructions, elsewhere it is lane by lane."""

from __future__ import annotations

from ellc.codegen.kir.instructions import INSTRUCTIONS
from ellc.codegen.kir.instructions.neon import MOST_TABLES
from ellc.codegen.kir.ir import Let
from ellc.codegen.kir.llvm.instructions import instruction
from ellc.codegen.kir.llvm.operations import spells
from ellc.codegen.kir.llvm.writer import Writer
from ellc.codegen.kir.types import VType

_BYTES = 16  # of a register
_CODES = 256


@spells("pick")
def pick(w: Writer, let: Let) -> str:
    """Lanes of the second operand at the places in the first."""
    places, table = (arg.type for arg in let.args)
    index, lanes = (w.value(arg) for arg in let.args)
    whole = places.lanes == 8 or places.lanes % _BYTES == 0
    if not w.target.isa.looks_up_in_registers or not whole:
        return _picked_singly(w, places, table, index, lanes)
    registers = _registers(w, table, lanes)
    one = places.with_lanes(min(places.lanes, _BYTES))
    parts = [
        _looked_up(w, one, part, registers)
        for part in [
            w.lanes_of(index, places, start, one.lanes)
            for start in range(0, places.lanes, one.lanes)
        ]
    ]
    return w.in_one(parts, one)


def _looked_up(w: Writer, type_: VType, index: str, registers: list[str]) -> str:
    """Table after table; an index beyond one of them leaves what the earlier ones gave."""
    result = ""
    for start in range(0, len(registers), MOST_TABLES):
        some = registers[start : start + MOST_TABLES]
        if not start:
            row = INSTRUCTIONS[f"neon_tbl{len(some)}_{type_.lanes}b"]
            result = instruction(w, row, [*some, index])
            continue
        row = INSTRUCTIONS[f"neon_tbx{len(some)}_{type_.lanes}b"]
        passed = w.number(start * _BYTES, type_)
        rest = w.let(f"sub {w.type(type_)} {index}, {passed}")
        result = instruction(w, row, [result, *some, rest])
    return result


def _registers(w: Writer, table: VType, lanes: str) -> list[str]:
    """The table as whole registers, zeros after it."""
    t = w.type(table)
    if table.lanes == 1:
        t = "<1 x i8>"
        lanes = w.let(f"insertelement {t} poison, i8 {lanes}, i32 0")
    found = []
    for start in range(0, table.lanes, _BYTES):
        picks = [min(start + i, table.lanes) for i in range(_BYTES)]
        mask = ", ".join(f"i32 {p}" for p in picks)
        found.append(
            w.let(f"shufflevector {t} {lanes}, {t} zeroinitializer, <{_BYTES} x i32> <{mask}>")
        )
    return found


def _picked_singly(w: Writer, places: VType, table: VType, index: str, lanes: str) -> str:
    p, t = w.type(places), w.type(table)
    value = "poison"
    for lane in range(places.lanes):
        place = index
        if places.lanes > 1:
            place = w.let(f"extractelement {p} {index}, i32 {lane}")
        one = _one(w, place, table, t, lanes)
        if places.lanes == 1:
            return one
        value = w.inserted(places, value, one, lane)
    return value


def _one(w: Writer, place: str, table: VType, t: str, lanes: str) -> str:
    """The byte at one place."""
    inside = ""
    if table.lanes < _CODES:
        inside = w.let(f"icmp ult i8 {place}, {table.lanes}")
        place = w.let(f"select i1 {inside}, i8 {place}, i8 0")
    found = lanes
    if table.lanes > 1:
        wide = w.let(f"zext i8 {place} to i32")
        found = w.let(f"extractelement {t} {lanes}, i32 {wide}")
    if not inside:
        return found
    return w.let(f"select i1 {inside}, i8 {found}, i8 0")
