"""The instructions of the 64-bit state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from ellc.codegen.kir.in_order.code import Access, Bank, Op, Reg, Unsupported
from ellc.codegen.kir.in_order.encoding import Encoding, Half

_ARITHMETIC = {
    "add": ("vector_add", "fadd"),
    "sub": ("vector_add", "fsub"),
    "mul": ("vector_multiply", "fmul"),
    "max": ("vector_add", "fmax"),
    "min": ("vector_add", "fmin"),
}
_ON_BYTES = {
    ("xor", 1): ("vector_logic", "eor {0}.16b, {1}.16b, {2}.16b"),
    ("popcount", 1): ("vector_logic", "cnt {0}.16b, {1}.16b"),
    ("add", 1): ("vector_logic", "add {0}.16b, {1}.16b, {2}.16b"),
    ("add", 2): ("vector_logic", "add {0}.8h, {1}.8h, {2}.8h"),
    ("pair_sums", 1): ("vector_pairs", "addp {0}.16b, {1}.16b, {2}.16b"),
    ("pair_sums", 2): ("vector_pairs", "addp {0}.8h, {1}.8h, {2}.8h"),
    ("add_pairs", 1): ("vector_pairs", "uaddlp {0}.8h, {1}.16b"),
}
"""By operation and size of elements the kind and the text of the instruction."""
_IMMEDIATE = 1 << 12
_LARGEST = 32760
"""The largest displacement of a load of 8 bytes, or of a prefetch."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A register: `x3` or `v3`, and the other names of its parts."""

    bank: Bank
    number: int

    def __str__(self) -> str:
        return f"{self.bank}{self.number}"

    @property
    def w(self) -> str:
        """The low 32 bits of a core register."""
        return f"w{self.number}"

    @property
    def q(self) -> str:
        """The whole vector."""
        return f"q{self.number}"

    @property
    def d(self) -> str:
        """Its low half."""
        return f"d{self.number}"

    @property
    def s(self) -> str:
        """Its low 32 bits."""
        return f"s{self.number}"


