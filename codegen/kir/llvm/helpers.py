"""Helpers: functions in LLVM IR for operations that LLVM would turn into library calls.

On 32-bit ARM and RISC-V, LLVM calls library functions for 64-bit division, for conversions between
64-bit integers and floats, and for 32-bit division if the core has no divide instruction. Kernels
must not need a library, so an LLVM module calls internal functions instead, and defines those it
calls.

Floating-point arithmetic that a core lacks in hardware remains a call: `__aeabi_dadd`, `__adddf3`
and similar functions belong to the compiler's runtime library, which every toolchain for such
boards links. The square root does not belong to it, so this module has a helper for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target

_UNSIGNED_DIVISION = """\
define internal {t} @ellc.udiv.{t}({t} %a, {t} %b) #0 {{
entry:
  %small = icmp ult {t} %a, %b
  br i1 %small, label %zero, label %start
zero:
  ret {t} 0
start:
  %za = call {t} @llvm.ctlz.{t}({t} %a, i1 false)
  %zb = call {t} @llvm.ctlz.{t}({t} %b, i1 false)
  %shift = sub {t} %zb, %za
  %top = shl {t} %b, %shift
  br label %loop
loop:
  %left = phi {t} [ %shift, %start ], [ %left.next, %loop ]
  %rest = phi {t} [ %a, %start ], [ %rest.next, %loop ]
  %divisor = phi {t} [ %top, %start ], [ %divisor.next, %loop ]
  %quotient = phi {t} [ 0, %start ], [ %quotient.next, %loop ]
  %fits = icmp uge {t} %rest, %divisor
  %less = sub {t} %rest, %divisor
  %rest.next = select i1 %fits, {t} %less, {t} %rest
  %digit = zext i1 %fits to {t}
  %twice = shl {t} %quotient, 1
  %quotient.next = or {t} %twice, %digit
  %divisor.next = lshr {t} %divisor, 1
  %left.next = sub {t} %left, 1
  %last = icmp eq {t} %left, 0
  br i1 %last, label %done, label %loop
