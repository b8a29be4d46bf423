"""The rules that every kernel must obey, such as operand types, alignment, single assignment."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import assert_never

from ellc.codegen.kir.dataflow import inputs
from ellc.codegen.kir.instructions.row import Instruction
from ellc.codegen.kir.ir import (
    Assembled,
    AssemblyFunction,
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
    walk,
)
from ellc.codegen.kir.operations import OPERATIONS
from ellc.codegen.kir.ops import ELEM_CODES, OpRow
from ellc.codegen.kir.types import INDEX, Elem, VType
from ellc.ir.errors import InternalError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Names become C identifiers, so they must not be C keywords.
_RESERVED = frozenset(
    {
        *("auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else"),
        *("enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "register"),
        *("restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch"),
        *("typedef", "union", "unsigned", "void", "volatile", "while"),
    }
)


def verify(kernel: Kernel) -> None:
    """Raise `InternalError`, which lists all problems, if the kernel breaks a rule."""
    broken = problems(kernel)
    if broken:
        raise InternalError(f"kernel {kernel.name} is malformed:\n" + "\n".join(broken))


def problems(kernel: Kernel) -> tuple[str, ...]:
    """One line for every violation of a rule, in the order of the kernel's text."""
    checker = _Checker(kernel)
    checker.kernel()
    return tuple(checker.problems)


