"""Instructions of the DSP extension: Cortex-M4, M7, M33, and 32-bit ARM cores since Armv6.

A vector is a general register of 32 bits, which holds four 8-bit or two 16-bit integers. Rows whose
names end in `_w` take and give such a register as an integer of 32 bits, a *word*. A value that
lives across blocks or in memory should be a word: LLVM keeps `i32` in one register, but splits
`<2 x i16>` into two.
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


_WORD = VType(Elem.I32)
_HALVES = {"b": 0, "t": 1}
"""The position of the half of a word that a letter of a mnemonic means: bottom or top."""


def _half_in_c(word: str, half: int) -> str:
    return f"(int16_t)((uint32_t){word} >> {16 * half})"


def _word_of(*halves: Array) -> Array:
    return np.concatenate([half.reshape(1) for half in halves]).astype(np.int16).view(np.int32)


def _half_product(x: int, y: int) -> Instruction:
    """The row that adds the product of half `x` of the first and half `y` of the second word."""
    name = "smla" + "".join(letter for h in (x, y) for letter, n in _HALVES.items() if n == h)
    return Instruction(
        f"dsp_{name}_w",
        (_WORD, _WORD, _WORD),
        _WORD,
        lambda a, b, c: c + a.view(np.int16)[x].astype(np.int32) * b.view(np.int16)[y],
        {"arm": f"@llvm.arm.{name}"},
        f"(int32_t)((uint32_t)c + (uint32_t)({_half_in_c('a', x)} * {_half_in_c('b', y)}))",
        _DSP,
        asm={"arm": f"{name} {{r}}, {{0}}, {{1}}, {{2}}"},
    )


def _packed(half: int) -> Instruction:
    """The row that packs half `half` of two words into one; that of the first is the lower one."""
    halves = {
        0: ("low = and i32 {a}, 65535", "high = shl i32 {b}, 16"),
        1: ("low = lshr i32 {a}, 16", "high = and i32 {b}, -65536"),
    }[half]
    # Without `freeze`, LLVM would load halves of words that come straight from memory.
    lines = ("a = freeze i32 {0}", "b = freeze i32 {1}", *halves)
    name, operands = (("pkhbt", "{0}, {1}, lsl #16"), ("pkhtb", "{1}, {0}, asr #16"))[half]
    low = ("(uint32_t)a & 65535u", "(uint32_t)a >> 16")[half]
    high = ("(uint32_t)b << 16", "((uint32_t)b & 4294901760u)")[half]
    return Instruction(
        f"dsp_{name}_w",
        (_WORD, _WORD),
        _WORD,
        lambda a, b: _word_of(a.view(np.int16)[half], b.view(np.int16)[half]),
        {"arm": "\n".join((*lines, "or i32 {low}, {high}"))},
        f"(int32_t)(({low}) | ({high}))",
        _DSP,
        asm={"arm": f"{name} {{r}}, {operands}"},
    )


def _widened_word(sign: str, elem: Elem, first: int) -> Instruction:
    """The row of `_widened` whose result is a word."""
    row = _widened(sign, elem, first)
    *lines, _ = row.llvm["arm"].splitlines()
    lines[-1] = lines[-1].removeprefix("both = ")
    low, high = (f"(uint16_t)(int16_t)a.l[{first + i}]" for i in (0, 2))
    return Instruction(
        f"{row.name}_w",
        row.takes,
        _WORD,
        lambda x: row.meaning(x).view(np.int32),
        {"arm": "\n".join(lines)},
        f"(int32_t)({low} | (uint32_t){high} << 16)",
        _DSP,
        asm=row.asm,
    )


def _high_sum(a: Array, b: Array, c: Array) -> Array:
    high = (a.astype(np.int64) * b.astype(np.int64)) >> 32
    return np.asarray(c + high.astype(np.int32))


_TWO_PRODUCTS = products_in_c("a", "b", 2, "0")
_TWO_HALVES = " + ".join(
    f"(uint32_t)({_half_in_c('a', half)} * {_half_in_c('b', half)})" for half in (0, 1)
)

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
    # Words.
    Instruction(
        "dsp_smlad_w",
        (_WORD, _WORD, _WORD),
        _WORD,
        lambda a, b, c: _product(a.view(np.int16), b.view(np.int16), c),
        {"arm": "@llvm.arm.smlad"},
        f"(int32_t)((uint32_t)c + {_TWO_HALVES})",
        _DSP,
        asm={"arm": "smlad {r}, {0}, {1}, {2}"},
    ),
    *(_half_product(x, y) for x in (0, 1) for y in (0, 1)),
    _packed(0),
    _packed(1),
    _widened_word("s", Elem.I8, 0),
    _widened_word("s", Elem.I8, 1),
    _widened_word("u", Elem.U8, 0),
    _widened_word("u", Elem.U8, 1),
    # The upper half of a product of 64 bits, plus a word.
    Instruction(
        "dsp_smmla_w",
        (_WORD, _WORD, _WORD),
        _WORD,
        _high_sum,
        {
            "arm": "x = sext i32 {0} to i64\ny = sext i32 {1} to i64\nall = mul i64 {x}, {y}\n"
            "upper = lshr i64 {all}, 32\nhigh = trunc i64 {upper} to i32\nadd i32 {high}, {2}"
        },
        "(int32_t)((uint32_t)c + (uint32_t)((uint64_t)((int64_t)a * b) >> 32))",
        _DSP,
        asm={"arm": "smmla {r}, {0}, {1}, {2}"},
    ),
    # A word saturated to 8 bits. LLVM makes a shift to the right before it part of the instruction.
    Instruction(
        "dsp_ssat8_w",
        (_WORD,),
        _WORD,
        lambda x: np.clip(x, -128, 127),
        {"arm": "call i32 @llvm.arm.ssat(i32 {0}, i32 8)"},
        "a < -128 ? -128 : a > 127 ? 127 : a",
        _DSP,
        asm={"arm": "ssat {r}, #8, {0}"},
    ),
)
