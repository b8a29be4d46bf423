"""Runs lines of ARM assembly on symbols."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar

from ellc.codegen.kir.in_order.proof.machine import (
    INTEGERS,
    OPERANDS,
    SLOT_BYTES,
    Machine,
    Place,
    complete,
    immediate,
)
from ellc.codegen.kir.in_order.proof.source import fused
from ellc.codegen.kir.in_order.proof.symbols import (
    UNKNOWN,
    Half,
    Lanes,
    Linear,
    Memory,
    Symbols,
    Unproved,
    Value,
    literal_lanes,
)

_BARE = re.compile(r"\[(r\d+)\]")
_LANE = re.compile(r"d(\d+)\[([01])\]")
_HINTS = ("cmp", "pld", "pldw", "nop", "vst1.32")
"""Mnemonics of instructions that change no register and no slot."""
_BRANCH = re.compile(r"b(ge|lt|ne) (\S+)")
_FLOAT = re.compile(r"#-?\d{1,2}\.\d{1,8}")
"""What `vmov` can copy to all lanes: an eighth to 31, with up to seven digits."""
_LANE_HALVES = 16
"""Only the first so many halves can be multiplied by lane."""


class MachineA32(Machine):
    """The 32-bit state. A vector consists of two registers, and a core register holds one lane.

    The two halves of a vector must be stored by two instructions in a row.
    """

    address = re.compile(r"\[(r\d+), #(-?\d+)\]")
    forbidden = frozenset({"x0", "x13", "x14", "x15"})
    kept = frozenset({*(f"x{n}" for n in range(4, 12)), *(f"v{n}" for n in range(4, 8))})

    def __init__(self, symbols: Symbols, memory: Memory, writable: tuple[range, ...]) -> None:
        super().__init__(symbols, memory, writable)
        self._stored: tuple[str, int, tuple[int, int]] | None = None

    @classmethod
    def branch(cls, line: str) -> tuple[str, str] | None:
        match = _BRANCH.fullmatch(line)
        return (match[1], match[2]) if match else None

    @classmethod
    def written(cls, line: str) -> tuple[Place, ...]:
        mnemonic, _, rest = line.partition(" ")
        if line.startswith(".") or cls.branch(line) or mnemonic in _HINTS:
            return ()
        operands = OPERANDS.findall(rest)
        if mnemonic in ("str", "vstr"):
            match = cls.address.fullmatch(operands[1])
            if match is None or match[1] != "r0":
                return ()
            return (int(match[2]) // SLOT_BYTES * SLOT_BYTES,)
        changed = operands[:2] if mnemonic == "ldrd" else operands[:1]
        return tuple(_place(operand.partition("[")[0]) for operand in changed)

    @classmethod
    def saved(cls, saves: Iterable[str]) -> set[Place]:
        names = set(saves)
        whole = {f"v{n}" for n in range(16) if {f"d{2 * n}", f"d{2 * n + 1}"} <= names}
        return {*(name.replace("r", "x") for name in names), *whole}

    def run(self, line: str) -> None:
        if not line.startswith("vstr "):
            self.settle()
        super().run(line)

    def settle(self) -> None:
        if self._stored is not None:
            raise Unproved("only a half of a vector is stored")

    # --- operands --------------------------------------------------------------------------------

    def core(self, operand: str) -> str:
        if not re.fullmatch(r"r\d+", operand):
            raise Unproved(f"{operand} is no core register")
        return _place(operand)

    def vector(self, operand: str) -> Lanes:
        match = _LANE.fullmatch(operand)
        if match is None:
            return complete(self.lanes_of(_quad(operand)), operand)
        number = int(match[1])
        lane = self.lanes_of(f"v{number // 2}")[2 * (number % 2) + int(match[2])]
        return complete((lane,) * 4, operand)

    def set_vector(self, operand: str, lanes: Lanes) -> None:
        self.values[_quad(operand)] = lanes

    def _half(self, operand: str) -> tuple[int, int]:
        place, high = _half_place(operand)
        lanes = self.lanes_of(place)
        return (lanes[2], lanes[3]) if high else (lanes[0], lanes[1])

    def _set_half(self, operand: str, lanes: tuple[int, int]) -> None:
        place, high = _half_place(operand)
        self.values[place] = _with_half(self.values.get(place), high, lanes)

    # --- memory ----------------------------------------------------------------------------------

    def _vldr(self, to: str, where: str) -> None:
        self._set_half(to, self._two(*self.address_of(where)))

    def _two(self, base: str, offset: int) -> tuple[int, int]:
        """Two lanes from a pointer, or half the vector in a slot."""
        if base != "r0":
            return self.element(base, offset), self.element(base, offset + 4)
        high = offset % SLOT_BYTES
        value = self.values[offset - high]
        if not isinstance(value, tuple) or high not in (0, 8):
            raise Unproved("another type is in the slot")
        return (value[2], value[3]) if high else (value[0], value[1])

    def _vstr(self, what: str, where: str) -> None:
        base, offset = self.address_of(where)
        lanes = self._half(what)
        if self._stored is None:
            self._stored = (base, offset, lanes)
            return
        first, self._stored = self._stored, None
        if (first[0], first[1] + 8) != (base, offset):
            raise Unproved("stores halves to different places")
        whole = (*first[2], *lanes)
        if base != "r0":
            self.memory.store(self.number(base).shifted(first[1]), whole)
            return
        self.check_slot(first[1], SLOT_BYTES)
        if first[1] % SLOT_BYTES:
            raise Unproved("a slot that may overlap another")
        self.values[first[1]] = whole

    def _vst1(self, low: str, high: str, where: str) -> None:
        match = _BARE.fullmatch(where)
        first, second = low.removeprefix("{"), high.removesuffix("}")
        if match is None or _half_place(first)[0] != _half_place(second)[0]:
            raise Unproved("stores no vector")
        if _half_place(first)[1] or not _half_place(second)[1] or match[1] == "r0":
            raise Unproved("stores no vector, or to the frame")
        self.memory.store(self.number(match[1]), (*self._half(first), *self._half(second)))

    def _ldr(self, to: str, where: str) -> None:
        base, offset = self.address_of(where)
        value = self.values[offset]
        if base != "r0" or isinstance(value, tuple):
            raise Unproved("another type is in the slot")
        self.values[self.core(to)] = value

    def _str(self, what: str, where: str) -> None:
        base, offset = self.address_of(where)
        value = self.values[self.core(what)]
        if base != "r0" or isinstance(value, tuple):
            raise Unproved("stores no word to a slot")
        self.check_slot(offset, 4)
        if offset % SLOT_BYTES:
            raise Unproved("a slot that may overlap another")
        self.values[offset] = value

    def _ldrd(self, low: str, high: str, where: str) -> None:
        base, offset = self.address_of(where)
        first, second = _place(low), _place(high)
        if int(first[1:]) % 2 or int(second[1:]) != int(first[1:]) + 1:
            raise Unproved("no pair of registers")
        lanes = self._two(base, offset)
        self.values[first], self.values[second] = Half(lanes[:1]), Half(lanes[1:])

    # --- other instructions ----------------------------------------------------------------------

    def _mov(self, to: str, source: str) -> None:
        self.values[self.core(to)] = self.values[self.core(source)]

    def _movw(self, to: str, value: str) -> None:
        self.values[self.core(to)] = Linear((), immediate(value))

    def _movt(self, to: str, value: str) -> None:
        before = self.number(to)
        if before.terms:
            raise Unproved("changes bits of an unknown number")
        bits = (before.constant & 0xFFFF) | (immediate(value) << 16)
        self.values[self.core(to)] = Linear((), bits - (bits >> 31 << 32))

    @staticmethod
    def _selected(name: str) -> Callable[[MachineA32, str, str], None]:
        """A move after a comparison of its two registers."""

        def run(self: MachineA32, to: str, source: str) -> None:
            operands = (self.number(to), self.number(source))
            if self.compared != operands:
                raise Unproved("selects other values than it compared")
            self.values[self.core(to)] = self._symbols.integer(name, *operands)

        return run

    def _vmla(self, to: str, a: str, b: str) -> None:
        self._check_lane(b)
        total = self.vector(to)
        self.set_vector(to, fused(self._symbols, total, self.vector(a), self.vector(b)))

    def _vmov(self, to: str, *sources: str) -> None:
        if len(sources) == 1:
            self.set_vector(to, self.vector(sources[0]))
            return
        values = [self.values[self.core(source)] for source in sources]
        lanes = [v.lanes[0] for v in values if isinstance(v, Half) and len(v.lanes) == 1]
        self._set_half(to, (lanes[0], lanes[1]))

    def _insert(self, to: str, source: str) -> None:
        match = _LANE.fullmatch(to)
        value = self.number(source)
        if match is None or value.terms:
            raise Unproved("no lane, or an unknown literal")
        place, at = f"v{int(match[1]) // 2}", 2 * (int(match[1]) % 2) + int(match[2])
        before = self.values.get(place)
        lanes = list(before if isinstance(before, tuple) else (UNKNOWN,) * 4)
        lanes[at] = literal_lanes(self._symbols, value.constant)[0]
        w, x, y, z = lanes
        self.values[place] = (w, x, y, z)

    def _vmul(self, to: str, a: str, b: str) -> None:
        self._check_lane(b)
        self.set_vector(to, self._symbols.each("mul", self.vector(a), self.vector(b)))

    def _check_lane(self, operand: str) -> None:
        match = _LANE.fullmatch(operand)
        if match is not None and int(match[1]) >= _LANE_HALVES:
            raise Unproved(f"{operand} cannot be a lane")

    def _literal(self, to: str, value: str) -> None:
        if value != "#0":
            raise Unproved("an unknown literal")
        self.set_vector(to, literal_lanes(self._symbols, 0))

    def _number(self, to: str, value: str) -> None:
        if not _FLOAT.fullmatch(value):
            raise Unproved(f"{value} is no number")
        (bits,) = struct.unpack("<I", struct.pack("<f", float(value[1:])))
        self.set_vector(to, literal_lanes(self._symbols, bits))

    def _vdup(self, to: str, source: str) -> None:
        if not source.startswith("r"):
            self.set_vector(to, self.vector(source))
            return
        value = self.number(source)
        if value.terms:
            raise Unproved("an unknown literal")
        self.set_vector(to, literal_lanes(self._symbols, value.constant))

    handlers: ClassVar[Mapping[str, Callable[..., None]]] = MappingProxyType(
        {
            **INTEGERS,
            "mla": Machine.multiply_add,
            "mls": Machine.multiply_subtract,
            "vldr": _vldr,
            "vstr": _vstr,
            "vst1.32": _vst1,
            "ldr": _ldr,
            "str": _str,
            "ldrd": _ldrd,
            "mov": _mov,
            "movw": _movw,
            "movt": _movt,
            "movge": _selected("min"),
            "movle": _selected("max"),
            "vmla.f32": _vmla,
            "vmov": _vmov,
            "vmov.i32": _literal,
            "vmov.32": _insert,
            "vmov.f32": _number,
            "vdup.32": _vdup,
            "pld": Machine.prefetch,
            "pldw": Machine.prefetch,
            "vadd.f32": Machine.each("add"),
            "vsub.f32": Machine.each("sub"),
            "vmul.f32": _vmul,
            "vmin.f32": Machine.each("min"),
            "vmax.f32": Machine.each("max"),
        }
    )


def _place(operand: str) -> str:
    """The place of a core register, a vector or half a vector."""
    number = int(operand[1:])
    return {"r": f"x{number}", "q": f"v{number}", "d": f"v{number // 2}"}[operand[0]]


def _quad(operand: str) -> str:
    if not operand.startswith("q"):
        raise Unproved(f"{operand} is no vector")
    return _place(operand)


def _half_place(operand: str) -> tuple[str, bool]:
    if not operand.startswith("d"):
        raise Unproved(f"{operand} is no half of a vector")
    return _place(operand), bool(int(operand[1:]) % 2)


def _with_half(before: Value | None, high: bool, lanes: tuple[int, int]) -> Lanes:
    w, x, y, z = before if isinstance(before, tuple) else (UNKNOWN,) * 4
    return (w, x, *lanes) if high else (*lanes, y, z)
