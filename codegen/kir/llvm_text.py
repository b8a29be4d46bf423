"""Writing LLVM instructions: types, literals, registers, calls of intrinsics."""

from __future__ import annotations

import functools
import re
import struct

from ellc.codegen.kir.ir import Operand, Var
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.target import Target


@functools.cache
def scalar_type(elem: Elem, word_bits: int) -> str:
    """LLVM's name of an element type."""
    match elem:
        case Elem.F32:
            return "float"
        case Elem.F64:
            return "double"
        case Elem.MASK:
            return "i1"
        case Elem.INDEX:
            return f"i{word_bits}"
    return f"i{elem.bytes * 8}"


def float_literal(value: float, elem: Elem) -> str:
    """Exact hexadecimal literal; a float is written as the double of the same value."""
    if elem is Elem.F32:
        value = struct.unpack("<f", struct.pack("<f", value))[0]
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


class InstructionWriter:
    """Appends instructions to `lines`. `names` maps registers to LLVM names where they differ."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._lines: list[str] = []
        self._names: dict[str, str] = {}
        self._count = 0
        # Vectors by (value, first lane, lanes): what values were put together from, and what was
        # taken from them in this block. The same again would only have to be found out by LLVM.
        self._parts: dict[tuple[str, int, int], str] = {}
        self._slices: dict[tuple[str, int, int], str] = {}
        self.declarations: set[str] = set()
        self.helpers: set[str] = set()

    def call(self, name: str, result: VType, args: list[str], suffix: VType | None = None) -> str:
        """Call an overloaded intrinsic and declare it; `args` are typed operands."""
        full = f"{name}.{self._mangled(result)}"
        if suffix is not None:
            full += f".{self._mangled(suffix)}"
        types = ", ".join(
            re.sub(r" [^ ]+$", "", a) if "<" not in a else _vector_of(a) for a in args
        )
        self.declarations.add(f"declare {self._type(result)} {full}({types})")
        return self._let_text(f"call {self._type(result)} {full}({', '.join(args)})")

    def _let_text(self, text: str) -> str:
        name = self._temp()
        self._put(f"{name} = {text}")
        return name

    def _temp(self) -> str:
        self._count += 1
        return f"%.{self._count}"  # kernels have no such names

    def _put(self, line: str) -> None:
        self._lines.append(f"  {line}")

    def _type(self, type_: VType) -> str:
        scalar = scalar_type(type_.elem, self._target.word_bits)
        return scalar if type_.lanes == 1 else f"<{type_.lanes} x {scalar}>"

    def _mangled(self, type_: VType) -> str:
        bits = {Elem.INDEX: self._target.word_bits, Elem.MASK: 1}.get(type_.elem)
        bits = type_.elem.bytes * 8 if bits is None else bits
        scalar = f"{'f' if type_.elem.is_float else 'i'}{bits}"
        return scalar if type_.lanes == 1 else f"v{type_.lanes}{scalar}"

    def _typed(self, operand: Operand) -> str:
        return f"{self._type(operand.type)} {self._value(operand)}"

    def _value(self, operand: Operand) -> str:
        if isinstance(operand, Var):
            return self._names.get(operand.name, f"%{operand.name}")
        elem = operand.type.elem
        if elem.is_float:
            text = float_literal(float(operand.value), elem)
        elif elem is Elem.MASK:
            text = "true" if operand.value else "false"
        else:
            text = str(_signed(int(operand.value), elem))
        if operand.type.lanes == 1:
            return text
        return f"splat ({scalar_type(elem, self._target.word_bits)} {text})"


def _vector_of(typed: str) -> str:
    return typed[: typed.index(">") + 1]


def _signed(value: int, elem: Elem) -> int:
    """LLVM reads integers of either sign, but no wider than the type."""
    if elem is Elem.INDEX:
        return value
    bits = elem.bytes * 8
    return value - (1 << bits) if value >= 1 << (bits - 1) and not elem.is_signed else value
