"""Writes conversions between element types as LLVM IR."""

from __future__ import annotations

from ellc.codegen.kir.ir import Let
from ellc.codegen.kir.llvm import helpers
from ellc.codegen.kir.llvm.arithmetic import by_helper
from ellc.codegen.kir.llvm.operations import spells
from ellc.codegen.kir.llvm.writer import InstructionWriter
from ellc.codegen.kir.types import Elem, VType
from ellc.ir.errors import InternalError

_HALF_LANES = 4
"""The lanes that an instruction of 32-bit NEON converts from float16."""
_TWO_TO_112 = (127 + 112) << 23
"""The bits of the float32 number 2^112. The bias of exponents is smaller by 112 in float16."""


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


@spells("from_half")
def from_half(w: InstructionWriter, let: Let) -> str:
    """Float16 numbers, converted by an instruction if the target has one."""
    (arg,), to = let.args, let.result.type
    if not w.target.widens_half:
        return _half_by_integers(w, w.value(arg), to)
    four = arg.type.with_lanes(_HALF_LANES)
    is_neon_32 = w.target.has_neon and not w.target.isa.always_has_neon
    groups = to.lanes // four.lanes
    if is_neon_32 and to.lanes == groups * four.lanes and groups.bit_count() == 1:
        # LLVM would convert the lanes one by one.
        parts = (
            w.lanes_of(w.value(arg), arg.type, start, four.lanes)
            for start in range(0, to.lanes, four.lanes)
        )
        four_floats = to.with_lanes(four.lanes)
        name = "@llvm.arm.neon.vcvthf2fp"
        w.declarations.add(f"declare {w.type(four_floats)} {name}({w.type(four)})")
        call = f"call {w.type(four_floats)} {name}({w.type(four)}"
        return w.concatenated([w.let(f"{call} {part})") for part in parts], four_floats)
    half = "half" if to.lanes == 1 else f"<{to.lanes} x half>"
    bits = w.let(f"bitcast {w.typed(arg)} to {half}")
    return w.let(f"fpext {half} {bits} to {w.type(to)}")


def _half_by_integers(w: InstructionWriter, value: str, to: VType) -> str:
    """Float16 numbers as float32: the exponent is corrected by a multiplication, which is exact.

    Numbers whose exponent has only ones (infinity, NaN) get such an exponent again.
    """
    bits = to.with_elem(Elem.U32)
    t, f = w.type(bits), w.type(to)

    def step(verb: str, first: str, number: int) -> str:
        return w.let(f"{verb} {t} {first}, {w.number(number, bits)}")

    wide = w.let(f"zext {w.type(to.with_elem(Elem.U16))} {value} to {t}")
    size = step("shl", step("and", wide, 0x7FFF), 13)
    number = w.let(f"bitcast {t} {size} to {f}")
    correct = w.let(f"bitcast {t} {w.number(_TWO_TO_112, bits)} to {f}")
    scaled = w.let(f"bitcast {f} {w.let(f'fmul {f} {number}, {correct}')} to {t}")
    is_special = w.let(f"icmp uge {t} {size}, {w.number(0x1F << 23, bits)}")
    special = step("or", size, 0xFF << 23)
    chosen = w.let(f"select {w.mask(bits)} {is_special}, {t} {special}, {t} {scaled}")
    sign = step("shl", step("and", wide, 0x8000), 16)
    return w.let(f"bitcast {t} {w.let(f'or {t} {chosen}, {sign}')} to {f}")


def _verb(source: Elem, to: Elem, word_bits: int) -> str:
    """The LLVM cast between two element types; empty if the bits do not change."""
    if source.is_float and to.is_float:
        return "fpext" if to.bytes > source.bytes else "fptrunc"
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
