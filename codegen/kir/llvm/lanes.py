"""Writes operations that move, number or compare lanes, or pack masks, as LLVM IR."""

from __future__ import annotations

from ellc.codegen.kir.ir import Imm, Let, Operand
from ellc.codegen.kir.llvm.operations import spells
from ellc.codegen.kir.llvm.writer import InstructionWriter
from ellc.codegen.kir.types import Elem, VType


@spells("lane")
def lane(w: InstructionWriter, let: Let) -> str:
    """One lane as a scalar."""
    (arg,), index = let.args, let.attrs[0]
    if arg.type.lanes == 1:
        return w.value(arg)
    return w.let(f"extractelement {w.typed(arg)}, i32 {index}")


@spells("splat")
def splat(w: InstructionWriter, let: Let) -> str:
    """A scalar broadcast to all lanes."""
    (arg,) = let.args
    if let.result.type.lanes == 1:
        return w.value(arg)
    return _broadcast(w, w.typed(arg), let.result.type)


@spells("splat_lane")
def splat_lane(w: InstructionWriter, let: Let) -> str:
    """One lane broadcast to all lanes. LLVM folds this into a multiply-add by lane."""
    (arg,), (index, count) = let.args, let.attrs
    if count == 1:
        return lane(w, let)
    if arg.type.lanes == 1:
        return _broadcast(w, w.typed(arg), let.result.type)
    return w.shuffle(arg.type, w.value(arg), "poison", [index] * count)


@spells("repeat")
def repeat(w: InstructionWriter, let: Let) -> str:
    """All lanes of a vector, repeated several times."""
    (arg,), result = let.args, let.result.type
    if arg.type.lanes == 1:
        return _broadcast(w, w.typed(arg), result) if result.lanes > 1 else w.value(arg)
    indices = [i % arg.type.lanes for i in range(result.lanes)]
    return w.shuffle(arg.type, w.value(arg), "poison", indices)


def _broadcast(w: InstructionWriter, typed_scalar: str, to: VType) -> str:
    wide = w.type(to)
    first = w.let(f"insertelement {wide} poison, {typed_scalar}, i32 0")
    return w.let(f"shufflevector {wide} {first}, {wide} poison, <{to.lanes} x i32> zeroinitializer")


@spells("part")
def part(w: InstructionWriter, let: Let) -> str:
    """Consecutive lanes of a vector."""
    (arg,), (start, count) = let.args, let.attrs
    if count == 1:
        return lane(w, let)
    return w.shuffle(arg.type, w.value(arg), "poison", range(start, start + count))


@spells("join")
def join(w: InstructionWriter, let: Let) -> str:
    """Two vectors (or scalars), concatenated."""
    total = let.result.type.lanes
    low, high = (_widened(w, a, total) for a in let.args)
    first = let.args[0].type.lanes
    picks = [i if i < first else total + i - first for i in range(total)]
    return w.shuffle(let.result.type, low, high, picks)


def _widened(w: InstructionWriter, arg: Operand, lanes: int) -> str:
    if arg.type.lanes == 1:
        wide = w.type(arg.type.with_lanes(lanes))
        return w.let(f"insertelement {wide} poison, {w.typed(arg)}, i32 0")
    picks = [i if i < arg.type.lanes else "poison" for i in range(lanes)]
    return w.shuffle(arg.type, w.value(arg), "poison", picks)


@spells("iota")
def iota(w: InstructionWriter, let: Let) -> str:
    """The literal 0, 1, 2, .."""
    type_ = let.result.type
    if type_.lanes == 1:
        return "0.0" if type_.elem.is_float else "0"
    one = type_.with_lanes(1)
    items = ", ".join(w.typed(Imm(i, one)) for i in range(type_.lanes))
    return f"<{items}>"


@spells("largest")
def largest(w: InstructionWriter, let: Let) -> str:
    """The largest lane."""
    (arg,), scalar = let.args, w.type(let.result.type)
    if arg.type.lanes == 1:
        return w.value(arg)
    kind = "s" if arg.type.elem.is_signed else "u"
    function = f"@llvm.vector.reduce.{kind}max.v{arg.type.lanes}{scalar}"
    w.declarations.add(f"declare {scalar} {function}({w.type(arg.type)})")
    return w.let(f"call {scalar} {function}({w.typed(arg)})")


_MOST_ADDED = 128
"""The most lanes whose bits end up in one register."""


@spells("pack_bits")
def pack_bits(w: InstructionWriter, let: Let) -> str:
    """The packed bits of a mask.

    x86 has an instruction for this. On other targets each lane that is set becomes the weight of
    its bit, and the lanes of each byte are added; where an instruction adds neighbours, those of
    several bytes together.
    """
    (arg,), result = let.args, let.result.type
    if w.target.isa.masks_are_bits:
        return w.let(f"bitcast {w.typed(arg)} to {w.type(result)}")
    lanes = arg.type.lanes
    bytes_ = VType(Elem.U8, lanes)
    spread = w.let(f"sext {w.typed(arg)} to {w.type(bytes_)}")
    weights = ", ".join(f"i8 {1 << (i % 8)}" for i in range(lanes))
    bits = w.let(f"and {w.type(bytes_)} {spread}, <{weights}>")
    if w.target.isa.adds_pairs and 8 < lanes <= _MOST_ADDED:
        return _sums_of_eights(w, bytes_, bits)
    sums = [_sum_of_eight(w, bytes_, bits, 8 * group) for group in range(lanes // 8)]
    if len(sums) == 1:
        return sums[0]
    value = "poison"
    for index, byte in enumerate(sums):
        value = w.inserted(result, value, byte, index)
    return value


def _sums_of_eights(w: InstructionWriter, bytes_: VType, bits: str) -> str:
    """The sums of each eight bytes, by instructions that add neighbouring bytes."""
    whole, name = VType(Elem.U8, 16), "@llvm.aarch64.neon.addp.v16i8"
    type_ = w.type(whole)
    w.declarations.add(f"declare {type_} {name}({type_}, {type_})")
    places = range(0, bytes_.lanes, whole.lanes)
    values = [
        w.shuffle(bytes_, bits, "poison", [min(i, bytes_.lanes - 1) for i in range(p, p + 16)])
        for p in places
    ]
    for _ in range(3):
        pairs = zip(values[::2], [*values[1::2], values[-1]], strict=False)
        values = [w.let(f"call {type_} {name}({type_} {a}, {type_} {c})") for a, c in pairs]
    return w.shuffle(whole, values[0], "poison", range(bytes_.lanes // 8))


def _sum_of_eight(w: InstructionWriter, bytes_: VType, bits: str, start: int) -> str:
    eight = w.shuffle(bytes_, bits, "poison", range(start, start + 8))
    w.declarations.add("declare i8 @llvm.vector.reduce.add.v8i8(<8 x i8>)")
    return w.let(f"call i8 @llvm.vector.reduce.add.v8i8(<8 x i8> {eight})")
