"""Kernel IR to C99: for toolchains that cannot link an object file, and for reading.

The code needs <stddef.h> and <stdint.h> and nothing to link with, has no undefined behaviour for
any input, and compiles without a warning under -Wall -Wextra -pedantic. Integers and bits are those
of the other emitters; floats differ by what fusing a product and a sum changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never

import numpy as np

from ellc.codegen.kir.c_prelude import C_TYPES, Prelude
from ellc.codegen.kir.interp import literal
from ellc.codegen.kir.ir import (
    For,
    If,
    Imm,
    Kernel,
    Let,
    Load,
    Operand,
    Param,
    Prefetch,
    Stmt,
    Store,
    Var,
)
from ellc.codegen.kir.live import live_values, used_names
from ellc.codegen.kir.ops import ELEM_CODES, OPS, OpRow
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.kir.verify import verify
from ellc.codegen.languages.foreign_text import CCode
from ellc.codegen.machine.target import Target

LINE_LENGTH = 100


def c_kernels(kernels: Iterable[Kernel], target: Target, *, static: bool = True) -> CCode:
    """Helpers and one function for each kernel, as one C file.

    The functions are `void NAME(const T0 *restrict p0, ..., ptrdiff_t begin, ptrdiff_t end)` with
    the kernel's parameters in order; those that may be one buffer are not `restrict`. `static` is
    for a file that also holds their callers. C is the same for all targets: kernels were already
    written for one. Raises `InternalError` for a kernel that `verify` rejects.
    """
    prelude = Prelude()
    functions = [_Function(kernel, prelude).text(static) for kernel in kernels]
    return CCode("\n".join([prelude.text(), *functions]))  # `verify` has looked at every name


class _Function:
    """Emits one kernel."""

    def __init__(self, kernel: Kernel, prelude: Prelude) -> None:
        verify(kernel)
        self._kernel = kernel
        self._bounds = (kernel.begin.name, kernel.end.name)
        self._prelude = prelude
        self._live = live_values(kernel)
        self._names: dict[str, str] = {}
        self._lines: list[str] = []
        self._depth = 1

    def text(self, static: bool) -> str:
        """The whole definition."""
        used = used_names(self._kernel, self._live)
        names = [*(p.name for p in self._kernel.params), *self._bounds]
        for name in names:
            if name not in used:
                self._put(f"(void){name};")
        self._body(self._kernel.body)
        return "\n".join([self._head(static), "{", *self._lines, "}", ""])

    def _head(self, static: bool) -> str:
        aliased = {name for pair in self._kernel.in_place for name in pair}
        params = [self._param(p, p.name in aliased) for p in self._kernel.params]
        params += [f"ptrdiff_t {name}" for name in self._bounds]
        start = f"{'static ' if static else ''}void {self._kernel.name}("
        line = f"{start}{', '.join(params)})"
        if len(line) <= LINE_LENGTH:
            return line
        return start + "\n    " + ",\n    ".join(params) + ")"

    def _param(self, param: Param, aliased: bool) -> str:
        constant = "" if param.writable else "const "
        return f"{constant}{C_TYPES[param.elem]} *{'' if aliased else 'restrict '}{param.name}"

    # --- statements --------------------------------------------------------------------------

    def _body(self, body: tuple[Stmt, ...]) -> None:
        for statement in body:
            match statement:
                case Let(result, _, _, _):
                    if result.name in self._live:
                        self._define(result, self._operation(statement))
                case Load(result, param, index, offset, _):
                    if result.name in self._live:
                        self._define(result, self._load(result.type, param, index, offset))
                case Store(value, param, index, offset, _):
                    self._store(value, param, index, offset)
                case Prefetch(param, index, offset):
                    place = _sum(self._value(index), offset)
                    what = f"({place}) * (ptrdiff_t)sizeof(*{param.name})"
                    self._put(self._prelude.need(f"ELLC_PREFETCH({param.name}, {what});"))
                case For():
                    self._for(statement)
                case If(condition, inner):
                    self._put(f"if ({self._value(condition)}) {{")
                    self._indented(inner)
                    self._put("}")
                case _:
                    assert_never(statement)

    def _for(self, loop: For) -> None:
        kept = [i for i, c in enumerate(loop.carried) if c.name in self._live]
        for i in kept:
            carried = loop.carried[i]
            self._put(f"{self._type(carried.type)} {carried.name} = {self._value(loop.inits[i])};")
        index = loop.index.name
        step = f"{index}++" if loop.step == 1 else f"{index} += {loop.step}"
        start, stop = self._value(loop.start), self._value(loop.stop)
        self._put(f"for (ptrdiff_t {index} = {start}; {index} < {stop}; {step}) {{")
        self._depth += 1
        self._body(loop.body)
        self._carry([(loop.carried[i], loop.yields[i]) for i in kept])
        self._depth -= 1
        self._put("}")
        for i in kept:
            self._names[loop.results[i].name] = loop.carried[i].name

    def _carry(self, pairs: list[tuple[Var, Operand]]) -> None:
        """Assign what the next turn sees, all at once: none may see another's new value."""
        carried = {c.name for c, _ in pairs}
        assigned: list[tuple[Var, str]] = []
        for target, value in pairs:
            text = self._value(value)
            if text == target.name:
                continue
            if text in carried:
                self._put(f"const {self._type(target.type)} {target.name}_next = {text};")
                text = f"{target.name}_next"
            assigned.append((target, text))
        for target, text in assigned:
            self._put(f"{target.name} = {text};")

    def _indented(self, body: tuple[Stmt, ...]) -> None:
        self._depth += 1
        self._body(body)
        self._depth -= 1

    def _load(self, type_: VType, param: Param, index: Operand, offset: int) -> str:
        place = _sum(self._value(index), offset)
        if type_.lanes == 1:
            return f"{param.name}[{place}]"
        return f"{self._prelude.load(type_)}({_pointer(param, place)})"

    def _store(self, value: Operand, param: Param, index: Operand, offset: int) -> None:
        place = _sum(self._value(index), offset)
        if value.type.lanes == 1:
            self._put(f"{param.name}[{place}] = {self._value(value)};")
        else:
            store = self._prelude.store(value.type)
            self._put(f"{store}({_pointer(param, place)}, {self._value(value)});")

    # --- operations ----------------------------------------------------------------------------

    def _operation(self, let: Let) -> str:
        row, result = OPS[let.op], let.result.type
        args = [self._value(a) for a in let.args]
        match let.op, let.attrs:
            case "convert", (code,):
                convert = self._prelude.convert(let.args[0].type, ELEM_CODES[code])
                return f"{convert}{args[0]}" if convert[0] == "(" else f"{convert}({args[0]})"
            case "bitcast", (code,):
                return f"{self._prelude.bitcast(let.args[0].type, ELEM_CODES[code])}({args[0]})"
            case "splat", _:
                return self._splat(args[0], result)
            case (("splat_lane" | "lane"), (lane, *_)):
                return self._splat(self._lane(let.args[0], lane), result)
            case "part", (start, _):
                return self._part(let.args[0], start, result)
            case "join", _:
                join = self._prelude.join(let.args[0].type, let.args[1].type)
                return f"{join}({', '.join(args)})"
            case "pick", _:
                pick = self._prelude.pick(let.args[0].type, let.args[1].type)
                return f"{pick}({', '.join(args)})"
            case "iota", _:
                return self._iota(result)
            case "pack_bits", _:
                return f"{self._prelude.pack_bits(let.args[0].type)}({args[0]})"
            case "largest", _:
                many = let.args[0].type
                return args[0] if many.lanes == 1 else f"{self._prelude.largest(many)}({args[0]})"
        if result.lanes == 1:
            lanes = [
                t for a, v in zip(let.args, args, strict=True) for t in _pair(a, result, v, "0")
            ]
            return self._prelude.need(_expression(row, let, lanes))
        return f"{self._lanewise(row, let)}({', '.join([*args, *map(str, let.attrs)])})"

    def _lanewise(self, row: OpRow, let: Let) -> str:
        """The helper that applies a row's expression to every lane."""
        names = "abc"[: len(let.args)]
        lanes = [
            text
            for n, a in zip(names, let.args, strict=True)
            for text in _pair(a, let.result.type, n, "i")
        ]
        params = [f"{self._type(a.type)} {n}" for n, a in zip(names, let.args, strict=True)]
        params += ["int n"] * len(let.attrs)
        # Comparisons are named by what they compare, choices by what they choose from.
        subject = let.args[-1].type
        suffix = "_by_one" if let.op == "select" and let.args[0].type.lanes == 1 else ""
        return self._prelude.lanewise(
            let.result.type,
            f"{subject}_{let.op}{suffix}",
            ", ".join(params),
            _expression(row, let, lanes, "n"),
        )

    def _splat(self, scalar: str, result: VType) -> str:
        return scalar if result.lanes == 1 else f"{self._prelude.splat(result)}({scalar})"

    def _lane(self, operand: Operand, lane: int) -> str:
        if isinstance(operand, Imm):
            return self._scalar_literal(operand)
        value = self._value(operand)
        return value if operand.type.lanes == 1 else f"{value}.l[{lane}]"

    def _part(self, operand: Operand, start: int, result: VType) -> str:
        if result.lanes == 1:
            return self._lane(operand, start)
        return f"{self._prelude.part(result, operand.type)}({self._value(operand)}, {start})"

    def _iota(self, result: VType) -> str:
        one = result.with_lanes(1)
        values = [Imm(float(i) if one.elem.is_float else i, one) for i in range(result.lanes)]
        lanes = ", ".join(self._scalar_literal(v) for v in values)
        return lanes if result.lanes == 1 else f"({self._type(result)}){{{{{lanes}}}}}"

    # --- text ----------------------------------------------------------------------------------

    def _define(self, var: Var, expression: str) -> None:
        self._put(f"const {self._type(var.type)} {var.name} = {expression};")

    def _put(self, line: str) -> None:
        self._lines.append("    " * self._depth + line)

    def _type(self, type_: VType) -> str:
        return self._prelude.type(type_)

    def _value(self, operand: Operand) -> str:
        if isinstance(operand, Var):
            return self._names.get(operand.name, operand.name)
        scalar = self._scalar_literal(operand)
        if operand.type.lanes > 1 and scalar.startswith("(-"):
            scalar = scalar[1:-1]  # an argument needs no parentheses
        return self._splat(scalar, operand.type)

    def _scalar_literal(self, imm: Imm) -> str:
        one = imm.type.with_lanes(1)
        value = literal(Imm(imm.value, one))[0]
        if not one.elem.is_float:
            return integer_literal(int(value), one.elem)
        if np.isfinite(value):
            return float_literal(value)
        bits = Elem.U32 if one.elem is Elem.F32 else Elem.U64
        pattern = int(literal(Imm(imm.value, one)).view(bits.numpy)[0])
        return f"{self._prelude.bitcast(VType(bits), one.elem)}({integer_literal(pattern, bits)})"