done:
  ret {t} %quotient.next
}}
"""

_SIGNED_DIVISION = """\
define internal {t} @ellc.sdiv.{t}({t} %a, {t} %b) #0 {{
  %size.a = call {t} @llvm.abs.{t}({t} %a, i1 false)
  %size.b = call {t} @llvm.abs.{t}({t} %b, i1 false)
  %size = call {t} @ellc.udiv.{t}({t} %size.a, {t} %size.b)
  %signs = xor {t} %a, %b
  %differ = icmp slt {t} %signs, 0
  %negative = sub {t} 0, %size
  %quotient = select i1 %differ, {t} %negative, {t} %size
  ret {t} %quotient
}}
"""

_REMAINDER = """\
define internal {t} @ellc.{s}rem.{t}({t} %a, {t} %b) #0 {{
  %quotient = call {t} @ellc.{s}div.{t}({t} %a, {t} %b)
  %product = mul {t} %quotient, %b
  %rest = sub {t} %a, %product
  ret {t} %rest
}}
"""

# Converts the 32 leading bits; only this rounds. The lowest of these bits is also set if any bit
# after them is set, so that the result is rounded correctly.
_U64_TO_F32 = """\
define internal float @ellc.u64.f32(i64 %a) #0 {
  %upper.64 = lshr i64 %a, 32
  %upper = trunc i64 %upper.64 to i32
  %zeros = call i32 @llvm.ctlz.i32(i32 %upper, i1 false)
  %shift = sub i32 32, %zeros
  %shift.64 = zext i32 %shift to i64
  %top.64 = lshr i64 %a, %shift.64
  %top = trunc i64 %top.64 to i32
  %back = shl i64 %top.64, %shift.64
  %lost = icmp ne i64 %back, %a
  %sticky = zext i1 %lost to i32
  %digits = or i32 %top, %sticky
  %number = uitofp i32 %digits to float
  %exponent = add i32 %shift, 127
  %pattern = shl i32 %exponent, 23
  %scale = bitcast i32 %pattern to float
  %result = fmul float %number, %scale
  ret float %result
}
"""

_I64_TO_F32 = """\
define internal float @ellc.i64.f32(i64 %a) #0 {
  %size = call i64 @llvm.abs.i64(i64 %a, i1 false)
  %number = call float @ellc.u64.f32(i64 %size)
  %opposite = fneg float %number
  %below = icmp slt i64 %a, 0
  %result = select i1 %below, float %opposite, float %number
  ret float %result
}
"""

# Both halves are exact in float64. Only their sum is rounded.
_TO_F64 = """\
define internal double @ellc.{s}64.f64(i64 %a) #0 {{
  %upper.64 = lshr i64 %a, 32
  %upper.32 = trunc i64 %upper.64 to i32
  %lower.32 = trunc i64 %a to i32
  %upper = {verb} i32 %upper.32 to double
  %lower = uitofp i32 %lower.32 to double
  %high = fmul double %upper, 0x41F0000000000000
  %result = fadd double %high, %lower
  ret double %result
}}
"""

# Converts by integer arithmetic: the significand is shifted by the exponent. The result saturates,
# and NaN becomes 0.
_FROM_FLOAT = """\
define internal i64 @ellc.{f}.{s}64({float} %a) #0 {{
  %bits = bitcast {float} %a to {w}
  %exponent.w = lshr {w} %bits, {fraction}
  %exponent.32 = {narrow}
  %exponent = and i32 %exponent.32, {exponents}
  %fraction = and {w} %bits, {fraction_mask}
  %digits.w = or {w} %fraction, {hidden}
  %digits = {widen}
  %left = sub i32 %exponent, {integral}
  %right = sub i32 {integral}, %exponent
  %left.least = call i32 @llvm.smax.i32(i32 %left, i32 0)
  %left.most = call i32 @llvm.smin.i32(i32 %left.least, i32 63)
  %right.least = call i32 @llvm.smax.i32(i32 %right, i32 0)
  %right.most = call i32 @llvm.smin.i32(i32 %right.least, i32 63)
  %left.64 = zext i32 %left.most to i64
  %right.64 = zext i32 %right.most to i64
  %up = shl i64 %digits, %left.64
  %size = lshr i64 %up, %right.64
  %below = icmp slt {w} %bits, 0
  %opposite = sub i64 0, %size
  %ordinary = select i1 %below, i64 {below}, i64 %size
  %limit = select i1 %below, i64 {lowest}, i64 {highest}
  %over = icmp sge i32 %exponent, {too_large}
  %inside = select i1 %over, i64 %limit, i64 %ordinary
  %unsigned = and {w} %bits, {size_mask}
  %nan = icmp ugt {w} %unsigned, {infinity}
  %result = select i1 %nan, i64 0, i64 %inside
  ret i64 %result
}}
"""

_SQRT = """\
define internal {float} @ellc.sqrt.{f}({float} %a) #0 {{
entry:
  %bits = bitcast {float} %a to {w}
  %field = lshr {w} %bits, {fraction}
  %fraction = and {w} %bits, {fraction_mask}
  %positive = icmp sgt {w} %bits, 0
  %finite = icmp slt {w} %bits, {infinity}
  %ordinary = and i1 %positive, %finite
  br i1 %ordinary, label %normalise, label %special
special:
  ; zeros, positive infinity and NaN stay; what is below zero has no root
  %size = and {w} %bits, {size_mask}
  %nonzero = icmp ne {w} %size, 0
  %below = icmp slt {w} %bits, 0
  %bad = and i1 %nonzero, %below
  %unchanged = select i1 %bad, {w} {nan}, {w} %bits
  %answer = bitcast {w} %unchanged to {float}
  ret {float} %answer
