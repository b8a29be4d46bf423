"""Operations of the kernel IR as LLVM instructions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from ellc.codegen.kir import llvm_helpers
from ellc.codegen.kir.ir import Imm, Let, Operand
from ellc.codegen.kir.llvm_tables import TableWriter
from ellc.codegen.kir.ops import OPS, OpRow
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.isa import FloatMin
from ellc.ir.errors import InternalError


class OperationWriter(TableWriter):
    """Writes every operation, one `Let` at a time."""

    # --- operations ----------------------------------------------------------------------------

    def _let(self, let: Let) -> None:
        special = _SPECIAL.get(let.op)
        result = (
            special(self, let) if special else self._plain(self._template(OPS[let.op], let), let)
        )
        self._names[let.result.name] = result

    def _template(self, row: OpRow, let: Let) -> str:
        elem = let.args[0].type.elem if let.args else let.result.type.elem
        if elem.is_float and row.llvm_float:
            return row.llvm_float
        unsigned = not elem.is_signed and elem is not Elem.MASK
        return row.llvm_unsigned if unsigned and row.llvm_unsigned else row.llvm

    def _plain(self, template: str, let: Let) -> str:
        if template.startswith("@"):
            return self._intrinsic(template, let)
        args = [self._value(a) for a in let.args]
        amount = ""
        if let.attrs:
            amount = self._value(Imm(let.attrs[0], let.result.type))
        first = self._type(let.args[0].type) if let.args else ""
        text = template.format(*args, t=self._type(let.result.type), a=first, n=amount)
        return self._let_text(text)

    def _intrinsic(self, template: str, let: Let) -> str:
        match = re.fullmatch(r"(@[a-z.]+)\((.*)\)", template)
        assert match is not None, template
        args = [self._typed(a) for a in let.args]
        literals = [a.strip() for a in match[2].split(",") if not a.strip().startswith("{")]
        return self.call(match[1], let.result.type, [*args, *literals])

    def mul_add(self, let: Let) -> str:
        """One fused instruction where there is one, else a product and a sum."""
        type_, elem = let.result.type, let.result.type.elem
        fused = self._target.fused_multiply_add
        fused &= elem is not Elem.F64 or self._target.scalar_f64
        if elem.is_float and fused:
            return self.call("@llvm.fma", type_, [self._typed(a) for a in let.args])
        kind, (a, b, c) = ("f" if elem.is_float else ""), (self._value(x) for x in let.args)
        product = self._let_text(f"{kind}mul {self._type(type_)} {a}, {b}")
        return self._let_text(f"{kind}add {self._type(type_)} {product}, {c}")

    def divide(self, let: Let) -> str:
        """Division and remainder of integers, by a function of ours where LLVM would call one."""
        elem = let.result.type.elem
        constant = isinstance(let.args[1], Imm)
        helper = ""
        if not elem.is_float:
            helper = llvm_helpers.division(let.op, elem, self._target, by_constant=constant)
        if helper:
            return self._by_helper(helper, let)
        return self._plain(self._template(OPS[let.op], let), let)

    def sqrt(self, let: Let) -> str:
        """An instruction, or a function of ours."""
        if helper := llvm_helpers.square_root(let.result.type.elem, self._target):
            return self._by_helper(helper, let)
        return self._plain(self._template(OPS[let.op], let), let)

    def _by_helper(self, helper: str, let: Let) -> str:
        """Call an internal function, lane by lane; narrow integers are widened for it."""
        self.helpers.add(helper)
        result = let.result.type
        value = "poison"
        for lane in range(result.lanes):
            args = [self._widened_scalar(a, lane) for a in let.args]
            one = self._type(result.with_lanes(1))
            wide = "i32" if one in ("i8", "i16") else one
            name = self._let_text(f"call {wide} @{helper}({', '.join(args)})")
            if wide != one:
                name = self._let_text(f"trunc {wide} {name} to {one}")
            value = name if result.lanes == 1 else self._inserted(result, value, name, lane)
        return value

    def _widened_scalar(self, arg: Operand, lane: int) -> str:
        """One lane of an operand, typed and at least 32 bits wide."""
        typed = self._scalar(arg, lane)
        if typed.split()[0] not in ("i8", "i16"):
            return typed
        verb = "sext" if arg.type.elem.is_signed else "zext"
        return f"i32 {self._let_text(f'{verb} {typed} to i32')}"

    def _scalar(self, arg: Operand, lane: int) -> str:
        """One lane of an operand, typed."""
        if arg.type.lanes == 1:
            return self._typed(arg)
        name = self._let_text(f"extractelement {self._typed(arg)}, i32 {lane}")
        return f"{self._type(arg.type.with_lanes(1))} {name}"

    def _inserted(self, vector: VType, value: str, scalar: str, lane: int) -> str:
        """The vector with one lane set."""
        one = self._type(vector.with_lanes(1))
        return self._let_text(
            f"insertelement {self._type(vector)} {value}, {one} {scalar}, i32 {lane}"
        )

    def min_max(self, let: Let) -> str:
        """Integers by intrinsic; floats by whatever propagates NaN with the fewest instructions."""
        if not let.result.type.elem.is_float:
            return self._plain(self._template(OPS[let.op], let), let)
        if self._has_float_min(let.result.type):
            args = [self._typed(a) for a in let.args]
            return self.call(f"@llvm.{let.op}imum", let.result.type, args)
        a, b = let.args
        if isinstance(b, Imm):
            a, b = b, a
        better = self._compare("olt" if let.op == "min" else "ogt", a, b)
        result = self._select(better, a, b)  # b where either is NaN
        if isinstance(a, Imm) and not math.isnan(a.value):
            return result
        chosen = f"{self._type(let.result.type)} {result}"
        test = self._compare("uno", a, a)
        return self._let_text(f"select {self._mask(a.type)} {test}, {self._typed(a)}, {chosen}")

    def _has_float_min(self, type_: VType) -> bool:
        """Whether one instruction does what min and max of floats mean here."""
        match self._target.isa.float_min:
            case FloatMin.EVERYWHERE:
                return True
            case FloatMin.NEON_VECTORS:
                return self._target.has_neon and type_.elem is Elem.F32 and type_.lanes > 1
            case FloatMin.NOWHERE:
                return False

    def _compare(self, how: str, a: Operand, b: Operand) -> str:
        return self._let_text(f"fcmp {how} {self._typed(a)}, {self._value(b)}")

    def _select(self, mask: str, a: Operand, b: Operand) -> str:
        type_ = self._mask(a.type)
        return self._let_text(f"select {type_} {mask}, {self._typed(a)}, {self._typed(b)}")

    def _mask(self, type_: VType) -> str:
        return self._type(type_.with_elem(Elem.MASK))

    def lane(self, let: Let) -> str:
        """One lane as a scalar."""
        (arg,), lane = let.args, let.attrs[0]
        if arg.type.lanes == 1:
            return self._value(arg)
        return self._let_text(f"extractelement {self._typed(arg)}, i32 {lane}")

    def convert(self, let: Let) -> str:
        """Between element types, lanes unchanged."""
        (arg,) = let.args
        source, to = arg.type.elem, let.result.type.elem
        if source is to:
            return self._value(arg)
        if helper := llvm_helpers.conversion(source, to, self._target):
            return self._by_helper(helper, let)
        lanes = arg.type.lanes
        if lanes & (lanes - 1) == 0:
            return self._converted(self._typed(arg), arg.type, to)
        # LLVM 22 cannot narrow odd vectors of 64-bit integers (AArch64): lane by lane.
        value = "poison"
        for lane in range(lanes):
            one = self._converted(self._scalar(arg, lane), arg.type.with_lanes(1), to)
            value = self._inserted(let.result.type, value, one, lane)
        return value

    def _converted(self, typed: str, source: VType, to: Elem) -> str:
        """A conversion that LLVM has a verb for; `typed` is a value of type `source`."""
        result = source.with_elem(to)
        if source.elem.is_float and not to.is_float:
            kind = "s" if to.is_signed else "u"
            return self.call(f"@llvm.fpto{kind}i.sat", result, [typed], source)
        verb = _conversion(source.elem, to, self._target.word_bits)
        if not verb:
            return typed.split()[-1] if source.lanes == 1 else typed[typed.index("> ") + 2 :]
        return self._let_text(f"{verb} {typed} to {self._type(result)}")

    def splat(self, let: Let) -> str:
        """A scalar into every lane."""
        (arg,) = let.args
        if let.result.type.lanes == 1:
            return self._value(arg)
        return self._spread(self._typed(arg), let.result.type)

    def splat_lane(self, let: Let) -> str:
        """One lane into every lane: what fma by lane folds."""
        (arg,), (lane, count) = let.args, let.attrs
        if count == 1:
            return self.lane(let)
        if arg.type.lanes == 1:
            return self._spread(self._typed(arg), let.result.type)
        picks = ", ".join([f"i32 {lane}"] * count)
        type_ = self._type(arg.type)
        return self._let_text(
            f"shufflevector {type_} {self._value(arg)}, {type_} poison, <{count} x i32> <{picks}>"
        )

    def part(self, let: Let) -> str:
        """Consecutive lanes of a vector."""
        (arg,), (start, count) = let.args, let.attrs
        if count == 1:
            return self.lane(let)
        picks = ", ".join(f"i32 {start + i}" for i in range(count))
        type_ = self._type(arg.type)
        return self._let_text(
            f"shufflevector {type_} {self._value(arg)}, {type_} poison, <{count} x i32> <{picks}>"
        )

    def join(self, let: Let) -> str:
        """Two vectors (or scalars) side by side."""
        total = let.result.type.lanes
        wide = [self._widened(a, total) for a in let.args]
        first = let.args[0].type.lanes
        picks = [i if i < first else total + i - first for i in range(total)]
        mask = ", ".join(f"i32 {p}" for p in picks)
        type_ = self._type(let.result.type)
        return self._let_text(
            f"shufflevector {type_} {wide[0]}, {type_} {wide[1]}, <{total} x i32> <{mask}>"
        )

    def iota(self, let: Let) -> str:
        """0, 1, 2, .. as a literal."""
        type_ = let.result.type
        if type_.lanes == 1:
            return "0.0" if type_.elem.is_float else "0"
        one = type_.with_lanes(1)
        items = ", ".join(self._typed(Imm(i, one)) for i in range(type_.lanes))
        return f"<{items}>"

    def largest(self, let: Let) -> str:
        """The largest lane."""
        (arg,), scalar = let.args, self._type(let.result.type)
        if arg.type.lanes == 1:
            return self._value(arg)
        kind = "s" if arg.type.elem.is_signed else "u"
        function = f"@llvm.vector.reduce.{kind}max.v{arg.type.lanes}{scalar}"
        self.declarations.add(f"declare {scalar} {function}({self._type(arg.type)})")
        return self._let_text(f"call {scalar} {function}({self._typed(arg)})")

    def pack_bits(self, let: Let) -> str:
        """A mask as bytes: x86 has an instruction, elsewhere lanes carry their bit's weight."""
        (arg,), result = let.args, let.result.type
        if self._target.isa.masks_are_bits:
            return self._let_text(f"bitcast {self._typed(arg)} to {self._type(result)}")
        lanes = arg.type.lanes
        bytes_ = VType(Elem.U8, lanes)
        spread = self._let_text(f"sext {self._typed(arg)} to {self._type(bytes_)}")
        weights = ", ".join(f"i8 {1 << (i % 8)}" for i in range(lanes))
        type_ = self._type(bytes_)
        bits = self._let_text(f"and {type_} {spread}, <{weights}>")
        sums = []
        for group in range(lanes // 8):
            picks = ", ".join(f"i32 {8 * group + i}" for i in range(8))
            eight = self._let_text(
                f"shufflevector {type_} {bits}, {type_} poison, <8 x i32> <{picks}>"
            )
            self.declarations.add("declare i8 @llvm.vector.reduce.add.v8i8(<8 x i8>)")
            sums.append(self._let_text(f"call i8 @llvm.vector.reduce.add.v8i8(<8 x i8> {eight})"))
        if len(sums) == 1:
            return sums[0]
        value = "poison"
        for index, byte in enumerate(sums):
            value = self._let_text(
                f"insertelement {self._type(result)} {value}, i8 {byte}, i32 {index}"
            )
        return value

    # --- text helpers ----------------------------------------------------------------------------

    def _widened(self, arg: Operand, lanes: int) -> str:
        wide = self._type(arg.type.with_lanes(lanes))
        if arg.type.lanes == 1:
            return self._let_text(f"insertelement {wide} poison, {self._typed(arg)}, i32 0")
        picks = ", ".join(f"i32 {i if i < arg.type.lanes else 'poison'}" for i in range(lanes))
        type_ = self._type(arg.type)
        return self._let_text(
            f"shufflevector {type_} {self._value(arg)}, {type_} poison, <{lanes} x i32> <{picks}>"
        )

    def _spread(self, typed_scalar: str, to: VType) -> str:
        wide = self._type(to)
        first = self._let_text(f"insertelement {wide} poison, {typed_scalar}, i32 0")
        return self._let_text(
            f"shufflevector {wide} {first}, {wide} poison, <{to.lanes} x i32> zeroinitializer"
        )


_SPECIAL: dict[str, Callable[[OperationWriter, Let], str]] = {
    "min": OperationWriter.min_max,
    "max": OperationWriter.min_max,
    "lane": OperationWriter.lane,
    "div": OperationWriter.divide,
    "rem": OperationWriter.divide,
    "sqrt": OperationWriter.sqrt,
    "mul_add": OperationWriter.mul_add,
    "mul_high": OperationWriter.mul_high,
    "wide_mul": OperationWriter.wide_mul,
    "wide_mul_add": OperationWriter.wide_mul_add,
    "add_pairs": OperationWriter.add_pairs,
    "pair_sums": OperationWriter.pair_sums,
    "shr_round": OperationWriter.shr_round,
    "convert": OperationWriter.convert,
    "splat": OperationWriter.splat,
    "splat_lane": OperationWriter.splat_lane,
    "part": OperationWriter.part,
    "join": OperationWriter.join,
    "pick": OperationWriter.pick,
    "iota": OperationWriter.iota,
    "pack_bits": OperationWriter.pack_bits,
    "largest": OperationWriter.largest,
}


def _conversion(source: Elem, to: Elem, word_bits: int) -> str:
    """The LLVM cast between two element types; empty if the bits are the same."""
    if source.is_float and to.is_float:
        return "fpext" if to is Elem.F64 else "fptrunc"
    if to.is_float:
        return "sitofp" if source.is_signed else "uitofp"
    if source is Elem.MASK:
        return "zext"
    if to is Elem.MASK:
        raise InternalError("a mask is made by comparing, not by converting")
    have = word_bits if source is Elem.INDEX else source.bytes * 8
    want = word_bits if to is Elem.INDEX else to.bytes * 8
    if have == want:
        return ""
    if have > want:
        return "trunc"
    return "sext" if source.is_signed or source is Elem.INDEX else "zext"
