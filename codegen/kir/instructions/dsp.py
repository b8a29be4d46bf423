"""Instructions of the DSP extension: Cortex-M4, M7, M33, and 32-bit ARM cores since Armv6.

A vector is a general register of 32 bits, which holds four 8-bit or two 16-bit integers.
"""

from __future__ import annotations

import numpy as np

from ellc.codegen.kir.instructions.row import Instruction
from ellc.codegen.kir.instructions.spelling import c_type, products_in_c
from ellc.codegen.kir.types import Elem, VType
from ellc.ir.types import Array

_DSP = ("dsp",)
_PAIR = VType(Elem.I16, 2)


def _pairs(*calls: str) -> str:
    """Lines of LLVM IR: the first two operands as 32-bit integers a and b, then `calls`."""
    return "\n".join(
        ("a = bitcast <2 x i16> {0} to i32", "b = bitcast <2 x i16> {1} to i32", *calls)
    )


def _product(a: Array, b: Array, total: Array) -> Array:
    """`total + a[0] * b[0] + a[1] * b[1]`, which wraps to the width of the total."""
    products = a.astype(total.dtype) * b.astype(total.dtype)
    return np.asarray(total + products.sum(dtype=total.dtype))


def _widened(sign: str, elem: Elem, first: int) -> Instruction:
    """The row that extends bytes `first` and `first + 2` to 16 bits, with or without a sign."""
    word = elem.wider
    lines = ["word = bitcast <4 x i8> {0} to i32"]
    if first:
        lines.append("turned = call i32 @llvm.fshr.i32(i32 {word}, i32 {word}, i32 8)")
    lines.append(f"both = call i32 @llvm.arm.{sign}xtb16(i32 {{{'turned' if first else 'word'}}})")
    lines.append("bitcast i32 {both} to <2 x i16>")
    return Instruction(
        f"dsp_{sign}xtb16" + ("_ror8" if first else ""),
        (VType(elem, 4),),
        VType(word, 2),
        lambda x: x[first::2].astype(word.numpy),
        {"arm": "\n".join(lines)},
        f"({c_type(VType(word))})a.l[2 * i + {first}]",
        _DSP,
        asm={"arm": f"{sign}xtb16 {{r}}, {{0}}" + (", ror #8" if first else "")},
    )


_TWO_PRODUCTS = products_in_c("a", "b", 2, "0")

ROWS: tuple[Instruction, ...] = (
    Instruction(
        "dsp_smuad",
        (_PAIR, _PAIR),
        VType(Elem.I32),
        lambda a, b: _product(a, b, np.zeros(1, np.int32)),
        {"arm": _pairs("call i32 @llvm.arm.smuad(i32 {a}, i32 {b})")},
        f"(int32_t)({_TWO_PRODUCTS})",
        _DSP,
        asm={"arm": "smuad {r}, {0}, {1}"},
    ),
    Instruction(
        "dsp_smlad",
        (_PAIR, _PAIR, VType(Elem.I32)),
        VType(Elem.I32),
        _product,
        {"arm": _pairs("call i32 @llvm.arm.smlad(i32 {a}, i32 {b}, i32 {2})")},
        f"(int32_t)((uint32_t)c + {_TWO_PRODUCTS})",
        _DSP,
        asm={"arm": "smlad {r}, {0}, {1}, {2}"},
    ),
    Instruction(
        "dsp_smlald",
        (_PAIR, _PAIR, VType(Elem.I64)),
        VType(Elem.I64),
        _product,
        {"arm": _pairs("call i64 @llvm.arm.smlald(i32 {a}, i32 {b}, i64 {2})")},
        "(int64_t)((uint64_t)c + (uint64_t)((int64_t)a.l[0] * b.l[0] + (int64_t)a.l[1] * b.l[1]))",
        _DSP,
        asm={"arm": "smlald {r}, {0}, {1}"},
    ),
    _widened("s", Elem.I8, 0),
    _widened("s", Elem.I8, 1),
    _widened("u", Elem.U8, 0),
    _widened("u", Elem.U8, 1),
)
