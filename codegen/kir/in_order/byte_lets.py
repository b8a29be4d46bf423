"""Translates statements on vectors of bytes and 16-bit integers: counts of bits, and sums."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from ellc.codegen.kir.dataflow import registers_read
from ellc.codegen.kir.in_order.affine import Writer
from ellc.codegen.kir.in_order.code import Access, Reg, Unsupported
from ellc.codegen.kir.ir import For, Imm, Let, Load, Operand, Param, Var, walk
from ellc.codegen.kir.types import Elem, VType

_F32X4, _U8X16, _U16X8 = VType(Elem.F32, 4), VType(Elem.U8, 16), VType(Elem.U16, 8)
VECTORS = (_F32X4, _U8X16, _U16X8)
"""The types of values that fill a vector register."""
ELEMENTS = tuple(type_.elem for type_ in VECTORS)
HALF = VType(Elem.U8, 8)
"""Bytes that are only loaded, and joined with others to a vector."""


def joined(loop: For) -> frozenset[str]:
    """The names of such bytes: those that are loaded in a nest and are only halves of vectors."""
    loads, halves, whole = set[str](), set[str](), set[str]()
    for statement in walk((loop,)):
        match statement:
            case Load(result, _, _, _, _) if result.type == HALF:
                loads.add(result.name)
            case Let(_, "join", args, _):
                halves |= {arg.name for arg in args if isinstance(arg, Var)}
            case _:
                whole |= {v.name for v in registers_read(statement)}
    return frozenset(loads & halves - whole)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two registers whose lanes are one value of kernel IR."""

    low: Reg
    high: Reg


@dataclass(frozen=True, slots=True)
class HalfLoad:
    """Where in memory 8 bytes are. The buffer is one that the nest does not write."""

    param: Param
    index: Operand
    offset: int


class Registers(Protocol):
    """What the translation of other statements knows."""

    def vector(self, operand: Operand) -> Reg:
        """A register that contains a vector."""

    def place(self, *operands: Operand) -> Reg:
        """The register for a result."""

    def value_of(self, operand: Var) -> object:
        """What is known of a value."""

    def address(
        self, param: Param, index: Operand, offset: int, stores: bool
    ) -> tuple[Reg, tuple[int, Access]]:
        """A pointer, and a displacement with the description of the access."""


class ByteLets:
    """Translates statements whose results are vectors of bytes or of 16-bit integers."""

    def __init__(self, writer: Writer, registers: Registers) -> None:
        self._writer, self._registers = writer, registers

    def value(self, let: Let) -> Reg | Pair:
        """Write a statement. Returns its result."""
        registers = self._registers
        match let.op, let.args:
            case "join", (Var() as low, Var() as high) if low.type == high.type == _U8X16:
                return Pair(registers.vector(low), registers.vector(high))
            case "join", (Var() as low, Var() as high) if low.type == high.type == _U16X8:
                return Pair(registers.vector(low), registers.vector(high))
            case "join", (Var() as low, high) if low.type == high.type == HALF:
                return self._loaded(low, high)
            case "pair_sums", (Var() as pair,):
                both = registers.value_of(pair)
                if isinstance(both, Pair) and let.result.type in VECTORS:
                    return self._written("pair_sums", let.result.type, both.low, both.high)
            case "add_pairs", (Imm(value=0), Var() as narrow) if let.result.type == _U16X8:
                return self._written("add_pairs", _U8X16, registers.vector(narrow))
            case ("xor" | "popcount" | "add") as name, args if let.result.type in VECTORS:
                reads = [registers.vector(arg) for arg in args]
                return self._written(name, let.result.type, *reads, to=registers.place(*args))
        raise Unsupported(f"{let.op} of {let.result.type}")

    def _written(self, name: str, type_: VType, *reads: Reg, to: Reg | None = None) -> Reg:
        out = to or self._writer.new("v")
        self._writer.emit(self._writer.encoding.on_bytes(name, type_.elem.bytes, out, *reads))
        return out

    def _loaded(self, low: Var, high: Operand) -> Reg:
        """A vector of two halves in memory; the second one may be zeros."""
        encoding, out = self._writer.encoding, self._writer.new("v")
        base, at, access = self._half(low)
        self._writer.emit(encoding.half_load(out, 0, base, at, access))
        if isinstance(high, Imm):
            if high.value:
                raise Unsupported("a literal behind half a vector")
            return out
        through = self._writer.new(encoding.halves)
        base, at, access = self._half(high)
        self._writer.emit(encoding.core_load(through, base, at, access))
        self._writer.emit(encoding.insertion(out, 1, through))
        return out

    def _half(self, operand: Operand) -> tuple[Reg, int, Access]:
        load = self._registers.value_of(operand) if isinstance(operand, Var) else None
        if not isinstance(load, HalfLoad) or load.param.writable:
            raise Unsupported("half a vector that is not in constant memory")
        found = self._registers.address(load.param, load.index, load.offset, False)
        pointer, (displacement, access) = found
        return pointer, displacement, replace(access, bytes=HALF.lanes)
