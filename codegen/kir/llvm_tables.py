"""LLVM instructions that look bytes up in a table of lanes."""

from __future__ import annotations

from ellc.codegen.kir.ir import Let
from ellc.codegen.kir.llvm_widening import WideningWriter
from ellc.codegen.kir.types import VType

_BYTES = 16  # of a register
_REGISTERS = 4  # that one instruction takes as a table
_CODES = 256


class TableWriter(WideningWriter):
    """Writes them: AArch64 has instructions, elsewhere it is lane by lane."""

    def pick(self, let: Let) -> str:
        """Lanes of the second operand at the places in the first."""
        places, table = (arg.type for arg in let.args)
        index, lanes = (self._value(arg) for arg in let.args)
        whole = places.lanes == 8 or places.lanes % _BYTES == 0
        if not self._target.isa.looks_up_in_registers or not whole:
            return self._picked_singly(places, table, index, lanes)
        registers = self._registers(table, lanes)
        size = min(places.lanes, _BYTES)
        parts = [
            self._looked_up(places.with_lanes(size), part, registers)
            for part in self._cut(places, index, size)
        ]
        while len(parts) > 1:
            parts = [self._pair(a, b, size) for a, b in zip(parts[::2], parts[1::2], strict=True)]
            size *= 2
        return parts[0]

    def _looked_up(self, type_: VType, index: str, registers: list[str]) -> str:
        """Table after table; an index beyond one of them leaves what the earlier ones gave."""
        t = self._type(type_)
        result = ""
        for start in range(0, len(registers), _REGISTERS):
            some = registers[start : start + _REGISTERS]
            args = [f"<{_BYTES} x i8> {r}" for r in some]
            if not start:
                args.append(f"{t} {index}")
                result = self.call(f"@llvm.aarch64.neon.tbl{len(some)}", type_, args)
                continue
            passed = self._number(start * _BYTES, type_)
            rest = self._let_text(f"sub {t} {index}, {passed}")
            args = [f"{t} {result}", *args, f"{t} {rest}"]
            result = self.call(f"@llvm.aarch64.neon.tbx{len(some)}", type_, args)
        return result

    def _registers(self, table: VType, lanes: str) -> list[str]:
        """The table as whole registers, zeros after it."""
        t = self._type(table)
        if table.lanes == 1:
            t = "<1 x i8>"
            lanes = self._let_text(f"insertelement {t} poison, i8 {lanes}, i32 0")
        found = []
        for start in range(0, table.lanes, _BYTES):
            picks = [min(start + i, table.lanes) for i in range(_BYTES)]
            mask = ", ".join(f"i32 {p}" for p in picks)
            found.append(
                self._let_text(
                    f"shufflevector {t} {lanes}, {t} zeroinitializer, <{_BYTES} x i32> <{mask}>"
                )
            )
        return found

    def _cut(self, type_: VType, value: str, size: int) -> list[str]:
        starts = range(0, type_.lanes, size)
        return [self._lanes_of(value, type_, start, size) for start in starts]

    def _pair(self, low: str, high: str, size: int) -> str:
        picks = ", ".join(f"i32 {i}" for i in range(2 * size))
        t = f"<{size} x i8>"
        return self._let_text(f"shufflevector {t} {low}, {t} {high}, <{2 * size} x i32> <{picks}>")

    def _picked_singly(self, places: VType, table: VType, index: str, lanes: str) -> str:
        p, t = self._type(places), self._type(table)
        value = "poison"
        for lane in range(places.lanes):
            place = index
            if places.lanes > 1:
                place = self._let_text(f"extractelement {p} {index}, i32 {lane}")
            one = self._one(place, table, t, lanes)
            if places.lanes == 1:
                return one
            value = self._let_text(f"insertelement {p} {value}, i8 {one}, i32 {lane}")
        return value

    def _one(self, place: str, table: VType, t: str, lanes: str) -> str:
        """The byte at one place."""
        inside = ""
        if table.lanes < _CODES:
            inside = self._let_text(f"icmp ult i8 {place}, {table.lanes}")
            place = self._let_text(f"select i1 {inside}, i8 {place}, i8 0")
        found = lanes
        if table.lanes > 1:
            wide = self._let_text(f"zext i8 {place} to i32")
            found = self._let_text(f"extractelement {t} {lanes}, i32 {wide}")
        if not inside:
            return found
        return self._let_text(f"select i1 {inside}, i8 {found}, i8 0")