class _Checker:
    """Walks a kernel, and keeps track of the values that are visible at each statement."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._params = {p.name: p for p in kernel.params}
        self._assigned: set[str] = set()
        self._visible: dict[str, VType] = {}
        self.problems: list[str] = []

    def kernel(self) -> None:
        kernel = self._kernel
        self._name(kernel.name)
        if len(self._params) != len(kernel.params):
            self._report("two parameters have the same name")
        for param in kernel.params:
            self._param(param)
        for bound in (kernel.begin, kernel.end):
            self._type(bound, INDEX, "a bound of the kernel")
            self._define(bound)
        for pair in kernel.in_place:
            for name in pair:
                if name not in self._params:
                    self._report(f"in_place names {name}, which is not a parameter")
        self._body(kernel.body)

    def _param(self, param: Param) -> None:
        self._name(param.name)
        if param.elem in (Elem.INDEX, Elem.MASK):
            self._report(f"parameter {param.name}: {param.elem.value} values cannot be stored")
        else:
            self._align(f"parameter {param.name}", param.align_bytes, param.elem)

    # --- statements ------------------------------------------------------------------------------

    def _body(self, body: tuple[Stmt, ...]) -> None:
        for statement in body:
            match statement:
                case Let():
                    self._let(statement)
                case Load(result, param, index, offset, align):
                    self._access("load", result, param, index, offset, align)
                    self._define(result)
                case Store(value, param, index, offset, align):
                    self._use(value)
                    self._access("store", value, param, index, offset, align)
                    if not param.writable:
                        self._report(f"store to {param.name}, which is not writable")
                case For():
                    self._for(statement)
                case If(condition, inner):
                    self._use(condition)
                    self._type(condition, VType(Elem.MASK), "the condition of an if")
                    self._scope(inner)
                case Prefetch(param, index, _):
                    self._use(index)
                    self._type(index, INDEX, "an index")
                    self._check_param(f"prefetch of {param.name}", param)
                case Assembled():
                    self._assembled(statement)
                case _:
                    assert_never(statement)

    def _assembled(self, statement: Assembled) -> None:
        outer = dict(self._visible)
        self._body(statement.source)
        inner, self._visible = self._visible, outer
        for result in statement.results:
            if result.name in outer or inner.get(result.name) != result.type:
                self._report(f"the source of assembly does not define the result {result.name}")
            self._visible[result.name] = result.type
        for value in (*statement.results, *inputs(statement.source)):
            if value.type.elem is Elem.MASK:
                self._report(f"assembly cannot have the mask {value.name} as input or result")
        if any(isinstance(s, Assembled) for s in walk(statement.source)):
            self._report("assembly within the source of assembly")
        for problem in _assembly_problems(statement.function):
            self._report(problem)

    def _let(self, let: Let) -> None:
        for arg in let.args:
            self._use(arg)
        if let.op in OPERATIONS:
            outcome = _result_or_problem(let.op, tuple(a.type for a in let.args), let.attrs)
            if isinstance(outcome, VType):
                self._type(let.result, outcome, f"the result of {let.op}")
            else:
                self._report(f"{let.result.name}: {let.op} {outcome}")
        else:
            self._report(f"{let.result.name}: there is no operation {let.op}")
        self._define(let.result)

    def _access(
        self, what: str, value: Operand, param: Param, index: Operand, offset: int, align: int
    ) -> None:
        self._use(index)
        self._type(index, INDEX, "an index")
        access = f"{what} at {param.name}"
        self._check_param(access, param)
        if value.type.elem is not param.elem:
            self._report(f"{access} of {value.type}, but {param.name} holds {param.elem.value}")
            return
        self._align(access, align, param.elem)
        if align > param.align_bytes:
            self._report(
                f"{access} with alignment {align}, but {param.name} has alignment"
                f" {param.align_bytes}"
            )
        if isinstance(index, Imm) and (int(index.value) + offset) * param.elem.bytes % align:
            self._report(f"{access}[{int(index.value) + offset}] is not aligned to {align} bytes")

    def _for(self, loop: For) -> None:
        for bound in (loop.start, loop.stop):
            self._use(bound)
            self._type(bound, INDEX, "a bound of a loop")
        self._type(loop.index, INDEX, "the index of a loop")
        if loop.step <= 0:
            self._report(f"loop {loop.index.name} has step {loop.step}, which is not positive")
        lists = (loop.carried, loop.inits, loop.yields, loop.results)
        if len({len(values) for values in lists}) != 1:
            self._report(f"loop {loop.index.name} has carried lists of different lengths")
        for carried, first, after, result in zip(*lists, strict=False):
            self._use(first)
            for value in (first, after, result):
                self._type(value, carried.type, f"carried value {carried.name}")
        outer = dict(self._visible)
        for var in (loop.index, *loop.carried):
            self._define(var)
        self._body(loop.body)
        for after in loop.yields:
            self._use(after)
        self._visible = outer
        for result in loop.results:
            self._define(result)

    def _scope(self, body: tuple[Stmt, ...]) -> None:
        outer = dict(self._visible)
        self._body(body)
        self._visible = outer

    def _check_param(self, access: str, param: Param) -> None:
        if self._params.get(param.name) != param:
            self._report(f"{access}, which is not a parameter of this kernel")

    # --- values ----------------------------------------------------------------------------------

    def _define(self, var: Var) -> None:
        self._name(var.name)
        if var.name in self._assigned:
            self._report(f"{var.name} is assigned twice")
        if var.name in self._params:
            self._report(f"{var.name} is both a parameter and a value")
        if var.type.lanes < 1:
            self._report(f"{var.name} has {var.type.lanes} lanes")
        self._assigned.add(var.name)
        self._visible[var.name] = var.type

    def _use(self, operand: Operand) -> None:
        if isinstance(operand, Imm):
            for problem in literal_problems(operand):
                self._report(problem)
        elif operand.name not in self._visible:
            self._report(f"{operand.name} is used where it is not defined")
        elif self._visible[operand.name] != operand.type:
            have = self._visible[operand.name]
            self._report(f"{operand.name} is {have}, but is used as {operand.type}")

    def _type(self, operand: Operand, want: VType, what: str) -> None:
        if operand.type != want:
            self._report(f"{what} must be {want}, not {operand.type}")

    def _align(self, what: str, align_bytes: int, elem: Elem) -> None:
        if align_bytes < elem.bytes or align_bytes & (align_bytes - 1):
            self._report(f"{what}: {align_bytes} bytes is not a valid alignment of {elem.value}")

    def _name(self, name: str) -> None:
        if not _NAME.fullmatch(name) or name in _RESERVED:
            self._report(f"{name!r} is not a valid name: names must be identifiers of C")

    def _report(self, problem: str) -> None:
        self.problems.append(problem)


def _assembly_problems(function: AssemblyFunction) -> Iterator[str]:
    """What is wrong with the text of an assembly function."""
    if not function.lines:
        yield "an assembly function without instructions"
    for line in function.lines:
        if not line.isprintable() or line != line.strip() or not line:
            yield f"{line!r} is not one line of assembly"
    for register in function.saves:
        if not re.fullmatch(r"[a-z]\w*", register):
            yield f"{register!r} is not the name of a register"
    if len(set(function.saves)) != len(function.saves):
        yield "assembly saves a register twice"


# --- rules of literals and operations ------------------------------------------------------------


def literal_problems(imm: Imm) -> Iterator[str]:
    """The problems of a literal: it has the wrong Python type, or does not fit in its type.

    The literal of an integer type may be in the range of the signed or the unsigned type of its
    width.
    """
    elem, value = imm.type.elem, imm.value
    if elem.is_float:
        if not isinstance(value, float):
            yield f"literal {value!r} of {imm.type} must be a float"
    elif not isinstance(value, int):
        yield f"literal {value!r} of {imm.type} must be an integer"
    elif elem is Elem.MASK:
        if value not in (0, 1):
            yield f"literal {value} of {imm.type} must be 0 or 1"
    else:
        bits = 64 if elem is Elem.INDEX else elem.bytes * 8
        if not -(1 << (bits - 1)) <= value < 1 << bits:
            yield f"literal {value} does not fit {imm.type}"


@functools.cache
def _result_or_problem(op: str, types: tuple[VType, ...], attrs: tuple[int, ...]) -> VType | str:
    """The result type of an operation, or the first problem of its operands."""
    row = OPERATIONS[op]
    return next(operation_problems(row, types, attrs), None) or row.result(types, attrs)


def operation_problems(
    row: OpRow | Instruction, types: tuple[VType, ...], attrs: tuple[int, ...]
) -> Iterator[str]:
    """The problems of operand types and attributes, by the row of an operation."""
    if len(types) != len(row.takes):
        yield f"takes {_counted(len(row.takes), 'operand')}, not {len(types)}"
        return
    if isinstance(row, Instruction):
        yield from _instruction_problems(row, types, attrs)
        return
    main = [t for t, letter in zip(types, row.takes, strict=True) if letter != "M"]
    for type_ in main:
        if not row.admits(type_.elem):
            yield f"does not take {type_}"
    for type_, letter in zip(types, row.takes, strict=True):
        match letter:
            case "T" if type_ != main[0]:
                yield f"takes operands of the same type, not {main[0]} and {type_}"
            case "E" if type_.elem is not main[0].elem:
                yield f"takes operands of the same element type, not {main[0]} and {type_}"
            case "W" if not _is_wider(type_, main[0]):
                yield f"takes twice the bits of {main[0]}, not {type_}"
            case "N" if type_.lanes % 2 or not _is_wider(
                main[0], type_.with_lanes(type_.lanes // 2)
            ):
                yield f"takes half the bits of {main[0]} in twice the lanes, not {type_}"
            case "S" if type_.lanes != 1:
                yield f"takes a scalar, not {type_}"
            case "M" if type_.elem is not Elem.MASK or type_.lanes not in (1, main[0].lanes):
                lanes = "1 lane" if main[0].lanes == 1 else f"1 or {main[0].lanes} lanes"
                yield f"takes a mask of {lanes}, not {type_}"
    yield from _attribute_problems(row, types, attrs)


def _instruction_problems(
    row: Instruction, types: tuple[VType, ...], attrs: tuple[int, ...]
) -> Iterator[str]:
    for index, (type_, want) in enumerate(zip(types, row.takes, strict=True)):
        if type_ != want:
            yield f"takes {want} as operand {index}, not {type_}"
    if attrs:
        yield f"takes 0 attributes, not {len(attrs)}"


_ATTRIBUTE_COUNT = {
    **dict.fromkeys(("shl", "shr", "convert", "bitcast", "splat", "lane", "repeat"), 1),
    **dict.fromkeys(("splat_lane", "part", "iota"), 2),
}


def _attribute_problems(
    row: OpRow, types: tuple[VType, ...], attrs: tuple[int, ...]
) -> Iterator[str]:
    if len(attrs) != _ATTRIBUTE_COUNT.get(row.name, 0):
        wanted = _counted(_ATTRIBUTE_COUNT.get(row.name, 0), "attribute")
        yield f"takes {wanted}, not {len(attrs)}"
        return
    if row.name in ("convert", "bitcast", "iota") and attrs[0] not in range(len(ELEM_CODES)):
        yield f"has attribute {attrs[0]}, which stands for no element type"
        return
    match row.name, attrs:
        case ("shl" | "shr", (bits,)):
            width = 32 if types[0].elem is Elem.INDEX else types[0].elem.bytes * 8
            yield from _outside("bits", (bits,), 0, width - 1)
        case ("splat", (count,)):
            yield from _outside("lanes", (count,), 1, 1 << 16)
        case ("repeat", (times,)):
            yield from _outside("lanes", (times * types[0].lanes,), 1, 1 << 16)
        case ("lane", (lane,)):
            yield from _outside("lane", (lane,), 0, types[0].lanes - 1)
        case ("splat_lane", (lane, count)):
            yield from _outside("lane", (lane,), 0, types[0].lanes - 1)
            yield from _outside("lanes", (count,), 1, 1 << 16)
        case ("part", (start, count)):
            yield from _outside("lanes", (start, count), 0, types[0].lanes)
            yield from _outside("last lane", (start + count - 1,), start, types[0].lanes - 1)
        case (("mul_high" | "mul_short" | "shr_round"), ()) if types[0].elem is not Elem.I32:
            yield f"takes i32, not {types[0].elem.value}"
        case ("from_half", ()) if types[0].elem is not Elem.U16:
            yield f"takes u16, not {types[0].elem.value}"
        case (("wide_mul" | "wide_mul_add" | "pair_products"), ()) if types[0].elem.bytes > 2:
            yield f"takes 8 or 16 bits, not {types[0].elem.value}"
        case (("pair_sums" | "pair_products"), ()) if types[0].lanes % 2:
            yield f"takes an even number of lanes, not {types[0].lanes}"
        case ("pick", ()) if types[0].elem is not Elem.U8:
            yield f"takes u8, not {types[0].elem.value}"
        case ("pack_bits", ()) if types[0].lanes % 8:
            yield f"takes a multiple of 8 lanes, not {types[0].lanes}"
        case ("convert", (code,)):
            yield from _convert_problems(types[0].elem, ELEM_CODES[code])
        case ("bitcast", (code,)):
            to = ELEM_CODES[code]
            if to in (Elem.INDEX, Elem.MASK) or to.bytes != types[0].elem.bytes:
                yield f"cannot convert {types[0].elem.value} to {to.value}"
        case ("iota", (code, count)):
            if not row.admits(ELEM_CODES[code]):
                yield f"cannot give {ELEM_CODES[code].value}"
            yield from _outside("lanes", (count,), 1, 1 << 16)


def _counted(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"


def _is_wider(type_: VType, narrow: VType) -> bool:
    """Whether `narrow` has 8- or 16-bit integers, and `type_` has as many with twice the bits."""
    is_narrow = narrow.elem in (Elem.I8, Elem.U8, Elem.I16, Elem.U16)
    return is_narrow and type_ == narrow.with_elem(narrow.elem.wider)


def _convert_problems(source: Elem, to: Elem) -> Iterator[str]:
    halves = Elem.F16 in (source, to) and not (source.is_float and to.is_float)
    if to is Elem.MASK or (to is Elem.INDEX and source.is_float) or halves:
        yield f"cannot convert {source.value} to {to.value}"


def _outside(what: str, values: Iterable[int], low: int, high: int) -> Iterator[str]:
    for value in values:
        if not low <= value <= high:
            yield f"has {what} {value}, outside {low}..{high}"