normalise:
  %denormal = icmp eq {w} %field, 0
  %hidden = or {w} %fraction, {hidden}
  %some = select i1 %denormal, {w} %fraction, {w} %hidden
  %zeros = call {w} @llvm.ctlz.{w}({w} %some, i1 false)
  %shift = sub {w} %zeros, {exponent_bits}
  %digits = shl {w} %some, %shift
  %least = select i1 %denormal, {w} 1, {w} %field
  %field.real = sub {w} %least, %shift
  %exponent = sub {w} %field.real, {bias}
  %odd = and {w} %exponent, 1
  %half = ashr {w} %exponent, 1
  %even = shl {w} %digits, %odd
  %start = shl {w} %even, {room}
  br label %loop
loop:
  %turn = phi i32 [ 0, %normalise ], [ %turn.next, %loop ]
  %number = phi {w} [ %start, %normalise ], [ %number.next, %loop ]
  %rest = phi {w} [ 0, %normalise ], [ %rest.next, %loop ]
  %root = phi {w} [ 0, %normalise ], [ %root.next, %loop ]
  %rest.4 = shl {w} %rest, 2
  %two = lshr {w} %number, {top}
  %rest.now = or {w} %rest.4, %two
  %number.next = shl {w} %number, 2
  %root.4 = shl {w} %root, 2
  %trial = or {w} %root.4, 1
  %fits = icmp uge {w} %rest.now, %trial
  %less = sub {w} %rest.now, %trial
  %rest.next = select i1 %fits, {w} %less, {w} %rest.now
  %digit = zext i1 %fits to {w}
  %root.2 = shl {w} %root, 1
  %root.next = or {w} %root.2, %digit
  %turn.next = add i32 %turn, 1
  %more = icmp slt i32 %turn.next, {digits}
  br i1 %more, label %loop, label %round
