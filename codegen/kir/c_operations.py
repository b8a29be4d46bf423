"""Writes operations of the kernel IR as C expressions.

An instruction becomes a call of a helper function whose C text is in its row. Any other operation
is written by the function that is registered for it in this module, or else by the C template of
its row in `ops.py`, lane by lane.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from ellc.codegen.kir.c_prelude import C_TYPES
from ellc.codegen.kir.c_writer import CWriter
from ellc.codegen.kir.instructions.row import Instruction
from ellc.codegen.kir.ir import Imm, Let, Operand
from ellc.codegen.kir.operations import OPERATIONS
from ellc.codegen.kir.ops import ELEM_CODES, OPS, OpRow
from ellc.codegen.kir.spellings import Spellings
from ellc.codegen.kir.types import Elem, VType

Spelling = Callable[[CWriter, Let, list[str]], str]
SPELLINGS: Spellings[Spelling] = Spellings()
"""By the name of an operation: the function that returns its C expression. The function gets the
operands as C expressions."""
spells = SPELLINGS.spells


def expression(w: CWriter, let: Let) -> str:
    """The C expression of an operation."""
    row, args = OPERATIONS[let.op], [w.value(a) for a in let.args]
    if isinstance(row, Instruction):
        return _called(_instruction(w, row), args)
    return SPELLINGS.get(let.op, _by_template)(w, let, args)


def _called(function: str, args: list[str]) -> str:
    return f"{function}({', '.join(args)})"


def _instruction(w: CWriter, row: Instruction) -> str:
    """The name of the C helper function for an instruction."""
    return w.prelude.once((row.name,), lambda: _instruction_helper(w, row))


def _instruction_helper(w: CWriter, row: Instruction) -> str:
    operands = zip(row.takes, "abcdefgh", strict=False)
    parameters = ", ".join(f"{w.type(type_)} {name}" for type_, name in operands)
    if row.gives.lanes > 1:
        return w.prelude.lanewise(row.gives, row.name, parameters, row.c)
    return w.prelude.function(w.type(row.gives), row.name, parameters, f"return {row.c};")


# --- operations that do not work lane by lane ----------------------------------------------------


@spells("convert")
def convert(w: CWriter, let: Let, args: list[str]) -> str:
    """A value converted to another element type, by a cast or a helper function."""
    function = w.prelude.convert(let.args[0].type, ELEM_CODES[let.attrs[0]])
    return f"{function}{args[0]}" if function[0] == "(" else _called(function, args)


@spells("bitcast")
def bitcast(w: CWriter, let: Let, args: list[str]) -> str:
    """The bits of a value, reinterpreted as another element type."""
    return _called(w.prelude.bitcast(let.args[0].type, ELEM_CODES[let.attrs[0]]), args)


@spells("splat")
def splat(w: CWriter, let: Let, args: list[str]) -> str:
    """A scalar broadcast to all lanes."""
    return w.splat(args[0], let.result.type)


@spells("lane", "splat_lane")
def splat_lane(w: CWriter, let: Let, args: list[str]) -> str:
    """One lane, as a scalar (`lane`) or broadcast to all lanes of the result (`splat_lane`)."""
    return w.splat(w.lane(let.args[0], let.attrs[0]), let.result.type)


@spells("repeat")
def repeat(w: CWriter, let: Let, args: list[str]) -> str:
    """All lanes of a vector, repeated several times."""
    (operand,), result = let.args, let.result.type
    if operand.type.lanes == 1:
        return w.splat(args[0], result)
    return _called(w.prelude.repeat(result, operand.type), args)


@spells("part")
def part(w: CWriter, let: Let, args: list[str]) -> str:
    """Consecutive lanes of a vector."""
    (operand,), (start, _), result = let.args, let.attrs, let.result.type
    if result.lanes == 1:
        return w.lane(operand, start)
    return _called(w.prelude.part(result, operand.type), [*args, str(start)])


@spells("join")
def join(w: CWriter, let: Let, args: list[str]) -> str:
    """Two values, concatenated."""
    return _called(w.prelude.join(let.args[0].type, let.args[1].type), args)


@spells("pick")
def pick(w: CWriter, let: Let, args: list[str]) -> str:
    """The lanes of a table that indices select."""
    return _called(w.prelude.pick(let.args[0].type, let.args[1].type), args)


@spells("iota")
def iota(w: CWriter, let: Let, args: list[str]) -> str:
    """The literal 0, 1, 2, .."""
    result, one = let.result.type, let.result.type.with_lanes(1)
    values = [Imm(float(i) if one.elem.is_float else i, one) for i in range(result.lanes)]
    lanes = ", ".join(w.scalar_literal(v) for v in values)
    return lanes if result.lanes == 1 else f"({w.type(result)}){{{{{lanes}}}}}"


@spells("pack_bits")
def pack_bits(w: CWriter, let: Let, args: list[str]) -> str:
    """The packed bits of a mask."""
    return _called(w.prelude.pack_bits(let.args[0].type), args)


@spells("largest")
def largest(w: CWriter, let: Let, args: list[str]) -> str:
    """The largest lane."""
    (vector,) = let.args
    return args[0] if vector.type.lanes == 1 else _called(w.prelude.largest(vector.type), args)


# --- operations that work lane by lane -----------------------------------------------------------


def _by_template(w: CWriter, let: Let, args: list[str]) -> str:
    row, result = OPS[let.op], let.result.type
    what = (let.op, result, *[a.type for a in let.args], bool(let.attrs))
    if result.lanes > 1:
        helper = w.prelude.once(what, lambda: _lanewise(w, row, let))
        return _called(helper, [*args, *map(str, let.attrs)])
    pairs = zip(let.args, args, strict=True)
    lanes = [t for a, value in pairs for t in _pair(a, result, value, "0")]
    expression = _expression(row, let, lanes)
    w.prelude.once(what, lambda: w.prelude.need(expression))
    return expression


def _lanewise(w: CWriter, row: OpRow, let: Let) -> str:
    """The name of the helper function that applies a row's expression to every lane."""
    names = "abc"[: len(let.args)]
    lanes = [
        text
        for n, a in zip(names, let.args, strict=True)
        for text in _pair(a, let.result.type, n, "i")
    ]
    params = [f"{w.type(a.type)} {n}" for n, a in zip(names, let.args, strict=True)]
    params += ["int n"] * len(let.attrs)
    # The name contains the type of a comparison's operands, or of the values that `select` selects.
    subject = let.args[-1].type
    suffix = "_by_one" if let.op == "select" and let.args[0].type.lanes == 1 else ""
    return w.prelude.lanewise(
        let.result.type,
        f"{subject}_{let.op}{suffix}",
        ", ".join(params),
        _expression(row, let, lanes, "n"),
    )


