"""Writes the lines of a C function, with values, literals and types as C text."""

from __future__ import annotations

from typing import Any

import numpy as np

from ellc.codegen.kir.c_prelude import Prelude
from ellc.codegen.kir.interp import literal
from ellc.codegen.kir.ir import Imm, Operand, Var
from ellc.codegen.kir.types import Elem, VType


class CWriter:
    """Appends the lines of a function.

    `names` maps a register of the kernel to its C name if the two differ.
    """

    def __init__(self, prelude: Prelude) -> None:
        self.prelude = prelude
        self.names: dict[str, str] = {}
        self.lines: list[str] = []
        self.depth = 1

    def append_line(self, line: str) -> None:
        """Append a line, indented by the current depth."""
        self.lines.append("    " * self.depth + line)

    def type(self, type_: VType) -> str:
        """The C type of a value."""
        return self.prelude.type(type_)

    def value(self, operand: Operand) -> str:
        """The C expression of an operand."""
        if isinstance(operand, Var):
            return self.names.get(operand.name, operand.name)
        scalar = self.scalar_literal(operand)
        if operand.type.lanes > 1 and scalar.startswith("(-"):
            scalar = scalar[1:-1]  # an argument needs no parentheses
        return self.splat(scalar, operand.type)

    def splat(self, scalar: str, result: VType) -> str:
        """The expression of a vector with a scalar expression in every lane."""
        return scalar if result.lanes == 1 else f"{self.prelude.splat(result)}({scalar})"

    def lane(self, operand: Operand, lane: int) -> str:
        """The expression of one lane of an operand."""
        if isinstance(operand, Imm):
            return self.scalar_literal(operand)
        value = self.value(operand)
        return value if operand.type.lanes == 1 else f"{value}.l[{lane}]"

    def scalar_literal(self, imm: Imm) -> str:
        """The C literal for a lane of `imm`."""
        elem = imm.type.elem
        return self.prelude.once((elem, imm.text), lambda: self._literal(imm))

    def _literal(self, imm: Imm) -> str:
        one = imm.type.with_lanes(1)
        value = literal(Imm(imm.value, one))[0]
        if not one.elem.is_float:
            return integer_literal(int(value), one.elem)
        if np.isfinite(value):
            return float_literal(value)
        bits = Elem.U32 if one.elem is Elem.F32 else Elem.U64
        pattern = int(literal(Imm(imm.value, one)).view(bits.numpy)[0])
        return f"{self.prelude.bitcast(VType(bits), one.elem)}({integer_literal(pattern, bits)})"


def integer_literal(value: int, elem: Elem) -> str:
    """The C literal of this value. A negative literal has parentheses."""
    match elem:
        case Elem.U32:
            return f"{value}u"
        case Elem.U64:
            return f"UINT64_C({value})"
        case Elem.I64:
            text = f"INT64_C({abs(value)})"
            lowest = "(-INT64_C(9223372036854775807) - 1)"
        case _:
            text, lowest = str(abs(value)), "(-2147483647 - 1)"
    if elem in (Elem.I32, Elem.I64) and value == -(1 << (elem.bytes * 8 - 1)):
        return lowest
    return f"(-{text})" if value < 0 else text


def float_literal(value: np.floating[Any]) -> str:
    """The shortest decimal literal that a C compiler reads as exactly this finite number."""
    text = str(value)
    if "." not in text and "e" not in text:
        text += ".0"
    text += "f" if value.dtype == np.float32 else ""
    return f"({text})" if text[0] == "-" else text
