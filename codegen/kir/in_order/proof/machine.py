"""Runs lines of AArch64 assembly on symbols."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

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

Place = str | int
"""The name of a register (`x3`, `v4`), or the offset of a slot in the frame."""

_OPERANDS = re.compile(r"\[[^\]]*\](?=$|, )|[^,\s][^,]*")
_ADDRESS = re.compile(r"\[(x\d+), #(-?\d+)\]")
_VECTOR = re.compile(r"v(\d+)\.(?:4s|16b)")
_LANE = re.compile(r"v(\d+)\.s\[([0-3])\]")
_SHIFT = re.compile(r"lsl #(\d+)")
_SLOT_BYTES = 16


class Machine:
    """Registers, flags, the frame and memory.

    `writable` are the ranges of offsets in the frame that the function may write.
    """

    def __init__(self, symbols: Symbols, memory: Memory, writable: tuple[range, ...]) -> None:
        self._symbols, self.memory, self._writable = symbols, memory, writable
        self.values: dict[Place, Value] = {}
        self.compared: tuple[Linear, Linear] | None = None
        """The operands of the last comparison."""
        self.counted: Linear | None = None
        """The result of the last subtraction that set the flags."""

    def run(self, line: str) -> None:
        """Run an instruction that is no branch."""
        mnemonic, _, rest = line.partition(" ")
        handler = self._HANDLERS.get(mnemonic)
        if handler is None:
            raise Unproved(f"{line}: unknown instruction")
        try:
            handler(self, *_OPERANDS.findall(rest))
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise Unproved(f"{line}: {error!r}") from error
        except Unproved as error:
            raise Unproved(f"{line}: {error}") from error

    # --- operands --------------------------------------------------------------------------------

    def _number(self, operand: str) -> Linear:
        if operand.startswith("#"):
            return Linear((), int(operand[1:]))
        value = self.values[_core(operand)]
        if not isinstance(value, Linear):
            raise Unproved(f"{operand} is no integer")
        return value

    def _vector(self, operand: str) -> Lanes:
        match = _VECTOR.fullmatch(operand) or _LANE.fullmatch(operand)
        if match is None:
            raise Unproved(f"{operand} is no vector")
        value = self.values[f"v{match[1]}"]
        if not isinstance(value, tuple):
            raise Unproved(f"{operand} is no vector")
        lanes = value if match.re is _VECTOR else (value[int(match[2])],) * 4
        if UNKNOWN in lanes:
            raise Unproved(f"{operand} is not complete")
        return lanes

    def _address(self, operand: str) -> tuple[str, int]:
        match = _ADDRESS.fullmatch(operand)
        if match is None:
            raise Unproved(f"{operand} is no address")
        return match[1], int(match[2])

    def _element(self, base: str, offset: int) -> int:
        return self._symbols.element(self.memory, self._number(base).shifted(offset))

    def _set_vector(self, operand: str, lanes: Lanes) -> None:
        match = _VECTOR.fullmatch(operand)
        if match is None:
            raise Unproved(f"{operand} is no vector")
        self.values[f"v{match[1]}"] = lanes

    # --- instructions ----------------------------------------------------------------------------

    def _load(self, to: str, where: str) -> None:
        base, offset = self._address(where)
        if base == "x0":
            self._load_slot(to, offset)
            return
        parts = [self._element(base, offset + 4 * k) for k in range(4 if to[0] == "q" else 2)]
        match to[0]:
            case "q":
                self.values[f"v{int(to[1:])}"] = (parts[0], parts[1], parts[2], parts[3])
            case "d":
                self.values[f"v{int(to[1:])}"] = (parts[0], parts[1], UNKNOWN, UNKNOWN)
            case "x":
                self.values[_core(to)] = Half((parts[0], parts[1]))
            case _:
                raise Unproved("unknown size")

    def _load_slot(self, to: str, offset: int) -> None:
        value = self.values[offset]
        if isinstance(value, tuple) != (to[0] == "q") or to[0] not in "qx":
            raise Unproved("another type is in the slot")
        self.values[f"v{int(to[1:])}" if to[0] == "q" else _core(to)] = value

    def _store(self, what: str, where: str) -> None:
        base, offset = self._address(where)
        value = self.values[f"v{int(what[1:])}" if what[0] == "q" else _core(what)]
        if isinstance(value, tuple) != (what[0] == "q") or what[0] not in "qx":
            raise Unproved("another type is in the register")
        if base != "x0":
            if not isinstance(value, tuple):
                raise Unproved("stores no vector")
            self.memory.store(self._number(base).shifted(offset), value)
            return
        size = _SLOT_BYTES if what[0] == "q" else 8
        if not any(offset in r and offset + size - 1 in r for r in self._writable):
            raise Unproved("a slot that belongs to the caller")
        if offset % _SLOT_BYTES:
            raise Unproved("a slot that may overlap another")
        self.values[offset] = value

    def _move(self, to: str, source: str) -> None:
        if to.startswith("v"):
            self._set_vector(to, self._vector(source))
        else:
            self.values[_core(to)] = self.values[_core(source)]

    def _move_zero(self, to: str, value: str, shift: str) -> None:
        self.values[_core(to)] = Linear((), int(value[1:]) << _shifted(shift))

    def _move_not(self, to: str, value: str, shift: str) -> None:
        self.values[_core(to)] = Linear((), ~(int(value[1:]) << _shifted(shift)))

    def _move_keep(self, to: str, value: str, shift: str) -> None:
        before = self._number(to)
        if before.terms:
            raise Unproved("changes bits of an unknown number")
        by = _shifted(shift)
        self.values[_core(to)] = Linear(
            (), (before.constant & ~(0xFFFF << by)) | (int(value[1:]) << by)
        )

    def _add(self, to: str, a: str, b: str, shift: str = "lsl #0") -> None:
        self.values[_core(to)] = self._number(a).plus(self._number(b), 1 << _shifted(shift))

    def _sub(self, to: str, a: str, b: str, shift: str = "lsl #0") -> None:
        self.values[_core(to)] = self._number(a).plus(self._number(b), -1 << _shifted(shift))

    def _subs(self, to: str, a: str, b: str) -> None:
        self._sub(to, a, b)
        self.compared, self.counted = None, self._number(to)

    def _lsl(self, to: str, a: str, by: str) -> None:
        self.values[_core(to)] = Linear().plus(self._number(a), 1 << int(by[1:]))

    def _mul(self, to: str, a: str, b: str) -> None:
        self.values[_core(to)] = self._symbols.product(self._number(a), self._number(b))

    def _madd(self, to: str, a: str, b: str, c: str) -> None:
        product = self._symbols.product(self._number(a), self._number(b))
        self.values[_core(to)] = self._number(c).plus(product)

    def _msub(self, to: str, a: str, b: str, c: str) -> None:
        product = self._symbols.product(self._number(a), self._number(b))
        self.values[_core(to)] = self._number(c).plus(product, -1)

    def _sdiv(self, to: str, a: str, b: str) -> None:
        self.values[_core(to)] = self._symbols.quotient(self._number(a), self._number(b))

    def _cmp(self, a: str, b: str) -> None:
        self.compared, self.counted = (self._number(a), self._number(b)), None

    def _csel(self, to: str, a: str, b: str, condition: str) -> None:
        operands = (self._number(a), self._number(b))
        if self.compared != operands:
            raise Unproved("selects other values than it compared")
        name = {"lt": "min", "gt": "max"}[condition]
        self.values[_core(to)] = self._symbols.integer(name, *operands)

    def _fmla(self, to: str, a: str, b: str) -> None:
        total = self._vector(to)
        self._set_vector(to, fused(self._symbols, total, self._vector(a), self._vector(b)))

    def _ins(self, to: str, source: str) -> None:
        register, lane = to.split(".")
        value, low = self.values[_core(source)], self.values[register]
        if lane != "d[1]" or not isinstance(value, Half) or not isinstance(low, tuple):
            raise Unproved("not the high half of a vector")
        self.values[register] = (low[0], low[1], *value.lanes)

    def _movi(self, to: str, value: str) -> None:
        if value != "#0":
            raise Unproved("an unknown literal")
        self._set_vector(to, literal_lanes(self._symbols, 0))

    def _dup(self, to: str, source: str) -> None:
        if source.startswith("w"):
            value = self._number(source.replace("w", "x"))
            if value.terms:
                raise Unproved("an unknown literal")
            self._set_vector(to, literal_lanes(self._symbols, value.constant))
        else:
            self._set_vector(to, self._vector(source))

    def _nothing(self, *_: str) -> None:
        """A hint."""

    @staticmethod
    def _each(name: str) -> Callable[[Machine, str, str, str], None]:
        def run(self: Machine, to: str, a: str, b: str) -> None:
            result = self._symbols.each(name, self._vector(a), self._vector(b))
            self._set_vector(to, result)

        return run

    _HANDLERS: Mapping[str, Callable[..., None]] = MappingProxyType(
        {
            "ldr": _load,
            "str": _store,
            "mov": _move,
            "movz": _move_zero,
            "movn": _move_not,
            "movk": _move_keep,
            "add": _add,
            "sub": _sub,
            "subs": _subs,
            "lsl": _lsl,
            "mul": _mul,
            "madd": _madd,
            "msub": _msub,
            "sdiv": _sdiv,
            "cmp": _cmp,
            "csel": _csel,
            "fmla": _fmla,
            "ins": _ins,
            "movi": _movi,
            "dup": _dup,
            "prfm": _nothing,
            "nop": _nothing,
            "fadd": _each("add"),
            "fsub": _each("sub"),
            "fmul": _each("mul"),
            "fmin": _each("min"),
            "fmax": _each("max"),
        }
    )


def written(line: str) -> Place | None:
    """The register or the slot that an instruction changes; None if it changes neither."""
    mnemonic, _, rest = line.partition(" ")
    if mnemonic.startswith((".", "b.")) or mnemonic in ("cmp", "prfm", "nop"):
        return None
    operands = _OPERANDS.findall(rest)
    if mnemonic == "str":
        match = _ADDRESS.fullmatch(operands[1])
        return int(match[2]) if match is not None and match[1] == "x0" else None
    name = operands[0].partition(".")[0]
    return f"{'x' if name[0] in 'xw' else 'v'}{int(name[1:])}"


def _core(operand: str) -> str:
    if not re.fullmatch(r"x\d+", operand):
        raise Unproved(f"{operand} is no core register")
    return operand


def _shifted(shift: str) -> int:
    match = _SHIFT.fullmatch(shift)
    if match is None:
        raise Unproved(f"{shift} is no shift")
    return int(match[1])
