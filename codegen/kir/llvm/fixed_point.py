"""Writes the fixed-point operations as LLVM IR where no instruction computes exactly these."""

from __future__ import annotations

from ellc.codegen.kir.ir import Let
from ellc.codegen.kir.llvm.instructions import by_registers, row_for
from ellc.codegen.kir.llvm.operations import spells
from ellc.codegen.kir.llvm.writer import InstructionWriter
from ellc.codegen.kir.types import Elem


@spells("mul_high")
def mul_high(w: InstructionWriter, let: Let) -> str:
    """The upper 32 bits of the doubled 64-bit product, rounded and saturated."""
    narrow = let.result.type
    wide = narrow.with_elem(Elem.I64)
    t, long = w.type(narrow), w.type(wide)
    a, b = (w.let(f"sext {t} {w.value(x)} to {long}") for x in let.args)
    product = w.let(f"mul {long} {a}, {b}")
    rounded = w.let(f"add {long} {product}, {w.number(1 << 30, wide)}")
    # Only the lower 32 bits are kept, so the shift need not preserve the sign.
    high = w.let(f"lshr {long} {rounded}, {w.number(31, wide)}")
    result = w.let(f"trunc {long} {high} to {t}")
    # Only the square of the lowest number overflows. It wraps to the lowest number.
    lowest, highest = (w.number(n, narrow) for n in (-(1 << 31), (1 << 31) - 1))
    over = w.let(f"icmp eq {t} {result}, {lowest}")
    return w.let(f"select {w.mask(narrow)} {over}, {t} {highest}, {t} {result}")


@spells("shr_round")
def shr_round(w: InstructionWriter, let: Let) -> str:
    """A right shift plus the last bit that was shifted out.

    NEON has one instruction for this, which takes the negated number of bits.
    """
    type_ = let.result.type
    t, one = w.type(type_), w.number(1, type_)
    x, bits = (w.value(a) for a in let.args)
    if row := row_for(w, "shl_round", (type_, type_), type_):
        left = w.let(f"sub {t} zeroinitializer, {bits}")
        return by_registers(w, row, (type_, type_), (x, left))
    power = w.let(f"shl {t} {one}, {bits}")
    half = w.let(f"lshr {t} {power}, {one}")
    lost = w.let(f"and {t} {x}, {half}")
    up = w.let(f"icmp ne {t} {lost}, zeroinitializer")
    carry = w.let(f"zext {w.mask(type_)} {up} to {t}")
    shifted = w.let(f"ashr {t} {x}, {bits}")
    return w.let(f"add {t} {shifted}, {carry}")
