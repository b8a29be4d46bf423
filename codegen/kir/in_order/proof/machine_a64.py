"""Runs lines of AArch64 assembly on symbols."""

from __future__ import annotations

import re
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
    shifted,
)
from ellc.codegen.kir.in_order.proof.machine_a64_integers import LINES, IntegerMachine, either
from ellc.codegen.kir.in_order.proof.source import fused, on_bytes, pair_sums
from ellc.codegen.kir.in_order.proof.symbols import (
    UNKNOWN,
    Half,
    Lanes,
    Linear,
    Unproved,
    literal_lanes,
)

_VECTOR = re.compile(r"v(\d+)\.(?:4s|16b|8h)")
_ELEMENT_BYTES = {"16b": 1, "8h": 2}
_LANE = re.compile(r"v(\d+)\.s\[([0-3])\]")
_STORED = {"q": 4, "d": 2, "s": 1}
"""The words that are stored of a vector register by this name."""


class MachineA64(IntegerMachine):
    """The 64-bit state. A core register holds half a vector."""

    address = re.compile(r"\[(x\d+), #(-?\d+)\]")
    forbidden = frozenset({"x0", "x18", "x29", "x30", "x31"})
    kept = frozenset({*(f"x{n}" for n in range(19, 29)), *(f"v{n}" for n in range(8, 16))})

    @classmethod
    def branch(cls, line: str) -> tuple[str, str] | None:
        mnemonic, _, label = line.partition(" ")
        return (mnemonic[2:], label) if mnemonic.startswith("b.") else None

    @classmethod
    def written(cls, line: str) -> tuple[Place, ...]:
        mnemonic, _, rest = line.partition(" ")
        if mnemonic.startswith((".", "b.")) or mnemonic in ("cmp", "prfm", "nop"):
            return ()
        operands = OPERANDS.findall(rest)
        if mnemonic == "str":
            match = cls.address.fullmatch(operands[1])
            return (int(match[2]),) if match is not None and match[1] == "x0" else ()
        name = operands[0].partition(".")[0]
        return (f"{'x' if name[0] in 'xw' else 'v'}{int(name[1:])}",)

    @classmethod
    def saved(cls, saves: Iterable[str]) -> set[Place]:
        return {name.replace("d", "v") for name in saves}

    def settle(self) -> None:
        """No instruction needs another one."""

    # --- operands --------------------------------------------------------------------------------

    def core(self, operand: str) -> str:
        if not re.fullmatch(r"x\d+", operand):
            raise Unproved(f"{operand} is no core register")
        return operand

    def vector(self, operand: str) -> Lanes:
        match = _VECTOR.fullmatch(operand) or _LANE.fullmatch(operand)
        if match is None:
            raise Unproved(f"{operand} is no vector")
        value = self.lanes_of(f"v{match[1]}")
        return complete(value if match.re is _VECTOR else (value[int(match[2])],) * 4, operand)

    def set_vector(self, operand: str, lanes: Lanes) -> None:
        match = _VECTOR.fullmatch(operand)
        if match is None:
            raise Unproved(f"{operand} is no vector")
        self.values[f"v{match[1]}"] = lanes

    # --- instructions ----------------------------------------------------------------------------

    def _load(self, to: str, where: str) -> None:
        base, offset = self.address_of(where)
        if base == "x0":
            self._load_slot(to, offset)
            return
        words = {"q": 4, "s": 1}.get(to[0], 2)
        parts = [self.element(base, offset + 4 * k) for k in range(words)]
        match to[0]:
            case "s":
                self.values[f"v{int(to[1:])}"] = (parts[0], UNKNOWN, UNKNOWN, UNKNOWN)
            case "q":
                self.values[f"v{int(to[1:])}"] = (parts[0], parts[1], parts[2], parts[3])
            case "d":
                zero = literal_lanes(self._symbols, 0)[0]
                self.values[f"v{int(to[1:])}"] = (parts[0], parts[1], zero, zero)
            case "x":
                self.values[self.core(to)] = Half((parts[0], parts[1]))
            case _:
                raise Unproved("unknown size")

    def _load_slot(self, to: str, offset: int) -> None:
        value = self.values[offset]
        if isinstance(value, tuple) != (to[0] == "q") or to[0] not in "qx":
            raise Unproved("another type is in the slot")
        self.values[f"v{int(to[1:])}" if to[0] == "q" else self.core(to)] = value

    def _store(self, what: str, where: str) -> None:
        base, offset = self.address_of(where)
        words = _STORED.get(what[0], 0)
        value = self.values[f"v{int(what[1:])}" if words else self.core(what)]
        if isinstance(value, tuple) != bool(words) or (base == "x0" and words not in (0, 4)):
            raise Unproved("another type is in the register")
        if base != "x0":
            if not isinstance(value, tuple):
                raise Unproved("stores no vector")
            self.memory.store(self.number(base).shifted(offset), value[:words])
            return
        size = SLOT_BYTES if what[0] == "q" else 8
        self.check_slot(offset, size)
        if offset % SLOT_BYTES:
            raise Unproved("a slot that may overlap another")
        self.values[offset] = value

    def _move(self, to: str, source: str) -> None:
        if to.startswith("v"):
            self.set_vector(to, self.vector(source))
        else:
            self.values[self.core(to)] = self.values[self.core(source)]

    def _move_zero(self, to: str, value: str, shift: str) -> None:
        self.values[self.core(to)] = Linear((), immediate(value) << shifted(shift))

    def _move_not(self, to: str, value: str, shift: str) -> None:
        self.values[self.core(to)] = Linear((), ~(immediate(value) << shifted(shift)))

    def _move_keep(self, to: str, value: str, shift: str) -> None:
        before = self.number(to)
        if before.terms:
            raise Unproved("changes bits of an unknown number")
        by = shifted(shift)
        self.values[self.core(to)] = Linear(
            (), (before.constant & ~(0xFFFF << by)) | (immediate(value) << by)
        )

    def _csel(self, to: str, a: str, b: str, condition: str) -> None:
        operands = (self.number(a), self.number(b))
        if self.compared != operands:
            raise Unproved("selects other values than it compared")
        name = {"lt": "min", "gt": "max"}[condition]
        self.values[self.core(to)] = self._symbols.integer(name, *operands)

    @staticmethod
    def _floats(name: str) -> Callable[[MachineA64, str, str, str], None]:
        """An instruction on each lane of two vectors of 4 floats; the last may be one lane."""

        def run(self: MachineA64, to: str, a: str, b: str) -> None:
            _check_floats(to, a, b)
            self.set_vector(to, self._symbols.each(name, self.vector(a), self.vector(b)))

        return run

    def _fmla(self, to: str, a: str, b: str) -> None:
        _check_floats(to, a, b)
        total = self.vector(to)
        self.set_vector(to, fused(self._symbols, total, self.vector(a), self.vector(b)))

    def _ins(self, to: str, source: str) -> None:
        register, lane = to.split(".")
        value, low = self.values[self.core(source)], self.values[register]
        if lane != "d[1]" or not isinstance(value, Half) or not isinstance(low, tuple):
            raise Unproved("not the high half of a vector")
        self.values[register] = (low[0], low[1], value.lanes[0], value.lanes[1])

    def _load_word(self, to: str, where: str) -> None:
        base, offset = self.address_of(where)
        if base == "x0":
            raise Unproved("another type is in the slot")
        self.values[self.core(to)] = Linear(((self.element(base, offset), 1),))

    def _each_of_bytes(self, name: str, to: str, *operands: str) -> None:
        """An operation on each element; all registers have the same arrangement."""
        what = on_bytes(name, self._element_bytes(to, *operands))
        self.set_vector(to, self._symbols.each(what, *(self.vector(o) for o in operands)))

    def _cnt(self, to: str, a: str) -> None:
        if not to.endswith(".16b"):
            raise Unproved("counts bits in bytes only")
        self._each_of_bytes("popcount", to, a)

    def _addp(self, to: str, a: str, b: str) -> None:
        if to.endswith(".4s"):
            self.pair_sums(to, a, b)
            return
        size, words = self._element_bytes(to, a, b), (*self.vector(a), *self.vector(b))
        self.set_vector(to, pair_sums(self._symbols, size, words))

    def _uaddlp(self, to: str, a: str) -> None:
        if not (to.endswith(".8h") and a.endswith(".16b")):
            raise Unproved("widens other elements")
        self.set_vector(to, self._symbols.each("wide_pairs", self.vector(a)))

    @staticmethod
    def _element_bytes(*operands: str) -> int:
        """The size of elements, which must be the same for all operands."""
        (arrangement,) = {operand.partition(".")[2] for operand in operands}
        return _ELEMENT_BYTES[arrangement]

    def _movi(self, to: str, value: str) -> None:
        if value != "#0":
            raise Unproved("an unknown literal")
        if re.fullmatch(r"d\d+", to):
            to = f"v{to[1:]}.4s"
        self.set_vector(to, literal_lanes(self._symbols, 0))

    def _dup(self, to: str, source: str) -> None:
        if source.startswith("w"):
            value = self.number(source.replace("w", "x"))
            if value.terms or not to.endswith(".4s"):
                raise Unproved("an unknown literal")
            self.set_vector(to, literal_lanes(self._symbols, value.constant))
        else:
            self.set_vector(to, self.vector(source))

    def _prefetch(self, hint: str, where: str) -> None:
        if hint not in ("pldl1keep", "pstl1keep"):
            raise Unproved("an unknown hint")
        self.prefetch(where)

    handlers: ClassVar[Mapping[str, Callable[..., None]]] = MappingProxyType(
        {
            **INTEGERS,
            **LINES,
            **{n: either(INTEGERS[n], n) for n in ("add", "sub", "mul")},
            "cnt": _cnt,
            "addp": _addp,
            "uaddlp": _uaddlp,
            "ldr": _load,
            "ldrsw": _load_word,
            "str": _store,
            "mov": _move,
            "movz": _move_zero,
            "movn": _move_not,
            "movk": _move_keep,
            "madd": Machine.multiply_add,
            "msub": Machine.multiply_subtract,
            "csel": _csel,
            "fmla": _fmla,
            "ins": _ins,
            "movi": _movi,
            "dup": _dup,
            "prfm": _prefetch,
            "fadd": _floats("add"),
            "fsub": _floats("sub"),
            "fmul": _floats("mul"),
            "fmin": _floats("min"),
            "fmax": _floats("max"),
        }
    )


def _check_floats(to: str, a: str, b: str) -> None:
    """Raise `Unproved` unless these are vectors of 4 floats: other lanes are halves or doubles."""
    if not (to.endswith(".4s") and a.endswith(".4s") and (b.endswith(".4s") or _LANE.fullmatch(b))):
        raise Unproved("not 4 floats")
