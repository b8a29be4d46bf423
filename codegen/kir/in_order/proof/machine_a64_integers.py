"""Runs lines of AArch64 assembly that compute vectors of integers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ellc.codegen.kir.in_order.proof.integers import Integers
from ellc.codegen.kir.in_order.proof.machine import Machine, immediate
from ellc.codegen.kir.in_order.proof.symbols import (
    UNKNOWN,
    Lanes,
    Memory,
    Symbols,
    Unproved,
    literal_lanes,
)

_REGISTER = re.compile(r"v(\d+)\.(\d+[bhsd])")
_LANE = re.compile(r"v(\d+)\.s\[([0-3])\]")
_FOUR_BYTES = re.compile(r"v(\d+)\.4b\[([0-3])\]")
_BITS = {"b": 8, "h": 16, "s": 32}
_NAMES = {
    "add": "add",
    "sub": "sub",
    "smax": "max",
    "smin": "min",
    "and": "and",
    "eor": "xor",
    "mul": "mul",
    "sqrdmulh": "mul_high",
}


class IntegerMachine(Machine):
    """A machine with these instructions."""

    def __init__(self, symbols: Symbols, memory: Memory, writable: tuple[range, ...]) -> None:
        super().__init__(symbols, memory, writable)
        self._integers = Integers(symbols)

    def lane_by_lane(self, name: str, to: str, a: str, b: str) -> None:
        """An operation lane by lane."""
        bits, words = self._same(to, a, b)
        operands = (self._value(a), self._value(b))
        self._set(to, self._integers.each(_NAMES[name], bits, words, *operands))

    def byte_products(self, name: str, to: str, a: str, b: str) -> None:
        """smull, smull2, smlal, smlal2."""
        high = name.endswith("2")
        if (_lanes(to), _lanes(a), _lanes(b)) != ("8h", *("16b" if high else "8b",) * 2):
            raise Unproved("other lanes")
        total = (self._value(to),) if name.startswith("smlal") else ()
        self._set(to, self._integers.product(self._value(a), self._value(b), high, *total))

    def add_pairs(self, to: str, a: str) -> None:
        """sadalp."""
        if (_lanes(to), _lanes(a)) != ("4s", "8h"):
            raise Unproved("other lanes")
        self._set(to, self._integers.add_pairs(self._value(to), self._value(a)))

    def dot(self, to: str, a: str, b: str) -> None:
        """sdot, by four bytes of a register."""
        lane = _FOUR_BYTES.fullmatch(b)
        if lane is None or (_lanes(to), _lanes(a)) != ("4s", "16b"):
            raise Unproved("other lanes")
        four = self.lanes_of(f"v{lane[1]}")[int(lane[2])]
        self._set(to, self._integers.dot(self._value(to), self._value(a), four))

    def pair_sums(self, to: str, a: str, b: str) -> None:
        """addp."""
        self._words(to, a, b)
        self._set(to, self._integers.pair_sums(self._value(a), self._value(b)))

    def lane_multiply_add(self, to: str, a: str, b: str) -> None:
        """mla, by a vector or by a lane."""
        lane = _LANE.fullmatch(b)
        self._words(to, a, *([] if lane else [b]))
        word = self.lanes_of(f"v{lane[1]}")[int(lane[2])] if lane else UNKNOWN
        other = (word,) * 4 if lane else self._value(b)
        operands = (self._value(to), self._value(a), other)
        self._set(to, self._integers.each("mul_add", 32, 4, *operands))

    def lane_shift(self, name: str, to: str, a: str, by: str) -> None:
        """shl, sshr."""
        self._words(to, a)
        op = {"shl": "shl", "sshr": "shr"}[name]
        self._set(to, self._integers.shifted(op, self._value(a), immediate(by)))

    def add_shifted(self, to: str, a: str, by: str) -> None:
        """ssra."""
        self._words(to, a)
        other = self._integers.shifted("shr", self._value(a), int(by[1:]))
        self._set(to, self._integers.each("add", 32, 4, self._value(to), other))

    def rounded_right(self, to: str, a: str, by: str) -> None:
        """srshr: a rounded shift to the right."""
        self._words(to, a)
        bits = literal_lanes(self._symbols, immediate(by))
        self._set(to, self._integers.rounded(self._value(a), bits))

    def rounded_left(self, to: str, a: str, b: str) -> None:
        """srshl: a shift to the left by negative numbers."""
        self._words(to, a, b)
        bits = self._integers.negative(self._value(b))
        self._set(to, self._integers.rounded(self._value(a), bits))

    def narrowed(self, name: str, to: str, a: str, *by: str) -> None:
        """xtn, sqxtn, sqxtun, sqrshrn, and those that write the second half of a register."""
        high = name.endswith("2")
        lanes = {"4s": ("4h", "8h"), "8h": ("8b", "16b")}[_lanes(a)][high]
        name = name.removesuffix("2")
        if _lanes(to) != lanes or (name == "sqxtun" and lanes[-1] != "b"):
            raise Unproved("other lanes")
        value = self._value(a)
        if name == "sqrshrn":
            self._words(a)
            value = self._integers.rounded(value, literal_lanes(self._symbols, immediate(*by)))
        kind = ("unsigned " if name == "sqxtun" else "") + {"h": "16", "b": "8"}[lanes[-1]]
        half = self._integers.narrowed(value, kind, saturates=name != "xtn")
        self._set(to, (*self._value(to)[:2], *half[:2]) if high else half)

    def zipped(self, name: str, to: str, a: str, b: str) -> None:
        """zip1, zip2: the elements of two halves of vectors, in turn; or two low halves."""
        (lanes,) = {_lanes(operand) for operand in (to, a, b)}
        half = 2 * (name == "zip2")
        first, second = (self._value(operand)[half : half + 2] for operand in (a, b))
        match lanes:
            case "4s":
                self._set(to, (first[0], second[0], first[1], second[1]))
            case "8h" if first == second:
                w, x, y, z = (self._integers.doubled(word, at) for word in first for at in (0, 1))
                self._set(to, (w, x, y, z))
            case "2d" if not half:
                self._set(to, (first[0], first[1], second[0], second[1]))
            case _:
                raise Unproved("other lanes")

    def looked_up(self, to: str, table: str, places: str) -> None:
        """tbl: two neighbouring bytes of a register, twice in each word."""
        if {_lanes(to), _lanes(table[1:-1]), _lanes(places)} != {"16b"}:
            raise Unproved("other lanes")
        words = self._value(table[1:-1])
        w, x, y, z = (self._pair(words, place) for place in self._value(places))
        self._set(to, (w, x, y, z))

    def _pair(self, words: Lanes, places: int) -> int:
        match self._symbols.meaning(places):
            case ("bits", int(bits)):
                first, second, *again = bits.to_bytes(4, "little")
                if (
                    second == first + 1
                    and first % 2 == 0
                    and again == [first, second]
                    and first < 16
                ):
                    return self._integers.doubled(words[first // 4], first % 4 // 2)
        raise Unproved("other places")

    def widened(self, name: str, to: str, a: str) -> None:
        """sxtl, uxtl."""
        bits = {("8h", "8b"): 8, ("4s", "4h"): 16}[_lanes(to), _lanes(a)]
        self._set(to, self._integers.widened(self._value(a), bits, signed=name == "sxtl"))

    def _words(self, *operands: str) -> None:
        if any(_lanes(operand) != "4s" for operand in operands):
            raise Unproved("other lanes")

    def _same(self, *operands: str) -> tuple[int, int]:
        """The bits of a lane and the number of words, which all operands have."""
        (lanes,) = {_lanes(operand) for operand in operands}
        bits = _BITS[lanes[-1]]
        return bits, int(lanes[:-1]) * bits // 32

    def _value(self, operand: str) -> Lanes:
        return self.lanes_of(operand.partition(".")[0])

    def _set(self, operand: str, lanes: Lanes) -> None:
        self.values[operand.partition(".")[0]] = lanes


def _lanes(operand: str) -> str:
    match = _REGISTER.fullmatch(operand)
    if match is None:
        raise Unproved(f"{operand} is no vector")
    return match[2]


Handler = Callable[..., None]


def _named(method: Handler, name: str) -> Handler:
    def run(machine: IntegerMachine, *operands: str) -> None:
        method(machine, name, *operands)

    return run


def either(core: Handler, name: str) -> Handler:
    """An instruction on core registers and on vectors, such as `add`."""

    def run(machine: IntegerMachine, to: str, *rest: str) -> None:
        if to.startswith("v"):
            machine.lane_by_lane(name, to, *rest)
        else:
            core(machine, to, *rest)

    return run


_EACH = ("smax", "smin", "and", "eor", "sqrdmulh")
_NARROWING = tuple(
    name + half for name in ("xtn", "sqxtn", "sqxtun", "sqrshrn") for half in ("", "2")
)
_PRODUCTS = ("smull", "smull2", "smlal", "smlal2")
LINES: Mapping[str, Handler] = MappingProxyType(
    {
        **{n: _named(IntegerMachine.lane_by_lane, n) for n in _EACH},
        **{n: _named(IntegerMachine.byte_products, n) for n in _PRODUCTS},
        **{n: _named(IntegerMachine.lane_shift, n) for n in ("shl", "sshr")},
        **{n: _named(IntegerMachine.zipped, n) for n in ("zip1", "zip2")},
        **{n: _named(IntegerMachine.narrowed, n) for n in _NARROWING},
        **{n: _named(IntegerMachine.widened, n) for n in ("sxtl", "uxtl")},
        "sdot": IntegerMachine.dot,
        "tbl": IntegerMachine.looked_up,
        "sadalp": IntegerMachine.add_pairs,
        "mla": IntegerMachine.lane_multiply_add,
        "srshl": IntegerMachine.rounded_left,
        "ssra": IntegerMachine.add_shifted,
        "srshr": IntegerMachine.rounded_right,
    }
)
"""The method for each mnemonic, as in `Machine.handlers`."""
