"""The textual form of a kernel, one statement per line: `parse(print_kernel(k)) == k`.

    kernel relu(x: f32 align 4, y: f32 align 4 writable; begin, end) alias (x y) {
      for i1 in begin..end step 4 carry (c2: f32x4 = f32x4(0.0)) {
        v3: f32x4 = load x[i1 + 8] align 4
        v4: f32x4 = max v3, c2
        store v4 -> y[i1] align 4
        yield v4
      } -> r5
    }

A call of an assembly function shows the instructions of the function, each after `code`, and then
the statements that the function replaces. After the arrow are the results, which are values that
these statements define:

    assembly saves (d8) {
      code ldr x1, [x0]
      v5: f32x4 = add v3, v4
    } -> v5

An integer literal without a type is an index. Attributes of an operation follow its operands, in
brackets. An attribute that stands for an element type is written by its name:
`v6: i32x4 = convert v4 [i32]`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import assert_never

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
)
from ellc.codegen.kir.operations import OPERATIONS
from ellc.codegen.kir.ops import ELEM_CODES, elem_code
from ellc.codegen.kir.types import INDEX, Elem, VType
from ellc.ir.errors import EllcError

_ELEMENT_FIRST = ("convert", "bitcast", "iota")  # the first attribute is an element type


# --- printing ------------------------------------------------------------------------------------


def print_kernel(kernel: Kernel) -> str:
    """The kernel as text."""
    params = ", ".join(_print_param(p) for p in kernel.params)
    head = f"kernel {kernel.name}({params}; {kernel.begin.name}, {kernel.end.name})"
    if kernel.in_place:
        head += f" alias ({', '.join(f'{a} {b}' for a, b in kernel.in_place)})"
    lines = [f"{head} {{"]
    _print_body(kernel.body, "  ", lines)
    return "\n".join([*lines, "}", ""])


def print_statement(statement: Stmt) -> str:
    """A statement, and the statements inside it, as text."""
    lines: list[str] = []
    _print_body((statement,), "", lines)
    return "\n".join(lines)


def _print_param(param: Param) -> str:
    writable = " writable" if param.writable else ""
    return f"{param.name}: {param.elem.value} align {param.align_bytes}{writable}"


def _print_body(body: tuple[Stmt, ...], pad: str, lines: list[str]) -> None:
    """Append the lines of a body, each indented by `pad`."""
    for statement in body:
        match statement:
            case Let():
                lines.append(f"{pad}{_print_let(statement)}")
            case Load(result, param, index, offset, align):
                address = _print_address(param, index, offset)
                lines.append(f"{pad}{_declared(result)} = load {address} align {align}")
            case Store(value, param, index, offset, align):
                address = _print_address(param, index, offset)
                lines.append(f"{pad}store {print_operand(value)} -> {address} align {align}")
            case Prefetch(param, index, offset):
                lines.append(f"{pad}prefetch {_print_address(param, index, offset)}")
            case For():
                _print_for(statement, pad, lines)
            case If(condition, inner):
                lines.append(f"{pad}if {print_operand(condition)} {{")
                _print_body(inner, pad + "  ", lines)
                lines.append(f"{pad}}}")
            case Assembled():
                _print_assembled(statement, pad, lines)
            case _:
                assert_never(statement)


def _print_let(let: Let) -> str:
    words = [let.op]
    if let.args:
        words.append(", ".join(map(print_operand, let.args)))
    if let.attrs:
        attrs = [str(a) for a in let.attrs]
        if let.op in _ELEMENT_FIRST:
            attrs[0] = ELEM_CODES[let.attrs[0]].value
        words.append(f"[{', '.join(attrs)}]")
    return f"{_declared(let.result)} = {' '.join(words)}"


def _print_for(loop: For, pad: str, lines: list[str]) -> None:
    head = f"for {loop.index.name} in {print_operand(loop.start)}..{print_operand(loop.stop)}"
    if loop.step != 1:
        head += f" step {loop.step}"
    if loop.carried:
        pairs = zip(loop.carried, loop.inits, strict=True)
        head += f" carry ({', '.join(f'{_declared(c)} = {print_operand(v)}' for c, v in pairs)})"
    lines.append(f"{pad}{head} {{")
    _print_body(loop.body, pad + "  ", lines)
    if loop.yields:
        lines.append(f"{pad}  yield {', '.join(map(print_operand, loop.yields))}")
    results = f" -> {', '.join(r.name for r in loop.results)}" if loop.results else ""
    lines.append(f"{pad}}}{results}")


def _declared(var: Var) -> str:
    return f"{var.name}: {var.type}"


def print_operand(operand: Operand) -> str:
    """An operand as text: a name, an index without its type, or another literal with its type."""
    if isinstance(operand, Var):
        return operand.name
    return operand.text if operand.type == INDEX else f"{operand.type}({operand.text})"


def _print_address(param: Param, index: Operand, offset: int) -> str:
    if index == Imm(0):
        return f"{param.name}[{offset}]"
    if offset == 0 and isinstance(index, Var):
        return f"{param.name}[{index.name}]"
    sign = "-" if offset < 0 else "+"
    return f"{param.name}[{print_operand(index)} {sign} {abs(offset)}]"


def _print_assembled(statement: Assembled, pad: str, lines: list[str]) -> None:
    saves = ", ".join(statement.function.saves)
    scratch = statement.function.scratch_bytes
    head = (
        f"assembly{f' saves ({saves})' if saves else ''}{f' scratch {scratch}' if scratch else ''}"
    )
    lines.append(f"{pad}{head} {{")
    lines += [f"{pad}  code {line}" for line in statement.function.lines]
    _print_body(statement.source, pad + "  ", lines)
    results = ", ".join(r.name for r in statement.results)
    lines.append(f"{pad}}}{' -> ' if results else ''}{results}")


# --- parsing -------------------------------------------------------------------------------------


def parse(text: str) -> Kernel:
    """The kernel that `text` describes.

    Raises `EllcError` (E320), which lists every line that cannot be read. The kernel may still
    break rules; `verify` checks them.
    """
    parser = _Parser(text)
    kernel = parser.kernel()
    if parser.problems or kernel is None:
        raise EllcError(
            "this is not the text of a kernel", code="E320", problems=tuple(parser.problems)
        )
    return kernel


_WORD = r"[A-Za-z_]\w*"
_ELEM = "|".join(e.value for e in Elem)
_TYPE = rf"(?:{_ELEM})(?:x\d+)?"
_HEAD = re.compile(rf"kernel ({_WORD})\((.*); ({_WORD}), ({_WORD})\)(?: alias \((.*)\))? {{")
_PARAM = re.compile(rf"({_WORD}): (\w+) align (\d+)( writable)?")
_LOAD = re.compile(rf"({_WORD}): ({_TYPE}) = load (.*) align (\d+)")
_LET = re.compile(rf"({_WORD}): ({_TYPE}) = ({_WORD})(?: ([^\[]*?))?(?: ?\[([\w, ]*)\])?")
_STORE = re.compile(r"store (.*) -> (.*) align (\d+)")
_PREFETCH = re.compile(r"prefetch (.*)")
_FOR = re.compile(rf"for ({_WORD}) in (\S+?)\.\.(\S+)(?: step (-?\d+))?(?: carry \((.*)\))? {{")
_CARRY = re.compile(rf"({_WORD}): ({_TYPE}) = (.*)")
_IF = re.compile(r"if (.*) {")
_ASSEMBLY = re.compile(r"assembly(?: saves \((.*)\))?(?: scratch (\d+))? {")
_CODE = "code "
_ADDRESS = re.compile(rf"({_WORD})\[(\S+)(?: ([+-]) (\d+))?\]")
_LITERAL = re.compile(rf"({_TYPE})\((.*)\)")
_TYPE_PARTS = re.compile(rf"({_ELEM})(?:x(\d+))?")


class _BadLine(Exception):
    """The current line cannot be read; the message says why."""


class _Parser:
    """Reads a text line by line. A line that cannot be read becomes a problem and is skipped."""

    def __init__(self, text: str) -> None:
        self._lines = [(i, line.strip()) for i, line in enumerate(text.splitlines(), 1)]
        self._lines = [(i, line) for i, line in self._lines if line]
        self._at = 0
        self._params: dict[str, Param] = {}
        self._types: dict[str, VType] = {}
        self.problems: list[str] = []

    def kernel(self) -> Kernel | None:
        if not self._lines:
            self.problems.append("line 1: the text is empty")
            return None
        number, line = self._lines[0]
        self._at = 1
        try:
            name, params, begin, end, aliases = _matched(_HEAD, line, "the head of a kernel")
            self._params = {p.name: p for p in map(_parse_param, _listed(params))}
            pairs = [tuple(pair.split()) for pair in _listed(aliases)]
            if any(len(pair) != 2 for pair in pairs):
                raise _BadLine("'alias' must list pairs of parameters")
        except _BadLine as problem:
            self.problems.append(f"line {number}: {problem}")
            return None
        bounds = self._declare(begin, INDEX), self._declare(end, INDEX)
        body, closing = self._body()
        if closing != "}" or self._at != len(self._lines):
            self.problems.append("the braces do not match")
        in_place = tuple((a, b) for a, b in pairs)
        return Kernel(name, tuple(self._params.values()), *bounds, body, in_place)

    def _body(self) -> tuple[tuple[Stmt, ...], str]:
        """(statements, the line with the closing brace or the yield after them).

        Advances past that line.
        """
        body: list[Stmt] = []
        while self._at < len(self._lines):
            number, line = self._lines[self._at]
            self._at += 1
            if line.startswith(("}", "yield ")):
                return tuple(body), line
            try:
                body.append(self._statement(line))
            except _BadLine as problem:
                self.problems.append(f"line {number}: {problem}")
        return tuple(body), ""

    def _statement(self, line: str) -> Stmt:
        pattern, read = self._READERS.get(line.partition(" ")[0], (_LET, _Parser._let))
        if read is _Parser._let and " = load " in line:
            pattern, read = _LOAD, _Parser._load
        if match := pattern.fullmatch(line):
            return read(self, *match.groups(default=""))
        raise _BadLine(f"not a statement: {line}")

    def _load(self, name: str, type_: str, address: str, align: str) -> Load:
        pointer = self._address(address)
        return Load(self._declare(name, _parse_type(type_)), *pointer, int(align))

    def _store(self, value: str, address: str, align: str) -> Store:
        return Store(self._operand(value), *self._address(address), int(align))

    def _prefetch(self, address: str) -> Prefetch:
        return Prefetch(*self._address(address))

    def _let(self, name: str, type_: str, op: str, args: str, attrs: str) -> Let:
        if op not in OPERATIONS:
            raise _BadLine(f"there is no operation {op}")
        operands = tuple(self._operand(a) for a in _listed(args))
        codes = tuple(_parse_attr(a) for a in _listed(attrs))
        return Let(self._declare(name, _parse_type(type_)), op, operands, codes)

    def _if(self, condition: str) -> If:
        value = self._operand(condition)
        body, closing = self._body()
        if closing != "}":
            raise _BadLine("the body of an if must end with a brace")
        return If(value, body)

    def _for(self, name: str, start: str, stop: str, step: str, carry: str) -> For:
        bounds = self._operand(start), self._operand(stop)
        carries = [_matched(_CARRY, c, "a carried value") for c in _listed(carry)]
        inits = tuple(self._operand(first) for _, _, first in carries)
        index = self._declare(name, INDEX)
        carried = tuple(self._declare(c, _parse_type(t)) for c, t, _ in carries)
        body, closing = self._body()
        yields: tuple[Operand, ...] = ()
        if closing.startswith("yield "):
            yields = tuple(self._operand(v) for v in _listed(closing.removeprefix("yield ")))
            rest, closing = self._body()
            if rest:
                raise _BadLine("nothing may follow a yield")
        if not closing.startswith("}"):
            raise _BadLine("the body of a loop must end with a brace")
        names = _listed(closing.removeprefix("}").removeprefix(" -> "))
        if len(names) != len(carried):
            raise _BadLine("a loop must have as many results as carried values")
        results = tuple(self._declare(r, c.type) for r, c in zip(names, carried, strict=True))
        return For(index, *bounds, int(step or 1), carried, inits, body, yields, results)

    def _assembly(self, saves: str, scratch: str) -> Assembled:
        code: list[str] = []
        while self._at < len(self._lines) and self._lines[self._at][1].startswith(_CODE):
            code.append(self._lines[self._at][1].removeprefix(_CODE))
            self._at += 1
        source, closing = self._body()
        if not closing.startswith("}"):
            raise _BadLine("the source of assembly must end with a brace")
        names = _listed(closing.removeprefix("}").removeprefix(" -> "))
        results = map(self._operand, names)
        function = AssemblyFunction(tuple(code), tuple(_listed(saves)), int(scratch or 0))
        return Assembled(function, source, tuple(r for r in results if isinstance(r, Var)))

    # By the first word of a line: its pattern, and the method that reads it. Lines with other first
    # words are `Let` or `Load`.
    _READERS: Mapping[str, tuple[re.Pattern[str], Callable[..., Stmt]]] = MappingProxyType(
        {
            "store": (_STORE, _store),
            "prefetch": (_PREFETCH, _prefetch),
            "for": (_FOR, _for),
            "if": (_IF, _if),
            "assembly": (_ASSEMBLY, _assembly),
        }
    )

    def _declare(self, name: str, type_: VType) -> Var:
        self._types[name] = type_
        return Var(name, type_)

    def _operand(self, text: str) -> Operand:
        if type_ := self._types.get(text):
            return Var(text, type_)
        if re.fullmatch(r"-?\d+", text):
            return Imm(int(text))
        if match := _LITERAL.fullmatch(text):
            return _parse_literal(_parse_type(match[1]), match[2])
        raise _BadLine(f"{text} is neither a value defined before this line nor a literal")

    def _address(self, text: str) -> tuple[Param, Operand, int]:
        name, index, sign, amount = _matched(_ADDRESS, text, "an address")
        if name not in self._params:
            raise _BadLine(f"{name} is not a parameter")
        operand = self._operand(index)
        if not sign and isinstance(operand, Imm):
            return self._params[name], Imm(0), int(operand.value)
        return self._params[name], operand, int(f"{sign}{amount or 0}")


def _matched(pattern: re.Pattern[str], text: str, what: str) -> tuple[str, ...]:
    match = pattern.fullmatch(text)
    if match is None:
        raise _BadLine(f"not {what}: {text}")
    return match.groups(default="")


def _listed(text: str) -> list[str]:
    return text.split(", ") if text else []


def _parse_param(text: str) -> Param:
    name, elem, align, writable = _matched(_PARAM, text, "a parameter")
    return Param(name, _parse_elem(elem), int(align), bool(writable))


def _parse_elem(text: str) -> Elem:
    try:
        return Elem(text)
    except ValueError:
        raise _BadLine(f"{text} is not an element type") from None


def _parse_type(text: str) -> VType:
    elem, lanes = _matched(_TYPE_PARTS, text, "a type")
    return VType(_parse_elem(elem), int(lanes or 1))


def _parse_attr(text: str) -> int:
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    return elem_code(_parse_elem(text))


def _parse_literal(type_: VType, text: str) -> Imm:
    try:
        return Imm(float(text) if type_.elem.is_float else int(text), type_)
    except ValueError:
        raise _BadLine(f"{text} is not a literal of {type_}") from None
