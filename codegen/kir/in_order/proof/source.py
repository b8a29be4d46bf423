"""Runs statements of kernel IR on symbols."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from ellc.codegen.kir.in_order.proof.symbols import (
    Lanes,
    Linear,
    Memory,
    Symbols,
    Unproved,
    literal_lanes,
)
from ellc.codegen.kir.ir import Imm, Let, Load, Operand, Param, Prefetch, Stmt, Store, Var
from ellc.codegen.kir.types import INDEX, Elem, VType

_F32X4 = VType(Elem.F32, 4)
_BINARY: Mapping[str, str] = {n: n for n in ("add", "sub", "mul", "min", "max")}


class Source:
    """The values of kernel IR, by name."""

    def __init__(self, symbols: Symbols, memory: Memory, params: Mapping[str, Linear]) -> None:
        self._symbols, self.memory, self._params = symbols, memory, params
        self.values: dict[str, Linear | Lanes] = {}

    def run(self, statement: Stmt) -> None:
        """Run a statement that contains no others."""
        match statement:
            case Let(result, _, _, _) if result.type == INDEX:
                self.values[result.name] = self._index(statement)
            case Let(result, _, _, _) if result.type == _F32X4:
                self.values[result.name] = self._vector(statement)
            case Load(result, param, index, offset, _) if result.type == _F32X4:
                at = self._address(param, index, offset)
                a, b, c, d = (
                    self._symbols.element(self.memory, at.shifted(4 * k)) for k in range(4)
                )
                self.values[result.name] = (a, b, c, d)
            case Store(value, param, index, offset, _) if value.type == _F32X4:
                self.memory.store(self._address(param, index, offset), self.lanes(value))
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
        if isinstance(operand, Imm):
            (bits,) = struct.unpack("<I", struct.pack("<f", operand.value))
            return literal_lanes(self._symbols, bits)
        value = self.values[operand.name]
        if isinstance(value, Linear):
            raise Unproved(f"{operand.name} is no vector")
        return value

    def value(self, operand: Operand) -> Linear | Lanes:
        """An index or a vector."""
        return self.integer(operand) if operand.type == INDEX else self.lanes(operand)

    def element_address(self, param: str, index: Linear) -> Linear:
        """The address of an element of a parameter."""
        return self._params[param].plus(index, Elem.F32.bytes)

    def _address(self, param: Param, index: Operand, offset: int) -> Linear:
        if param.elem is not Elem.F32:
            raise Unproved(f"elements of type {param.elem}")
        return self.element_address(param.name, self.integer(index).plus(Linear((), offset)))

    def _index(self, let: Let) -> Linear:
        if let.op == "opaque":
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


def fused(symbols: Symbols, total: Lanes, a: Lanes, b: Lanes) -> Lanes:
    """Multiply-adds, whose factors may change places."""
    w, x, y, z = (
        symbols.of("fma", t, min(m, n), max(m, n)) for t, m, n in zip(total, a, b, strict=True)
    )
    return (w, x, y, z)