round:
  ; all digits and one that rounds: a root is never half way between two numbers
  %up = add {w} %root.next, 1
  %significand = lshr {w} %up, 1
  %field.root = add {w} %half, {bias_less_1}
  %field.bits = shl {w} %field.root, {fraction}
  %result.bits = add {w} %field.bits, %significand
  %result = bitcast {w} %result.bits to {float}
  ret {float} %result
}}
"""

_F32_FIELDS: dict[str, str | int] = {
    "f": "f32", "float": "float", "w": "i32", "fraction": 23, "exponents": 255,
    "fraction_mask": 0x7FFFFF, "hidden": 0x800000, "integral": 150,
    "narrow": "add i32 %exponent.w, 0", "widen": "zext i32 %digits.w to i64",
    "size_mask": 0x7FFFFFFF, "infinity": 0x7F800000, "nan": 0x7FC00000, "exponent_bits": 8,
    "bias": 127, "bias_less_1": 126, "room": 7, "top": 30, "digits": 25,
}  # fmt: skip
_F64_FIELDS: dict[str, str | int] = {
    "f": "f64", "float": "double", "w": "i64", "fraction": 52, "exponents": 2047,
    "fraction_mask": (1 << 52) - 1, "hidden": 1 << 52, "integral": 1075,
    "narrow": "trunc i64 %exponent.w to i32", "widen": "add i64 %digits.w, 0",
    "size_mask": (1 << 63) - 1, "infinity": 0x7FF << 52, "nan": 0xFFF << 51, "exponent_bits": 11,
    "bias": 1023, "bias_less_1": 1022, "room": 10, "top": 62, "digits": 54,
}  # fmt: skip


def _from_float(fields: dict[str, str | int], bias: int, signed: bool) -> str:
    low, high = (-(1 << 63), (1 << 63) - 1) if signed else (0, -1)
    return _FROM_FLOAT.format(
        **fields,
        s="i" if signed else "u",
        below="%opposite" if signed else "0",
        lowest=low,
        highest=high,
        too_large=bias + (63 if signed else 64),
    )


_TEXTS = {
    **{f"ellc.udiv.{t}": _UNSIGNED_DIVISION.format(t=t) for t in ("i32", "i64")},
    **{f"ellc.sdiv.{t}": _SIGNED_DIVISION.format(t=t) for t in ("i32", "i64")},
    **{f"ellc.{s}rem.{t}": _REMAINDER.format(t=t, s=s) for t in ("i32", "i64") for s in "su"},
    "ellc.u64.f32": _U64_TO_F32,
    "ellc.i64.f32": _I64_TO_F32,
    "ellc.u64.f64": _TO_F64.format(s="u", verb="uitofp"),
    "ellc.i64.f64": _TO_F64.format(s="i", verb="sitofp"),
    "ellc.f32.u64": _from_float(_F32_FIELDS, 127, False),
    "ellc.f32.i64": _from_float(_F32_FIELDS, 127, True),
    "ellc.f64.u64": _from_float(_F64_FIELDS, 1023, False),
    "ellc.f64.i64": _from_float(_F64_FIELDS, 1023, True),
    "ellc.sqrt.f32": _SQRT.format(**_F32_FIELDS),
    "ellc.sqrt.f64": _SQRT.format(**_F64_FIELDS),
}

_DECLARATIONS = {
    **{f"llvm.ctlz.{t}": f"declare {t} @llvm.ctlz.{t}({t}, i1)" for t in ("i32", "i64")},
    **{f"llvm.abs.{t}": f"declare {t} @llvm.abs.{t}({t}, i1)" for t in ("i32", "i64")},
    "llvm.smax.i32": "declare i32 @llvm.smax.i32(i32, i32)",
    "llvm.smin.i32": "declare i32 @llvm.smin.i32(i32, i32)",
}


def with_needed(names: Iterable[str]) -> tuple[list[str], set[str]]:
    """(definitions of these helpers and of the helpers they call, declarations of intrinsics)."""
    wanted, texts, declared = sorted(names), dict[str, str](), set[str]()
    while wanted:
        name = wanted.pop()
        if name in texts:
            continue
        texts[name] = _TEXTS[name]
        called = re.findall(r"call \w+ @([\w.]+)\(", _TEXTS[name])
        declared |= {_DECLARATIONS[c] for c in called if c in _DECLARATIONS}
        wanted += [c for c in called if c in _TEXTS]
    return [texts[name] for name in sorted(texts)], declared


def division(op: str, elem: Elem, target: Target, *, by_constant: bool) -> str:
    """The name of the helper for `div` or `rem` of integers; empty if the target needs none.

    LLVM divides integers of up to 32 bits by a constant without a helper: it multiplies.
    """
    bits = target.word_bits if elem is Elem.INDEX else elem.bytes * 8
    in_hardware = bits <= 32 and (by_constant or target.divides_words)
    if in_hardware or not target.isa.calls_wide_arithmetic:
        return ""
    return f"ellc.{'s' if elem.is_signed else 'u'}{op}.i{max(bits, 32)}"


def conversion(source: Elem, to: Elem, target: Target) -> str:
    """The name of the helper that converts a 64-bit integer to a float or back.

    It is empty if the target needs no helper, or if the runtime library has a function for this.
    """
    wide = (Elem.I64, Elem.U64)
    converts = source.is_float != to.is_float and bool({source, to} & {*wide})
    if not converts or not target.isa.calls_wide_arithmetic:
        return ""
    if to is Elem.F64 and not target.scalar_f64:
        return ""  # the runtime library has a function for it
    return f"ellc.{source.value}.{to.value}"


def square_root(elem: Elem, target: Target) -> str:
    """The name of the helper for a square root; empty if the target has an instruction."""
    missing = not target.computes_floats or (elem is Elem.F64 and not target.scalar_f64)
    return f"ellc.sqrt.{elem.value}" if missing else ""
