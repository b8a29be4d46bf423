"""The kernel IR's operations: one row each - result type, meaning in numpy, LLVM, C.

LLVM templates may use {t} the result type, {a} the first operand's type, {s}/{m} the intrinsic
suffix of the result/first operand (`v4f32`), {0} {1} .. the operands. C templates are expressions
for one lane over operands {0} {1} ..; {c} is the result's element type, {l} the lane.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from codegen.kir.types import Elem, VType
from ir.types import Array

ResultRule = Callable[[tuple[VType, ...], tuple[int, ...]], VType]


@dataclass(frozen=True, slots=True)
class OpRow:
    """One operation. `meaning` maps arrays of shape (lanes,) and the attributes to such an array.

    `llvm` may differ by signedness (`llvm_unsigned`) and by float (`llvm_float`).
    """

    name: str
    result: ResultRule
    meaning: Callable[..., Array]
    llvm: str = ""
    llvm_unsigned: str = ""
    llvm_float: str = ""
    c: str = ""
    c_float: str = ""


OPS: dict[str, OpRow] = {}


def _row(name: str, result: ResultRule, meaning: Callable[..., Any], **text: str) -> None:
    OPS[name] = OpRow(name, result, meaning, **text)


def _same(types: tuple[VType, ...], attrs: tuple[int, ...]) -> VType:
    return types[0]


def _mask(types: tuple[VType, ...], attrs: tuple[int, ...]) -> VType:
    return types[0].with_elem(Elem.MASK)


ELEM_CODES = tuple(Elem)  # attributes are ints: an element type is its place in this tuple


def elem_code(elem: Elem) -> int:
    """An element type as an attribute."""
    return ELEM_CODES.index(elem)


def _to_elem(types: tuple[VType, ...], attrs: tuple[int, ...]) -> VType:
    return types[0].with_elem(ELEM_CODES[attrs[0]])


# --- arithmetic ------------------------------------------------------------------------------

_row("add", _same, np.add, llvm="add {t} {0}, {1}", llvm_float="fadd {t} {0}, {1}", c="{0} + {1}")
_row("sub", _same, np.subtract, llvm="sub {t} {0}, {1}", llvm_float="fsub {t} {0}, {1}",
     c="{0} - {1}")  # fmt: skip
_row("mul", _same, np.multiply, llvm="mul {t} {0}, {1}", llvm_float="fmul {t} {0}, {1}",
     c="{0} * {1}")  # fmt: skip


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.asarray(np.divide(a, b))
    quotient: Array = np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)))
    return quotient.astype(a.dtype)


# Integer division truncates toward zero; the divisor must not be 0.
_row("div", _same, _divide, llvm="sdiv {t} {0}, {1}", llvm_unsigned="udiv {t} {0}, {1}",
     llvm_float="fdiv {t} {0}, {1}", c="{0} / {1}")  # fmt: skip
_row("rem", _same, lambda a, b: np.fmod(a, b), llvm="srem {t} {0}, {1}",
     llvm_unsigned="urem {t} {0}, {1}", c="{0} % {1}")  # fmt: skip
_row("neg", _same, np.negative, llvm="sub {t} zeroinitializer, {0}", llvm_float="fneg {t} {0}",
     c="-{0}")  # fmt: skip
_row("abs", _same, np.abs, llvm="@llvm.abs({0}, i1 false)", llvm_float="@llvm.fabs({0})",
     c="({0} < 0 ? -{0} : {0})", c_float="ellc_fabs({0})")  # fmt: skip
_row("sqrt", _same, np.sqrt, llvm_float="@llvm.sqrt({0})", c_float="ellc_sqrt({0})")
# Rounded once or twice, as the target does it best; emitters choose.
_row("mul_add", _same, lambda a, b, c: a * b + c, llvm_float="mul_add",
     llvm="mul_add", c="{0} * {1} + {2}")  # fmt: skip

# Both propagate NaN, like numpy. Integers follow the element's sign.
_row("min", _same, np.minimum, llvm="@llvm.smin({0}, {1})", llvm_unsigned="@llvm.umin({0}, {1})",
     llvm_float="@llvm.minimum({0}, {1})", c="({1} < {0} ? {1} : {0})",
     c_float="({0} != {0} || {0} < {1} ? {0} : {1})")  # fmt: skip
_row("max", _same, np.maximum, llvm="@llvm.smax({0}, {1})", llvm_unsigned="@llvm.umax({0}, {1})",
     llvm_float="@llvm.maximum({0}, {1})", c="({1} > {0} ? {1} : {0})",
     c_float="({0} != {0} || {0} > {1} ? {0} : {1})")  # fmt: skip

# --- bits ------------------------------------------------------------------------------------

_row("and", _same, np.bitwise_and, llvm="and {t} {0}, {1}", c="{0} & {1}")
_row("or", _same, np.bitwise_or, llvm="or {t} {0}, {1}", c="{0} | {1}")
_row("xor", _same, np.bitwise_xor, llvm="xor {t} {0}, {1}", c="{0} ^ {1}")


def _popcount(a: Array) -> Array:
    bits = np.bitwise_count(a.view(a.dtype.str.replace("i", "u")))
    return np.asarray(bits.astype(a.dtype))


_row("popcount", _same, _popcount, llvm="@llvm.ctpop({0})", c="ellc_popcount({0})")
# Shifts by a constant number of bits (attribute); right shift follows the element's sign.
_row("shl", _same, lambda a, n: np.left_shift(a, a.dtype.type(n)), llvm="shl {t} {0}, {n}",
     c="{0} << {n}")  # fmt: skip
_row("shr", _same, lambda a, n: np.right_shift(a, a.dtype.type(n)), llvm="ashr {t} {0}, {n}",
     llvm_unsigned="lshr {t} {0}, {n}", c="{0} >> {n}")  # fmt: skip

# --- comparison and choice; a NaN compares as false, unequal as true ---------------------------

for _name, _numpy, _fcmp, _icmp, _ucmp, _c in (
    ("eq", np.equal, "oeq", "eq", "eq", "=="),
    ("ne", np.not_equal, "une", "ne", "ne", "!="),
    ("lt", np.less, "olt", "slt", "ult", "<"),
    ("le", np.less_equal, "ole", "sle", "ule", "<="),
    ("gt", np.greater, "ogt", "sgt", "ugt", ">"),
    ("ge", np.greater_equal, "oge", "sge", "uge", ">="),
):
    _row(
        _name,
        _mask,
        _numpy,
        llvm=f"icmp {_icmp} {{a}} {{0}}, {{1}}",
        llvm_unsigned=f"icmp {_ucmp} {{a}} {{0}}, {{1}}",
        llvm_float=f"fcmp {_fcmp} {{a}} {{0}}, {{1}}",
        c=f"{{0}} {_c} {{1}}",
    )

_row("select", lambda t, a: t[1], lambda m, a, b: np.where(m, a, b),
     llvm="select {a} {0}, {t} {1}, {t} {2}", c="({0} ? {1} : {2})")  # fmt: skip

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


# Float to integer truncates and saturates, NaN gives 0; narrowing an integer drops high bits;
# a mask becomes 0 or 1.
_row("convert", _to_elem, _convert, llvm="convert", c="({c}){0}")
_row("bitcast", _to_elem, lambda a, code: a.view(ELEM_CODES[code].numpy),
     llvm="bitcast {a} {0} to {t}", c="bitcast")  # fmt: skip

# --- between lanes -------------------------------------------------------------------------------

_row("splat", lambda t, a: t[0].with_lanes(a[0]), lambda a, n: np.repeat(a, n),
     llvm="splat", c="{0:0}")  # fmt: skip
_row("splat_lane", lambda t, a: t[0].with_lanes(a[1]), lambda a, i, n: np.repeat(a[i], n),
     llvm="splat_lane", c="{0:fixed}")  # fmt: skip
_row("lane", lambda t, a: t[0].with_lanes(1), lambda a, i: a[i : i + 1],
     llvm="extractelement {a} {0}, i32 {n}", c="{0:fixed}")  # fmt: skip
# Lanes [start, start + count).
_row("part", lambda t, a: t[0].with_lanes(a[1]), lambda a, i, n: a[i : i + n],
     llvm="part", c="{0:shifted}")  # fmt: skip
# Lanes of two vectors one after the other.
_row("join", lambda t, a: t[0].with_lanes(t[0].lanes + t[1].lanes),
     lambda a, b: np.concatenate([a, b]), llvm="join", c="join")  # fmt: skip
# 0, 1, 2, ..
_row("iota", lambda t, a: VType(ELEM_CODES[a[0]], a[1]),
     lambda code, n: np.arange(n, dtype=ELEM_CODES[code].numpy), llvm="iota", c="{l}")  # fmt: skip
# A mask as bits, lane 0 in bit 0 of byte 0; lanes are a multiple of 8.
_row("pack_bits", lambda t, a: VType(Elem.U8, t[0].lanes // 8),
     lambda a: np.packbits(a, bitorder="little"), llvm="pack_bits", c="pack_bits")  # fmt: skip