def _pair(operand: Operand, result: VType, value: str, lane: str) -> list[str]:
    """The lanes of an operand that belong to one lane of the result.

    There are two if the operand has twice as many lanes as the result, else one.
    """
    if operand.type.lanes == 1:
        return [value]
    if operand.type.lanes != 2 * result.lanes:
        return [f"{value}.l[{lane}]"]
    first = "0" if lane == "0" else f"2 * {lane}"
    return [f"{value}.l[{first}]", f"{value}.l[{'1' if lane == '0' else first + ' + 1'}]"]


def _expression(row: OpRow, let: Let, args: list[str], amount: str = "") -> str:
    """The expression for one lane of an operation whose row has a C template."""
    text, names = _template(row.name, let.args[-1].type.elem, let.result.type.elem)
    return text.format(*args, **names, n=amount or (str(let.attrs[0]) if let.attrs else ""))


@cache
def _template(op: str, elem: Elem, result: Elem) -> tuple[str, Mapping[str, str]]:
    """(the C template for an element type, the values of the names in it)."""
    row, text = OPS[op], OPS[op].c
    if elem.is_float:
        text = row.c_float or row.c
    elif elem not in (Elem.INDEX, Elem.MASK):
        text = row.c_int or row.c
    fixed = elem not in (Elem.INDEX, Elem.MASK)
    unsigned = Elem(f"u{elem.bytes * 8}") if fixed else elem
    return text, {
        "c": C_TYPES[result],
        "u": "uint64_t" if fixed and elem.bytes == 8 else "uint32_t",
        "e": elem.value,
        "w": unsigned.value,
        "v": C_TYPES[unsigned],
    }