class A64(Encoding):
    """AArch64 code. x18 belongs to the operating system, x29 to debuggers, x30 is the return
    address."""

    registers: ClassVar[Mapping[Bank, tuple[int, ...]]] = {
        "v": (*range(8), *range(16, 32), *range(8, 16)),
        "x": (*range(1, 18), *range(19, 29)),
        "p": (),
    }
    halves: ClassVar[Bank] = "x"
    half_registers = 4
    lane_registers = 32
    loads_halves_apart = False
    has_integers = True
    offsets_are_rare = False
    split_reach = 0
    near = range(-256, 256)
    reach_bytes = 1 << 14
    stream_reach = 0

    def name(self, bank: Bank, number: int) -> object:
        return _Name(bank, number)

    def saves(self, used: set[tuple[Bank, int]]) -> tuple[str, ...]:
        core = (f"x{n}" for n in range(19, 29) if ("x", n) in used)
        return (*core, *(f"d{n}" for n in range(8, 16) if ("v", n) in used))

    def timed(self, op: Op) -> Op:
        return op

    # --- integers --------------------------------------------------------------------------------

    def immediate(self, value: int) -> str:
        if 0 <= value < _IMMEDIATE:
            return f"#{value}"
        if 0 <= value < _IMMEDIATE**2 and value % _IMMEDIATE == 0:
            return f"#{value // _IMMEDIATE}, lsl #12"
        return ""

    def constant(self, to: Reg, value: int) -> Iterator[Op]:
        negative = value < 0
        parts = [(value >> shift) & 0xFFFF for shift in (0, 16, 32, 48)]
        filler = 0xFFFF if negative else 0
        wanted = [i for i, part in enumerate(parts) if part != filler] or [0]
        first = wanted[0]
        word = parts[first] ^ filler
        text = f"mov{'n' if negative else 'z'} {{0}}, #{word}, lsl #{16 * first}"
        yield Op("constant", text, (to,))
        for i in wanted[1:]:
            yield Op("constant", f"movk {{0}}, #{parts[i]}, lsl #{16 * i}", (), (to,))

    def multiplied(self, to: Reg, a: Reg, b: Reg, plus: Reg) -> Op:
        return Op("multiply", "madd {0}, {1}, {2}, {3}", (to,), (), (a, b), (plus,))

    def subtracted(self, to: Reg, a: Reg, b: Reg, whole: Reg) -> Op:
        return Op("multiply", "msub {0}, {1}, {2}, {3}", (to,), (), (a, b), (whole,))

    def selected(self, to: Reg, a: Reg, b: Reg, which: Literal["min", "max"]) -> Op:
        condition = "lt" if which == "min" else "gt"
        text = f"cmp {{1}}, {{2}}\ncsel {{0}}, {{1}}, {{2}}, {condition}"
        return Op("select", text, (to,), (), (a, b))

    def branch(self, condition: str, label: str) -> Op:
        return Op("branch", f"b.{condition} {label}")

    # --- memory ----------------------------------------------------------------------------------

    def word_slot(self, reg: Reg, at: int, *, stores: bool) -> Op:
        if stores:
            return Op("store", f"str {{0}}, [x0, #{at}]", late=(reg,))
        return Op("load", f"ldr {{0}}, [x0, #{at}]", (reg,))

    def vector_load(self, to: Reg, base: Reg | None, at: int, access: Access | None = None) -> Op:
        if base is None:
            return Op("vector_load", f"ldr {{0.q}}, [x0, #{at}]", (to,), access=access)
        text = f"ldr {{0.q}}, [{{1}}, #{at}]"
        return Op("vector_load", text, (to,), (), (base,), (), access)

    def vector_store(
        self, what: Reg, base: Reg | None, at: int, access: Access | None = None
    ) -> Op:
        if base is None:
            text = f"str {{0.q}}, [x0, #{at}]"
            return Op("vector_store", text, late=(what,), access=access)
        text = f"str {{1.q}}, [{{0}}, #{at}]"
        return Op("vector_store", text, (), (), (base,), (what,), access)

    def prefetch(self, base: Reg, at: int, *, stores: bool = False) -> Iterator[Op]:
        if -self.near.stop <= at < self.near.stop or (at % 8 == 0 and 0 <= at <= _LARGEST):
            text = f"prfm {'pst' if stores else 'pld'}l1keep, [{{0}}, #{at}]"
            yield Op("prefetch", text, (), (), (base,))

    # --- vectors ---------------------------------------------------------------------------------

    def arithmetic(self, name: str, to: Reg, a: Reg, b: Reg) -> Op:
        kind, mnemonic = _ARITHMETIC[name]
        return Op(kind, f"{mnemonic} {{0}}.4s, {{1}}.4s, {{2}}.4s", (to,), (), (a, b))

    def product(self, total: Reg, vector: Reg, other: Reg, lane: int | None) -> Op:
        suffix = ".4s" if lane is None else f".s[{lane}]"
        text = f"fmla {{0}}.4s, {{1}}.4s, {{2}}{suffix}"
        return Op("multiply_add", text, (), (total,), (vector, other), lane=lane)

    def on_bytes(self, name: str, element_bytes: int, to: Reg, *reads: Reg) -> Op:
        known = _ON_BYTES.get((name, element_bytes))
        if known is None:
            raise Unsupported(f"{name} of integers of {element_bytes} bytes")
        kind, text = known
        return Op(kind, text, (to,), (), reads)

    def vector_move(self, to: Reg, source: Reg) -> Op:
        return Op("vector_move", "mov {0}.16b, {1}.16b", (to,), (), (source,))

    def lane_splat(self, to: Reg, source: Reg, lane: int) -> Op:
        return Op("vector_move", f"dup {{0}}.4s, {{1}}.s[{lane}]", (to,), (), (source,))

    def zero(self, to: Reg) -> Op:
        return Op("vector_move", "movi {0}.4s, #0", (to,))

    def number(self, reg: Reg, value: float) -> Op | None:
        return None

    def word_splat(self, to: Reg, word: Reg) -> Op:
        return Op("vector_splat", "dup {0}.4s, {1.w}", (to,), (), (word,))

    # --- loads in parts --------------------------------------------------------------------------

    def split_load(
        self, to: Reg, through: Reg, base: Reg | None, at: int, access: Access | None = None
    ) -> tuple[Op, ...]:
        if base is None or access is None:
            raise Unsupported("a load in parts from the frame")
        low = replace(access, bytes=8)
        high = replace(access, start=access.start + 8, bytes=8)
        return (
            self.half_load(to, 0, base, at, low),
            self.core_load(through, base, at + 8, high),
            self.insertion(to, 1, through),
        )

    def half_load(self, to: Reg, half: Half, base: Reg, at: int, access: Access) -> Op:
        if half:
            raise Unsupported("a load of a high half")
        text = f"ldr {{0.d}}, [{{1}}, #{_half_at(at)}]"
        return Op("half_load", text, (to,), (), (base,), (), access)

    def core_load(self, to: Reg, base: Reg, at: int, access: Access) -> Op:
        text = f"ldr {{0}}, [{{1}}, #{_half_at(at)}]"
        return Op("load", text, (to,), (), (base,), (), access)

    def insertion(self, to: Reg, half: Half, source: Reg) -> Op:
        return Op("insert", f"ins {{0}}.d[{half}], {{1}}", (), (to,), (source,))


class A64Beside(A64):
    """The same code for cores on which parts of loads issue beside multiply-adds."""

    loads_beside = True
    half_registers = 10


def _half_at(at: int) -> int:
    """A displacement that a load of 8 bytes can have."""
    if not (at in A64.near or (at % 8 == 0 and 0 <= at <= _LARGEST)):
        raise Unsupported("a displacement that has no encoding")
    return at
