"""Writes conversions between element types as LLVM IR."""

from __future__ import annotations

from ellc.codegen.kir.ir import Let
from ellc.codegen.kir.llvm import helpers
from ellc.codegen.kir.llvm.arithmetic import by_helper
from ellc.codegen.kir.llvm.operations import spells
from ellc.codegen.kir.llvm.writer import InstructionWriter
from ellc.codegen.kir.types import Elem, VType
from ellc.ir.errors import InternalError


@spells("convert")
def convert(w: InstructionWriter, let: Let) -> str:
    """A value converted to another element type."""
    (arg,) = let.args
    source, to = arg.type.elem, let.result.type.elem
    if source is to:
        return w.value(arg)
    if helper := helpers.conversion(source, to, w.target):
        return by_helper(w, helper, let)
    lanes = arg.type.lanes
    if lanes & (lanes - 1) == 0:
        return _converted(w, w.typed(arg), arg.type, to)
    # For AArch64, LLVM 22 cannot narrow vectors of 64-bit integers whose number of lanes is not a
    # power of two. Such vectors are converted lane by lane.
    value = "poison"
    for lane in range(lanes):
        one = _converted(w, w.scalar(arg, lane), arg.type.with_lanes(1), to)
        value = w.inserted(let.result.type, value, one, lane)
    return value


def _converted(w: InstructionWriter, typed: str, source: VType, to: Elem) -> str:
    """`typed`, a value of type `source`, converted to `to` by at most one LLVM instruction."""
    result = source.with_elem(to)
    if source.elem.is_float and not to.is_float:
        kind = "s" if to.is_signed else "u"
        return w.call(f"@llvm.fpto{kind}i.sat", result, [typed], source)
    verb = _verb(source.elem, to, w.target.word_bits)
    if not verb:
        return typed.split()[-1] if source.lanes == 1 else typed[typed.index("> ") + 2 :]
    return w.let(f"{verb} {typed} to {w.type(result)}")


def _verb(source: Elem, to: Elem, word_bits: int) -> str:
    """The LLVM cast between two element types; empty if the bits do not change."""
    if source.is_float and to.is_float:
        return "fpext" if to is Elem.F64 else "fptrunc"
    if to.is_float:
        return "sitofp" if source.is_signed else "uitofp"
    if source is Elem.MASK:
        return "zext"
    if to is Elem.MASK:
        raise InternalError("no value can be converted to a mask")
    have = word_bits if source is Elem.INDEX else source.bytes * 8
    want = word_bits if to is Elem.INDEX else to.bytes * 8
    if have == want:
        return ""
    if have > want:
        return "trunc"
    return "sext" if source.is_signed or source is Elem.INDEX else "zext"
