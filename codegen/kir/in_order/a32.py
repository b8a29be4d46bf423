"""The instructions of the 32-bit state, as ARM (not Thumb) code.

A multiply-add by lane is `vmla`, which rounds the product, as in LLVM's code for the same cores.
All multiply-adds do the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from ellc.codegen.kir.in_order.code import Access, Bank, Op, Reg, Unsupported, in_halves
from ellc.codegen.kir.in_order.encoding import Encoding, Half

_ARITHMETIC = {
    "add": ("vector_add", "vadd"),
    "sub": ("vector_add", "vsub"),
    "mul": ("vector_multiply", "vmul"),
    "max": ("vector_add", "vmax"),
    "min": ("vector_add", "vmin"),
}
_VECTOR_REACH = 1020
"""The largest displacement of a load or store of 8 bytes of a vector register."""
_PAIR_REACH = 255
"""The largest displacement of a load of two core registers."""
_WORD_REACH = 4095


@dataclass(frozen=True, slots=True)
class _Name:
    """A register: `r3`, `q3` or the pair `r4, r5`, and the halves `d6`, `d7` of `q3`."""

    bank: Bank
    number: int

    def __str__(self) -> str:
        match self.bank:
            case "x":
                return f"r{self.number}"
            case "p":
                return f"r{self.number}, r{self.number + 1}"
        return f"q{self.number}"

    @property
    def low(self) -> str:
        """The low half of a vector."""
        return f"d{2 * self.number}"

    @property
    def high(self) -> str:
        """Its high half."""
        return f"d{2 * self.number + 1}"


class A32(Encoding):
    """ARM code. r13 is the stack pointer, r14 the return address, r15 the program counter."""

    registers: ClassVar[Mapping[Bank, tuple[int, ...]]] = {
        "v": (*range(8, 16), *range(8)),
        "x": (1, 2, 3, 12, 8, 9, 10, 11),
        "p": (4, 6),
    }
    halves: ClassVar[Bank] = "p"
    half_registers = 2
    lane_registers = 8
    loads_halves_apart = True
    literals_by_lane = True
    offsets_are_rare = True
    split_reach = 1 << 8
    near = range(-_VECTOR_REACH, _VECTOR_REACH - 8)
    reach_bytes = 1 << 9
    stream_reach = _PAIR_REACH - 8

    def name(self, bank: Bank, number: int) -> object:
        return _Name(bank, number)

    def saves(self, used: set[tuple[Bank, int]]) -> tuple[str, ...]:
        core = {n for bank, n in used if bank == "x"}
        core |= {n + k for bank, n in used if bank == "p" for k in (0, 1)}
        halves = {2 * n + k for bank, n in used if bank == "v" for k in (0, 1)}
        kept = (f"r{n}" for n in range(4, 12) if n in core)
        return (*kept, *(f"d{n}" for n in range(8, 16) if n in halves))

    def timed(self, op: Op) -> Op:
        return in_halves(op)

    # --- integers --------------------------------------------------------------------------------

    def immediate(self, value: int) -> str:
        for shift in range(0, 32, 2):
            if value >= 0 and value == (value >> shift & 0xFF) << shift:
                return f"#{value}"
        return ""

    def constant(self, to: Reg, value: int) -> Iterator[Op]:
        if not -(1 << 31) <= value < 1 << 32:
            raise Unsupported("a number that is too large for a register")
        yield Op("constant", f"movw {{0}}, #{value & 0xFFFF}", (to,))
        if value & ~0xFFFF:
            yield Op("constant", f"movt {{0}}, #{value >> 16 & 0xFFFF}", (), (to,))

    def multiplied(self, to: Reg, a: Reg, b: Reg, plus: Reg) -> Op:
        return Op("multiply", "mla {0}, {1}, {2}, {3}", (to,), (), (a, b), (plus,))

    def subtracted(self, to: Reg, a: Reg, b: Reg, whole: Reg) -> Op:
        return Op("multiply", "mls {0}, {1}, {2}, {3}", (to,), (), (a, b), (whole,))

    def selected(self, to: Reg, a: Reg, b: Reg, which: Literal["min", "max"]) -> Op:
        other = "ge" if which == "min" else "le"
        text = f"cmp {{1}}, {{2}}\nmov {{0}}, {{1}}\nmov{other} {{0}}, {{2}}"
        return Op("select", text, (to,), (), (a, b))

    def branch(self, condition: str, label: str) -> Op:
        return Op("branch", f"b{condition} {label}")

    # --- memory ----------------------------------------------------------------------------------

    def word_slot(self, reg: Reg, at: int, *, stores: bool) -> Op:
        if at > _WORD_REACH:
            raise Unsupported("a frame that is too large")
        if stores:
            return Op("store", f"str {{0}}, [r0, #{at}]", late=(reg,))
        return Op("load", f"ldr {{0}}, [r0, #{at}]", (reg,))

    def vector_load(self, to: Reg, base: Reg | None, at: int, access: Access | None = None) -> Op:
        if base is None:
            return Op("vector_load", _both("vldr", "{0", "r0", at), (to,), access=access)
        text = _both("vldr", "{0", "{1}", at)
        return Op("vector_load", text, (to,), (), (base,), (), access)

    def vector_store(
        self, what: Reg, base: Reg | None, at: int, access: Access | None = None
    ) -> Op:
        if base is None:
            text = _both("vstr", "{0", "r0", at)
            return Op("vector_store", text, late=(what,), access=access)
        text = _both("vstr", "{1", "{0}", at)
        return Op("vector_store", text, (), (), (base,), (what,), access)

    def split_load(
        self, to: Reg, through: Reg, base: Reg | None, at: int, access: Access | None = None
    ) -> tuple[Op, ...]:
        reads, where = ((), "r0") if base is None else ((base,), "{1}")
        _within(at + 8, _PAIR_REACH)
        low = f"vldr {{0.low}}, [{where}, #{at}]"
        high = f"ldrd {{0}}, [{where}, #{at + 8}]"
        return (
            Op("half_load", low, (to,), (), reads, (), access, half=0),
            Op("load", high, (through,), (), reads, (), access),
            self.insertion(to, 1, through),
        )

    def whole_store(self, what: Reg, base: Reg, access: Access) -> Op:
        text = "vst1.32 {{{1.low}, {1.high}}}, [{0}]"
        return Op("whole_store", text, (), (), (base,), (what,), access)

    def prefetch(self, base: Reg, at: int, *, stores: bool = False) -> Iterator[Op]:
        if -_WORD_REACH <= at <= _WORD_REACH:
            text = f"{'pldw' if stores else 'pld'} [{{0}}, #{at}]"
            yield Op("prefetch", text, (), (), (base,))

    # --- vectors ---------------------------------------------------------------------------------

    def arithmetic(self, name: str, to: Reg, a: Reg, b: Reg) -> Op:
        kind, mnemonic = _ARITHMETIC[name]
        return Op(kind, f"{mnemonic}.f32 {{0}}, {{1}}, {{2}}", (to,), (), (a, b))

    def product(self, total: Reg, vector: Reg, other: Reg, lane: int | None) -> Op:
        factor = "{2}" if lane is None else _lane(2, lane)
        text = f"vmla.f32 {{0}}, {{1}}, {factor}"
        return Op("multiply_add", text, (), (total,), (vector, other), lane=lane)

    def product_by_lane(self, to: Reg, vector: Reg, other: Reg, lane: int) -> Op:
        text = f"vmul.f32 {{0}}, {{1}}, {_lane(2, lane)}"
        return Op("vector_multiply", text, (to,), (), (vector, other), lane=lane)

    def word_insertion(self, to: Reg, lane: int, word: Reg) -> Op:
        return Op("insert", f"vmov.32 {_lane(0, lane)}, {{1}}", (), (to,), (word,), half=lane // 2)

    def vector_move(self, to: Reg, source: Reg) -> Op:
        return Op("vector_move", "vmov {0}, {1}", (to,), (), (source,))

    def lane_splat(self, to: Reg, source: Reg, lane: int) -> Op:
        return Op("vector_move", f"vdup.32 {{0}}, {_lane(1, lane)}", (to,), (), (source,))

    def zero(self, to: Reg) -> Op:
        return Op("vector_move", "vmov.i32 {0}, #0", (to,))

    def number(self, reg: Reg, value: float) -> Op | None:
        mantissa, exponent = math.frexp(value)
        if not mantissa or not (32 * mantissa).is_integer() or exponent not in range(-2, 6):
            return None
        return Op("vector_move", f"vmov.f32 {{0}}, #{value}", (reg,))

    def word_splat(self, to: Reg, word: Reg) -> Op:
        return Op("vector_splat", "vdup.32 {0}, {1}", (to,), (), (word,))

    # --- loads in parts --------------------------------------------------------------------------

    def half_load(self, to: Reg, half: Half, base: Reg, at: int, access: Access) -> Op:
        text = f"vldr {{0.{_HALF[half]}}}, [{{1}}, #{_within(at, _VECTOR_REACH)}]"
        return Op("half_load", text, (), (to,), (base,), (), access, half=half)

    def core_load(self, to: Reg, base: Reg, at: int, access: Access) -> Op:
        text = f"ldrd {{0}}, [{{1}}, #{_within(at, _PAIR_REACH)}]"
        return Op("load", text, (to,), (), (base,), (), access)

    def insertion(self, to: Reg, half: Half, source: Reg) -> Op:
        return Op("insert", f"vmov {{0.{_HALF[half]}}}, {{1}}", (), (to,), (source,), half=half)


_HALF = ("low", "high")


def _lane(operand: int, lane: int) -> str:
    """A lane of an operand."""
    return f"{{{operand}.{_HALF[lane // 2]}}}[{lane % 2}]"


def _within(at: int, reach: int) -> int:
    if not -reach <= at <= reach:
        raise Unsupported("a displacement that has no encoding")
    return at


def _both(mnemonic: str, register: str, base: str, at: int) -> str:
    """The instructions that load or store both halves of a vector register."""
    _within(at, _VECTOR_REACH - 8)
    low, high = f"{register}.low}}", f"{register}.high}}"
    return f"{mnemonic} {low}, [{base}, #{at}]\n{mnemonic} {high}, [{base}, #{at + 8}]"
