"""Writes operations of the kernel IR as LLVM instructions.

A machine instruction is written by its row. If the target has an instruction that implements an
operation, the operation is written by the row of that instruction. Any other operation is written
by the function that is registered for it in `SPELLINGS`, or else by the LLVM template of its row in
`ops.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ellc.codegen.kir.instructions.row import Instruction
from ellc.codegen.kir.ir import Imm, Let
from ellc.codegen.kir.llvm.instructions import by_registers, row_for
from ellc.codegen.kir.llvm.writer import InstructionWriter
from ellc.codegen.kir.operations import OPERATIONS
from ellc.codegen.kir.ops import OPS, OpRow
from ellc.codegen.kir.spellings import Spellings
from ellc.codegen.kir.types import Elem
from ellc.ir.errors import InternalError

Spelling = Callable[[InstructionWriter, Let], str]
SPELLINGS: Spellings[Spelling] = Spellings()
"""By the name of an operation: the function that writes it and returns its value."""
spells = SPELLINGS.spells


def write(w: InstructionWriter, let: Let) -> None:
    """Write an operation, and record the value of its result.

    Raises `InternalError` if the target lacks the instruction.
    """
    w.names[let.result.name] = value_of(w, let)


def value_of(w: InstructionWriter, let: Let) -> str:
    """Write an operation. Return its value: the name of a register, or a literal."""
    types = tuple(a.type for a in let.args)
    operation = OPERATIONS[let.op]
    if isinstance(operation, Instruction):
        if not operation.available(w.target):
            raise InternalError(f"target {w.target.name} has no instruction {operation.name}")
        return by_registers(w, operation, types, [w.value(a) for a in let.args])
    if row := row_for(w, let.op, types, let.result.type):
        return by_registers(w, row, types, [w.value(a) for a in let.args])
    return SPELLINGS.get(let.op, by_template)(w, let)


def by_template(w: InstructionWriter, let: Let) -> str:
    """The result of an operation that is written by the template of its row."""
    template = _template(OPS[let.op], let)
    if template.startswith("@"):
        return _by_intrinsic(w, template, let)
    args = [w.value(a) for a in let.args]
    amount = ""
    if let.attrs:
        amount = w.value(Imm(let.attrs[0], let.result.type))
    first = w.type(let.args[0].type) if let.args else ""
    return w.let(template.format(*args, t=w.type(let.result.type), a=first, n=amount))


def _template(row: OpRow, let: Let) -> str:
    elem = let.args[0].type.elem if let.args else let.result.type.elem
    if elem.is_float and row.llvm_float:
        return row.llvm_float
    unsigned = not elem.is_signed and elem is not Elem.MASK
    return row.llvm_unsigned if unsigned and row.llvm_unsigned else row.llvm


def _by_intrinsic(w: InstructionWriter, template: str, let: Let) -> str:
    match = re.fullmatch(r"(@[a-z.]+)\((.*)\)", template)
    assert match is not None, template
    args = [w.typed(a) for a in let.args]
    literals = [a.strip() for a in match[2].split(",") if not a.strip().startswith("{")]
    return w.call(match[1], let.result.type, [*args, *literals])
