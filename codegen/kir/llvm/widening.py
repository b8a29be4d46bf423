"""Writes widening products, products of low halves, and sums of pairs of lanes as LLVM IR.

The emitter calls these functions if no instruction of the target implements the operation.
"""

from __future__ import annotations

from dataclasses import replace

from ellc.codegen.kir.ir import Let, Var
from ellc.codegen.kir.llvm.instructions import by_registers, row_for
from ellc.codegen.kir.llvm.operations import spells, value_of
from ellc.codegen.kir.llvm.writer import InstructionWriter, is_the_same_everywhere
from ellc.codegen.kir.types import Elem, VType


@spells("wide_mul")
def wide_mul(w: InstructionWriter, let: Let) -> str:
    """The product of two values, with twice the bits of the factors."""
    narrow, wide = w.type(let.args[0].type), w.type(let.result.type)
    verb = "sext" if let.args[0].type.elem.is_signed else "zext"
    a, b = (w.let(f"{verb} {narrow} {w.value(x)} to {wide}") for x in let.args)
    return w.let(f"mul {wide} {a}, {b}")


@spells("wide_mul_add")
def wide_mul_add(w: InstructionWriter, let: Let) -> str:
    """A widening product plus a wide value. LLVM combines them into one instruction if it can."""
    product = value_of(w, replace(let, op="wide_mul", args=let.args[:2]))
    return w.let(f"add {w.type(let.result.type)} {product}, {w.value(let.args[2])}")


@spells("add_pairs")
def add_pairs(w: InstructionWriter, let: Let) -> str:
    """The first operand plus the sums of two neighbouring lanes of the second, widened."""
    wide, narrow = let.args[0].type, let.args[1].type
    total = w.value(let.args[0])
    verb = "sext" if narrow.elem.is_signed else "zext"
    half, t = w.type(narrow.with_lanes(wide.lanes)), w.type(wide)
    for lanes in _halves(w, narrow, w.value(let.args[1])):
        wider = w.let(f"{verb} {half} {lanes} to {t}")
        total = w.let(f"add {t} {total}, {wider}")
    return total


@spells("pair_sums")
def pair_sums(w: InstructionWriter, let: Let) -> str:
    """The sums of two neighbouring lanes."""
    even, odd = _halves(w, let.args[0].type, w.value(let.args[0]))
    return w.let(f"add {w.type(let.result.type)} {even}, {odd}")


@spells("pair_products")
def pair_products(w: InstructionWriter, let: Let) -> str:
    """The sums of two neighbouring widening products."""
    products = let.args[0].type.with_elem(let.result.type.elem)
    even, odd = _halves(w, products, wide_mul(w, replace(let, result=Var("", products))))
    return w.let(f"add {w.type(let.result.type)} {even}, {odd}")


@spells("mul_short")
def mul_short(w: InstructionWriter, let: Let) -> str:
    """Products of the low halves of lanes.

    Some targets have an instruction that multiplies both halves of lanes and adds the two products.
    It is used after the upper halves of the first operand have been cleared. The operand that is
    used in more products should be the first, because its upper halves are cleared only once.
    """
    type_ = let.result.type
    t, pairs = w.type(type_), VType(Elem.I16, 2 * type_.lanes)
    a, b = (w.value(x) for x in let.args)
    if row := row_for(w, "pair_products", (pairs, pairs), type_):
        low = w.let(f"and {t} {a}, {w.number(0xFFFF, type_)}")
        both = [w.let(f"bitcast {t} {x} to {w.type(pairs)}") for x in (low, b)]
        return by_registers(w, row, (pairs, pairs), both)
    bits = w.number(16, type_)
    # LLVM removes both shifts where a value was widened from 16 bits or fewer.
    signed = [w.let(f"ashr {t} {w.let(f'shl {t} {x}, {bits}')}, {bits}") for x in (a, b)]
    return w.let(f"mul {t} {signed[0]}, {signed[1]}")


def _halves(w: InstructionWriter, type_: VType, value: str) -> tuple[str, str]:
    """(even lanes, odd lanes)."""
    if is_the_same_everywhere(value):
        return value, value
    if type_.lanes == 2:
        t = w.type(type_)
        even, odd = (w.let(f"extractelement {t} {value}, i32 {i}") for i in (0, 1))
    else:
        picks = (range(start, type_.lanes, 2) for start in (0, 1))
        even, odd = (w.shuffle(type_, value, "poison", lanes) for lanes in picks)
    return even, odd
