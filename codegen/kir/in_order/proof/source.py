"""Runs statements of kernel IR on symbols."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from ellc.codegen.kir.in_order.byte_lets import HALF, VECTORS
from ellc.codegen.kir.in_order.integers import takes
from ellc.codegen.kir.in_order.proof.source_integers import (
    SourceIntegers,
    is_integers,
    loaded,
)
from ellc.codegen.kir.in_order.proof.symbols import (
    UNKNOWN,
    Lanes,
    Linear,
    Memory,
    Symbols,
    Unproved,
    literal_lanes,
)
from ellc.codegen.kir.ir import Imm, Let, Load, Operand, Param, Prefetch, Stmt, Store, Var
from ellc.codegen.kir.types import INDEX, Elem, VType

_F32X4, _U16X8 = VType(Elem.F32, 4), VType(Elem.U16, 8)
_HALF_WORDS = HALF.lanes // 4
_ZEROS = Imm(0, _U16X8)
_BINARY: Mapping[str, str] = {n: n for n in ("add", "sub", "mul", "min", "max")}


class Source:
    """The values of kernel IR, by name."""

    def __init__(self, symbols: Symbols, memory: Memory, params: Mapping[str, Linear]) -> None:
        self._symbols, self.memory, self._params = symbols, memory, params
        self.values: dict[str, Linear | tuple[int, ...]] = {}
        self._integers = SourceIntegers(symbols, self.lanes)

    def run(self, statement: Stmt) -> None:
        """Run a statement that contains no others."""
        match statement:
            case Let(result, _, _, _) if result.type == INDEX:
                self.values[result.name] = self._index(statement)
            case Let(result, _, _, _) if result.type == _F32X4:
                self.values[result.name] = self._vector(statement)
            case Let() if takes(statement):
                found = self._integers.run(statement)
                if found is not None:
                    self.values[statement.result.name] = found
            case Let(result, _, _, _):
                self.values[result.name] = self._on_bytes(statement)
            case Load(result, param, index, offset, _) if result.type in (*VECTORS, HALF):
                at, size = self._address(param, index, offset), result.type.lanes * param.elem.bytes
                self.values[result.name] = tuple(
                    self._symbols.element(self.memory, at.shifted(k)) for k in range(0, size, 4)
                )
            case Store(value, param, index, offset, _) if value.type in VECTORS:
                self.memory.store(self._address(param, index, offset), self.lanes(value))
            case Load(result, param, index, offset, _) if result.type == VType(Elem.I32):
                at = self._address(param, index, offset)
                word = self._symbols.element(self.memory, at)
                self.values[result.name] = Linear(((word, 1),))
            case Load(result, param, index, offset, _) if is_integers(result.type):
                at = self._address(param, index, offset)
                words = loaded(self._symbols, self.memory, at, result.type)
                self.values[result.name] = words
            case Store(value, param, index, offset, _) if is_integers(value.type):
                count = value.type.elem.bytes * value.type.lanes // 4
                at = self._address(param, index, offset)
                self.memory.store(at, self.lanes(value)[:count])
            case Prefetch():
                pass
            case _:
                raise Unproved(f"the source contains {statement}")

    def integer(self, operand: Operand) -> Linear:
        """An index."""
        if isinstance(operand, Imm):
            return Linear((), int(operand.value))
        value = self.values[operand.name]
        if not isinstance(value, Linear):
            raise Unproved(f"{operand.name} is no index")
        return value

    def lanes(self, operand: Operand) -> Lanes:
        """A vector."""
        if isinstance(operand, Imm) and not operand.type.elem.is_float:
            return self._integers.literal(operand)
        if isinstance(operand, Imm):
            (bits,) = struct.unpack("<I", struct.pack("<f", operand.value))
            return literal_lanes(self._symbols, bits)
        words = self._words(operand)
        a, b, c, d = (*words, UNKNOWN, UNKNOWN) if len(words) == _HALF_WORDS else words
        return (a, b, c, d)

    def _words(self, operand: Operand) -> tuple[int, ...]:
        """The groups of 4 bytes in a vector of any size."""
        if isinstance(operand, Imm):
            return self.lanes(operand)[: operand.type.lanes * operand.type.elem.bytes // 4]
        value = self.values[operand.name]
        if isinstance(value, Linear):
            raise Unproved(f"{operand.name} is no vector")
        return value

    def value(self, operand: Operand) -> Linear | Lanes:
        """An index or a vector."""
        return self.integer(operand) if operand.type == INDEX else self.lanes(operand)

    def element_address(self, param: str, index: Linear, elem: Elem = Elem.F32) -> Linear:
        """The address of an element of a parameter."""
        return self._params[param].plus(index, elem.bytes)

    def _address(self, param: Param, index: Operand, offset: int) -> Linear:
        at = self.integer(index).plus(Linear((), offset))
        return self.element_address(param.name, at, param.elem)

    def _index(self, let: Let) -> Linear:
        if let.op in ("opaque", "convert"):
            return self.integer(let.args[0])
        a, b = (self.integer(arg) for arg in let.args)
        match let.op:
            case "add":
                return a.plus(b)
            case "sub":
                return a.plus(b, -1)
            case "mul":
                return self._symbols.product(a, b)
            case "div":
                return self._symbols.quotient(a, b)
            case "rem":
                whole = self._symbols.product(self._symbols.quotient(a, b), b)
                return a.plus(whole, -1)
            case "min" | "max":
                return self._symbols.integer(let.op, a, b)
        raise Unproved(f"{let.op} of an index")

    def _vector(self, let: Let) -> Lanes:
        match let.op, let.args, let.attrs:
            case "splat_lane", (Var() as vector,), (lane, 4):
                return (self.lanes(vector)[lane],) * 4
            case "mul_add", (a, b, total), ():
                return fused(self._symbols, self.lanes(total), self.lanes(a), self.lanes(b))
            case op, (a, b), () if op in _BINARY:
                return self._symbols.each(op, self.lanes(a), self.lanes(b))
        raise Unproved(f"the source contains {let.op}")

    def _on_bytes(self, let: Let) -> tuple[int, ...]:
        """The result of a statement on integers of 1 or 2 bytes, 4 bytes at a time."""
        operands = [self._words(arg) for arg in let.args]
        match let.op, operands:
            case "join", [low, high]:
                count = let.args[0].type.lanes * let.args[0].type.elem.bytes // 4
                return (*low[:count], *high[:count])
            case "pair_sums", [both] if len(both) == 8:
                return pair_sums(self._symbols, let.result.type.elem.bytes, both)
            case "add_pairs", [_, narrow] if let.result.type == _U16X8 and let.args[0] == _ZEROS:
                return tuple(self._symbols.of("wide_pairs", word) for word in narrow)
            case ("xor" | "popcount" | "add") as name, _ if let.result.type in VECTORS:
                what = on_bytes(name, let.result.type.elem.bytes)
                return tuple(
                    self._symbols.of(what, *words) for words in zip(*operands, strict=True)
                )
        raise Unproved(f"the source contains {let.op}")


def on_bytes(name: str, element_bytes: int) -> str:
    """What an operation does with 4 bytes; only sums depend on the size of elements."""
    return f"{name} of {element_bytes}" if name == "add" else name


def pair_sums(symbols: Symbols, element_bytes: int, words: tuple[int, ...]) -> Lanes:
    """Sums of neighbouring elements of two vectors: each pair of words becomes one."""
    a, b, c, d = (
        symbols.of(f"pair_sums of {element_bytes}", *words[k : k + 2]) for k in range(0, 8, 2)
    )
    return (a, b, c, d)


def fused(symbols: Symbols, total: Lanes, a: Lanes, b: Lanes) -> Lanes:
    """Multiply-adds, whose factors may change places."""
    w, x, y, z = (
        symbols.of("fma", t, min(m, n), max(m, n)) for t, m, n in zip(total, a, b, strict=True)
    )
    return (w, x, y, z)