def _pair(operand: Operand, result: VType, value: str, lane: str) -> list[str]:
    """What a lane of the result is made of: a lane of the operand, or two where it has twice."""
    if operand.type.lanes == 1:
        return [value]
    if operand.type.lanes != 2 * result.lanes:
        return [f"{value}.l[{lane}]"]
    first = "0" if lane == "0" else f"2 * {lane}"
    return [f"{value}.l[{first}]", f"{value}.l[{'1' if lane == '0' else first + ' + 1'}]"]


def _expression(row: OpRow, let: Let, args: list[str], amount: str = "") -> str:
    """One lane of an operation of which the row has a C spelling."""
    elem = let.args[-1].type.elem
    text = row.c
    if elem.is_float:
        text = row.c_float or row.c
    elif elem not in (Elem.INDEX, Elem.MASK):
        text = row.c_int or row.c
    fixed = elem not in (Elem.INDEX, Elem.MASK)
    twin = Elem(f"u{elem.bytes * 8}") if fixed else elem
    return text.format(
        *args,
        c=C_TYPES[let.result.type.elem],
        u="uint64_t" if fixed and elem.bytes == 8 else "uint32_t",
        e=elem.value,
        w=twin.value,
        v=C_TYPES[twin],
        n=amount or (str(let.attrs[0]) if let.attrs else ""),
    )


def integer_literal(value: int, elem: Elem) -> str:
    """A C literal of this value; a negative one has parentheses."""
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
    """The shortest decimal literal that C reads back as this finite number."""
    text = str(value)
    if "." not in text and "e" not in text:
        text += ".0"
    text += "f" if value.dtype == np.float32 else ""
    return f"({text})" if text[0] == "-" else text


def _sum(index: str, offset: int) -> str:
    """`index + offset` without zeros."""
    if index == "0":
        return str(offset)
    if offset == 0:
        return index
    return f"{index} {'+' if offset > 0 else '-'} {abs(offset)}"


def _pointer(param: Param, place: str) -> str:
    return param.name if place == "0" else f"{param.name} + {place}"
