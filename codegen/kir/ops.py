"""The operations of kernel IR, one row each: operands, result type, meaning in numpy, LLVM and C.

`takes` contains a letter for each operand:

* T: any element type of `kinds` and any number of lanes; all T operands have equal types;
* E: the element type of the first operand, with any number of lanes;
* S: a scalar;
* W: an integer with twice the bits of the first operand, and as many lanes;
* N: an integer with half the bits of the first operand, and twice as many lanes;
* M: a mask with as many lanes as the other operands, or with one lane.

`kinds` contains a letter for each class of element types: f float, h float16, s signed, u unsigned,
x index, m mask. Only targets with the feature fp16 compute in float16, and only in LLVM IR.

In templates, {0}, {1}, .. are the operands, and {n} is the attribute. LLVM templates also use the
types of the result, {t}, and of the first operand, {a}; `@llvm.name(..)` calls an intrinsic. C
templates are expressions for one lane. They also use the C type of the result, {c}; the unsigned
C type to compute in, {u}; the name of the element type, {e}; the unsigned element type of the same
size, {w}, and its C type, {v}. An operand that has two lanes for each lane of the result counts as
two operands. The emitters have functions for operations without templates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ellc.codegen.kir.types import Elem, VType
from ellc.ir.types import Array

ResultRule = Callable[[tuple[VType, ...], tuple[int, ...]], VType]


@dataclass(frozen=True, slots=True)
class OpRow:
    """One operation. `meaning` maps arrays of shape (lanes,) and the attributes to the result.

    `llvm` is the template for LLVM. `llvm_unsigned`, if given, replaces it for unsigned integers,
    and `llvm_float` for floats. `c` is the template for C. `c_int`, if given, replaces it for
    integers of fixed width, and `c_float` for floats.
    """

    name: str
    takes: str
    kinds: str
    result: ResultRule
    meaning: Callable[..., Array]
    llvm: str = ""
    llvm_unsigned: str = ""
    llvm_float: str = ""
    c: str = ""
    c_int: str = ""
    c_float: str = ""

    def admits(self, elem: Elem) -> bool:
        """Whether operands T and E may have this element type."""
        return kind_of(elem) in self.kinds


OPS: dict[str, OpRow] = {}


def kind_of(elem: Elem) -> str:
    """The letter for the class of an element type in `OpRow.kinds`."""
    match elem:
        case Elem.F16:
            return "h"
        case Elem.INDEX:
            return "x"
        case Elem.MASK:
            return "m"
    return "f" if elem.is_float else "s" if elem.is_signed else "u"


def _row(
    name: str, takes: str, kinds: str, result: ResultRule, meaning: Callable[..., Any], **text: str
) -> None:
    OPS[name] = OpRow(name, takes, kinds, result, meaning, **text)


def _same(types: tuple[VType, ...], attrs: tuple[int, ...]) -> VType:
    return types[0]


def _mask(types: tuple[VType, ...], attrs: tuple[int, ...]) -> VType:
    return types[0].with_elem(Elem.MASK)


ELEM_CODES = tuple(Elem)
"""Attributes are integers. An element type is given by its index in this tuple."""


def elem_code(elem: Elem) -> int:
    """The attribute that stands for an element type."""
    return ELEM_CODES.index(elem)


def _to_elem(types: tuple[VType, ...], attrs: tuple[int, ...]) -> VType:
    return types[0].with_elem(ELEM_CODES[attrs[0]])


# --- arithmetic ------------------------------------------------------------------------------
# Integers of fixed width wrap, so C computes in unsigned types. Indices never overflow.

_row("add", "TT", "fhsux", _same, np.add, llvm="add {t} {0}, {1}", llvm_float="fadd {t} {0}, {1}",
     c="{0} + {1}", c_int="({c})(({u}){0} + ({u}){1})")  # fmt: skip
_row("sub", "TT", "fhsux", _same, np.subtract, llvm="sub {t} {0}, {1}",
     llvm_float="fsub {t} {0}, {1}",
     c="{0} - {1}", c_int="({c})(({u}){0} - ({u}){1})")  # fmt: skip
_row("mul", "TT", "fhsux", _same, np.multiply, llvm="mul {t} {0}, {1}",
     llvm_float="fmul {t} {0}, {1}",
     c="{0} * {1}", c_int="({c})(({u}){0} * ({u}){1})")  # fmt: skip


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.asarray(np.divide(a, b))
    # a - fmod(a, b) is a multiple of b, so `//` divides it exactly.
    return np.asarray((a - np.fmod(a, b)) // b)


# Integer division truncates toward zero. The divisor must not be 0, and the quotient must fit.
_row("div", "TT", "fhsux", _same, _divide, llvm="sdiv {t} {0}, {1}",
     llvm_unsigned="udiv {t} {0}, {1}", llvm_float="fdiv {t} {0}, {1}",
     c="{0} / {1}", c_int="({c})({0} / {1})")  # fmt: skip
_row("rem", "TT", "sux", _same, lambda a, b: np.fmod(a, b), llvm="srem {t} {0}, {1}",
     llvm_unsigned="urem {t} {0}, {1}", c="{0} % {1}", c_int="({c})({0} % {1})")  # fmt: skip
_row("neg", "T", "fhsux", _same, np.negative, llvm="sub {t} zeroinitializer, {0}",
     llvm_float="fneg {t} {0}", c="-{0}", c_int="({c})(0u - ({u}){0})")  # fmt: skip
_row("abs", "T", "fhsx", _same, np.abs, llvm="@llvm.abs({0}, i1 false)",
     llvm_float="@llvm.fabs({0})", c="{0} < 0 ? -{0} : {0}",
     c_int="({c})({0} < 0 ? 0u - ({u}){0} : ({u}){0})", c_float="{e}_abs({0})")  # fmt: skip
_row("sqrt", "T", "fh", _same, np.sqrt, llvm_float="@llvm.sqrt({0})",
     c="{e}_sqrt({0})")  # fmt: skip
# The result is rounded once or twice. Emitters choose what is faster on the target.
_row("mul_add", "TTT", "fhsux", _same, lambda a, b, c: a * b + c,
     c="{0} * {1} + {2}", c_int="({c})(({u}){0} * ({u}){1} + ({u}){2})")  # fmt: skip


def _wider(types: tuple[VType, ...], attrs: tuple[int, ...]) -> VType:
    return types[0].with_elem(types[0].elem.wider)


def _wide_product(a: Array, b: Array) -> Array:
    wide = np.dtype(f"{a.dtype.kind}{2 * a.dtype.itemsize}")
    return np.asarray(a.astype(wide) * b.astype(wide))


# The exact products of 8- or 16-bit integers, with twice the bits.
_row("wide_mul", "TT", "su", _wider, _wide_product, c="({c})(({u}){0} * ({u}){1})")
_row("wide_mul_add", "TTW", "su", _wider, lambda a, b, c: _wide_product(a, b) + c,
     c="({c})(({u}){0} * ({u}){1} + ({u}){2})")  # fmt: skip


def _pair_sums(a: Array, wide: np.dtype[Any]) -> Array:
    return np.asarray(a[::2].astype(wide) + a[1::2].astype(wide))


# The sums of two neighbouring lanes: `add_pairs` adds them to lanes with twice the bits, and
# `pair_sums` gives them in the same type.
_row("add_pairs", "TN", "su", _same, lambda a, b: a + _pair_sums(b, a.dtype),
     c="({c})(({u}){0} + ({u}){1} + ({u}){2})")  # fmt: skip
_row("pair_sums", "T", "su", lambda t, a: t[0].with_lanes(t[0].lanes // 2),
     lambda a: _pair_sums(a, a.dtype), c="({c})(({u}){0} + ({u}){1})")  # fmt: skip


def _pair_products(a: Array, b: Array) -> Array:
    products = _wide_product(a, b)
    return _pair_sums(products, products.dtype)


# The sums of two neighbouring products, with twice the bits. The sums wrap.
_row("pair_products", "TT", "s",
     lambda t, a: VType(t[0].elem.wider, t[0].lanes // 2), _pair_products,
     c="({c})(({u}){0} * ({u}){2} + ({u}){1} * ({u}){3})")  # fmt: skip


def _short_product(a: Array, b: Array) -> Array:
    return np.asarray(a.astype(np.int16).astype(a.dtype) * b.astype(np.int16).astype(a.dtype))


# Products of the low 16 bits of 32-bit integers, as signed numbers.
_row("mul_short", "TT", "s", _same, _short_product, c="({c})(int16_t){0} * (int16_t){1}")


def _mul_high(a: Array, b: Array) -> Array:
    product = a.astype(np.int64) * b.astype(np.int64)
    high = np.minimum((product + (1 << 30)) >> 31, (1 << 31) - 1)
    return np.asarray(high, np.int64).astype(np.int32)


# 2ab / 2^32 for 32-bit integers, rounded to nearest (halves up). The square of the lowest number
# saturates to the highest number.
_row("mul_high", "TT", "s", _same, _mul_high, c="i32_mul_high({0}, {1})")

# `min` and `max` propagate NaN, as numpy does. Of two zeros, either may be the result.
_row("min", "TT", "fhsux", _same, np.minimum, llvm="@llvm.smin({0}, {1})",
     llvm_unsigned="@llvm.umin({0}, {1})", c="{1} < {0} ? {1} : {0}",
     c_float="{0} != {0} || {0} < {1} ? {0} : {1}")  # fmt: skip
_row("max", "TT", "fhsux", _same, np.maximum, llvm="@llvm.smax({0}, {1})",
     llvm_unsigned="@llvm.umax({0}, {1})", c="{1} > {0} ? {1} : {0}",
     c_float="{0} != {0} || {0} > {1} ? {0} : {1}")  # fmt: skip

# --- bits ------------------------------------------------------------------------------------

for _name, _bitwise, _sign in (
    ("and", np.bitwise_and, "&"),
    ("or", np.bitwise_or, "|"),
    ("xor", np.bitwise_xor, "^"),
):
    _row(_name, "TT", "suxm", _same, _bitwise, llvm=f"{_name} {{t}} {{0}}, {{1}}",
         c=f"({{c}})({{0}} {_sign} {{1}})")  # fmt: skip


def _popcount(a: Array) -> Array:
    bits = np.bitwise_count(a.view(a.dtype.str.replace("i", "u")))
    return np.asarray(bits.astype(a.dtype))


_row("popcount", "T", "su", _same, _popcount, llvm="@llvm.ctpop({0})",
     c="({c}){w}_popcount(({v}){0})")  # fmt: skip
# Shifts by a constant number of bits, which is the attribute. Right shifts keep the sign of signed
# elements.
_row("shl", "T", "sux", _same, lambda a, n: np.left_shift(a, a.dtype.type(n)),
     llvm="shl {t} {0}, {n}", c="{0} * ((ptrdiff_t)1 << {n})",
     c_int="({c})(({u}){0} << {n})")  # fmt: skip
_row("shr", "T", "sux", _same, lambda a, n: np.right_shift(a, a.dtype.type(n)),
     llvm="ashr {t} {0}, {n}", llvm_unsigned="lshr {t} {0}, {n}",
     c="{0} >> {n}", c_int="({c})({0} >> {n})")  # fmt: skip


def _bits_of(a: Array, b: Array) -> Array:
    """The second operand of a shift, after checking that it is in [0, bits of an element).

    A shift by any other number is undefined in C, even in a lane whose result is not used.
    """
    low, high = np.minimum.reduce(b), np.maximum.reduce(b)
    if low < 0 or high >= a.dtype.itemsize * 8:
        raise ValueError(f"shifts {a.dtype} by {low} to {high} bits")
    return b


# Shifts by the number of bits in the second operand.
_row("shl_by", "TT", "su", _same, lambda a, b: np.left_shift(a, _bits_of(a, b)),
     llvm="shl {t} {0}, {1}", c_int="({c})(({u}){0} << {1})")  # fmt: skip
_row("shr_by", "TT", "su", _same, lambda a, b: np.right_shift(a, _bits_of(a, b)),
     llvm="ashr {t} {0}, {1}", llvm_unsigned="lshr {t} {0}, {1}",
     c_int="({c})({0} >> {1})")  # fmt: skip


def _shr_round(a: Array, b: Array) -> Array:
    half = np.int64(1) << _bits_of(a, b).astype(np.int64) >> 1
    return np.asarray((a + half) >> b, np.int64).astype(np.int32)


# a / 2^b for 32-bit integers, rounded to nearest (halves up).
_row("shr_round", "TT", "s", _same, _shr_round,
     c_int="({c})(({0} >> {1}) + (({0} & ({c})(({u})1 << {1} >> 1)) != 0))")  # fmt: skip

# --- comparison and selection: comparisons with NaN are false, except `ne` ----------------------

for _name, _numpy, _fcmp, _icmp, _ucmp, _sign in (
    ("eq", np.equal, "oeq", "eq", "eq", "=="),
    ("ne", np.not_equal, "une", "ne", "ne", "!="),
    ("lt", np.less, "olt", "slt", "ult", "<"),
    ("le", np.less_equal, "ole", "sle", "ule", "<="),
    ("gt", np.greater, "ogt", "sgt", "ugt", ">"),
    ("ge", np.greater_equal, "oge", "sge", "uge", ">="),
):
    _row(
        _name,
        "TT",
        "fhsuxm" if _name in ("eq", "ne") else "fhsux",
        _mask,
        _numpy,
        llvm=f"icmp {_icmp} {{a}} {{0}}, {{1}}",
        llvm_unsigned=f"icmp {_ucmp} {{a}} {{0}}, {{1}}",
        llvm_float=f"fcmp {_fcmp} {{a}} {{0}}, {{1}}",
        c=f"({{c}})({{0}} {_sign} {{1}})",
    )

_row("select", "MTT", "fhsuxm", lambda t, a: t[1], lambda m, a, b: np.where(m, a, b),
     llvm="select {a} {0}, {t} {1}, {t} {2}", c="{0} ? {1} : {2}")  # fmt: skip

# The same index, about which LLVM knows nothing. Addresses that are computed from it keep it as
# their base register: LLVM cannot compute it again from other indices.
_row("opaque", "S", "x", _same, lambda a: a, llvm='call {t} asm "", "=r,0"({a} {0})', c="{0}")

# --- between types -----------------------------------------------------------------------------


def _convert(a: Array, code: int) -> Array:
    to = ELEM_CODES[code].numpy
    if a.dtype.kind == "f" and to.kind in "iu":
        info = np.iinfo(to)
        exact = np.nan_to_num(a.astype(np.float64), nan=0.0)
        top = float(info.max)
        clipped = np.clip(np.trunc(exact), float(info.min), top)
        return np.where(clipped >= top, info.max, np.minimum(clipped, top - 1).astype(to)).astype(
            to
        )
    return a.astype(to)


# A float becomes an integer by truncation and saturation; NaN becomes 0. An integer that becomes
# narrower loses its upper bits. A mask becomes 0 or 1. Floats cannot become indices, and no value
# can become a mask.
_row("convert", "T", "fhsuxm", _to_elem, _convert)
_row("bitcast", "T", "fsu", _to_elem, lambda a, code: a.view(ELEM_CODES[code].numpy),
     llvm="bitcast {a} {0} to {t}")  # fmt: skip


def _from_half(a: Array) -> Array:
    return a.view(np.float16).astype(np.float32)


# The float32 numbers whose float16 bits the operand has, as unsigned integers of 16 bits.
_row("from_half", "T", "u", lambda t, a: t[0].with_elem(Elem.F32), _from_half,
     c="u16_as_half({0})")  # fmt: skip

# --- between lanes -------------------------------------------------------------------------------

_row("splat", "S", "fhsuxm", lambda t, a: t[0].with_lanes(a[0]), lambda a, n: np.repeat(a, n))
# Lane i (first attribute), broadcast to n lanes (second attribute).
_row("splat_lane", "T", "fhsuxm", lambda t, a: t[0].with_lanes(a[1]),
     lambda a, i, n: np.repeat(a[i], n))  # fmt: skip
_row("lane", "T", "fhsuxm", lambda t, a: t[0].with_lanes(1), lambda a, i: a[i : i + 1])
# All lanes, repeated n times (the attribute).
_row("repeat", "T", "fhsux", lambda t, a: t[0].with_lanes(a[0] * t[0].lanes),
     lambda a, n: np.tile(a, n))  # fmt: skip
# Lanes [start, start + count); the attributes are start and count.
_row("part", "T", "fhsuxm", lambda t, a: t[0].with_lanes(a[1]), lambda a, i, n: a[i : i + n])
# The lanes of two values, concatenated.
_row("join", "EE", "fhsuxm", lambda t, a: t[0].with_lanes(t[0].lanes + t[1].lanes),
     lambda a, b: np.concatenate([a, b]))  # fmt: skip


def _pick(indices: Array, table: Array) -> Array:
    inside = indices < len(table)
    return np.where(inside, table[np.where(inside, indices, 0)], 0).astype(table.dtype)


# Bytes of the second operand, a table, selected by the indices in the first. An index beyond the
# table gives 0.
_row("pick", "TE", "u", _same, _pick)
# 0, 1, 2, ..; the attributes are the element type and the number of lanes.
_row("iota", "", "fsux", lambda t, a: VType(ELEM_CODES[a[0]], a[1]),
     lambda code, n: np.arange(n, dtype=ELEM_CODES[code].numpy))  # fmt: skip
# The bits of a mask, with lane 0 in bit 0 of byte 0. The number of lanes is a multiple of 8.
_row("pack_bits", "T", "m", lambda t, a: VType(Elem.U8, t[0].lanes // 8),
     lambda a: np.packbits(a, bitorder="little"))  # fmt: skip
# The largest lane.
_row("largest", "T", "su", lambda t, a: t[0].with_lanes(1), lambda a: a.max(keepdims=True))
