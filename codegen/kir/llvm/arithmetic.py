"""Writes multiply-adds, division, square roots, minima and maxima as LLVM IR, by target."""

from __future__ import annotations

import math

from ellc.codegen.kir.ir import Imm, Let, Operand
from ellc.codegen.kir.llvm import helpers
from ellc.codegen.kir.llvm.operations import by_template, spells
from ellc.codegen.kir.llvm.writer import InstructionWriter
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.isa import FloatMin


@spells("mul_add")
def mul_add(w: InstructionWriter, let: Let) -> str:
    """A fused multiply-add of floats if the target has one, else a product and a sum."""
    type_, elem = let.result.type, let.result.type.elem
    fused = w.target.fused_multiply_add
    fused &= elem is not Elem.F64 or w.target.scalar_f64
    if elem.is_float and fused:
        return w.call("@llvm.fma", type_, [w.typed(a) for a in let.args])
    kind, (a, b, c) = ("f" if elem.is_float else ""), (w.value(x) for x in let.args)
    product = w.let(f"{kind}mul {w.type(type_)} {a}, {b}")
    return w.let(f"{kind}add {w.type(type_)} {product}, {c}")


@spells("div", "rem")
def divide(w: InstructionWriter, let: Let) -> str:
    """A division or remainder: an instruction, or a helper where LLVM would need a library."""
    elem = let.result.type.elem
    constant = isinstance(let.args[1], Imm)
    helper = ""
    if not elem.is_float:
        helper = helpers.division(let.op, elem, w.target, by_constant=constant)
    return by_helper(w, helper, let) if helper else by_template(w, let)


@spells("sqrt")
def square_root(w: InstructionWriter, let: Let) -> str:
    """A square root: an instruction, or a helper where LLVM would need a library."""
    helper = helpers.square_root(let.result.type.elem, w.target)
    return by_helper(w, helper, let) if helper else by_template(w, let)


def by_helper(w: InstructionWriter, helper: str, let: Let) -> str:
    """The result of a helper function, called for each lane.

    Integers of fewer than 32 bits are widened for the call, and its result is narrowed again.
    """
    w.helpers.add(helper)
    result = let.result.type
    value = "poison"
    for lane in range(result.lanes):
        args = [_widened_scalar(w, a, lane) for a in let.args]
        lane_type = w.type(result.with_lanes(1))
        called_type = "i32" if lane_type in ("i8", "i16") else lane_type
        name = w.let(f"call {called_type} @{helper}({', '.join(args)})")
        if called_type != lane_type:
            name = w.let(f"trunc {called_type} {name} to {lane_type}")
        value = name if result.lanes == 1 else w.inserted(result, value, name, lane)
    return value


def _widened_scalar(w: InstructionWriter, arg: Operand, lane: int) -> str:
    """One lane of an operand, as a typed value of at least 32 bits."""
    typed = w.scalar(arg, lane)
    if typed.split()[0] not in ("i8", "i16"):
        return typed
    verb = "sext" if arg.type.elem.is_signed else "zext"
    return f"i32 {w.let(f'{verb} {typed} to i32')}"


@spells("min", "max")
def min_max(w: InstructionWriter, let: Let) -> str:
    """A minimum or maximum: for floats, the fewest instructions that propagate NaN."""
    if not let.result.type.elem.is_float:
        return by_template(w, let)
    if has_float_min(w, let.result.type):
        args = [w.typed(a) for a in let.args]
        return w.call(f"@llvm.{let.op}imum", let.result.type, args)
    a, b = let.args
    if isinstance(b, Imm):
        a, b = b, a
    result = better(w, let.op, a, b)  # b if either is NaN
    if isinstance(a, Imm) and not math.isnan(a.value):
        return result
    chosen = f"{w.type(let.result.type)} {result}"
    test = w.let(f"fcmp uno {w.typed(a)}, {w.value(a)}")
    return w.let(f"select {w.mask(a.type)} {test}, {w.typed(a)}, {chosen}")


def better(w: InstructionWriter, op: str, a: Operand, b: Operand) -> str:
    """The minimum or maximum by one comparison and one select. It is b if either is NaN."""
    how = "olt" if op == "min" else "ogt"
    test = w.let(f"fcmp {how} {w.typed(a)}, {w.value(b)}")
    return w.let(f"select {w.mask(a.type)} {test}, {w.typed(a)}, {w.typed(b)}")


def has_float_min(w: InstructionWriter, type_: VType) -> bool:
    """Whether one instruction of the target computes a float minimum that propagates NaN."""
    match w.target.isa.float_min:
        case FloatMin.EVERYWHERE:
            return True
        case FloatMin.NEON_VECTORS:
            return w.target.has_neon and type_.elem is Elem.F32 and type_.lanes > 1
        case FloatMin.NOWHERE:
            return False
