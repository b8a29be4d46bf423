"""Instructions of WebAssembly on vectors of 128 bits."""

from __future__ import annotations

import numpy as np

from ellc.codegen.kir.instructions.row import Instruction
from ellc.codegen.kir.instructions.spelling import (
    c_type,
    llvm_suffix,
    products_in_c,
    sums_of_products,
)
from ellc.codegen.kir.ops import OPS
from ellc.codegen.kir.types import Elem, VType
from ellc.ir.types import Array

_SIMD = ("simd128",)
_BYTES, _WORDS = VType(Elem.U8, 16), VType(Elem.I16, 8)


def _rounded_high(a: Array, b: Array) -> Array:
    product = (a.astype(np.int32) * b.astype(np.int32) + (1 << 14)) >> 15
    return np.asarray(np.minimum(product, np.iinfo(np.int16).max)).astype(np.int16)


def _pair_sums(narrow: VType) -> Instruction:
    """The row that adds two neighbouring lanes; the sums have twice the bits."""
    wide = VType(narrow.elem.wider, narrow.lanes // 2)
    sign, word = ("signed", "s") if narrow.elem.is_signed else ("unsigned", "u")
    shapes = [f"i{8 * t.elem.bytes}x{t.lanes}" for t in (wide, narrow)]
    return Instruction(
        f"wasm_extadd_pairwise_{narrow}",
        (narrow,),
        wide,
        lambda x: x[::2].astype(wide.elem.numpy) + x[1::2].astype(wide.elem.numpy),
        {"wasm32": f"@llvm.wasm.extadd.pairwise.{sign}.{llvm_suffix(wide)}"},
        f"({c_type(wide)})(a.l[2 * i] + a.l[2 * i + 1])",
        _SIMD,
        asm={"wasm32": f"{shapes[0]}.extadd_pairwise_{shapes[1]}_{word}"},
    )


ROWS: tuple[Instruction, ...] = (
    Instruction(
        "wasm_dot",
        (_WORDS, _WORDS),
        VType(Elem.I32, 4),
        lambda a, b: sums_of_products(a, b, 2),
        {"wasm32": "@llvm.wasm.dot"},
        f"(int32_t)({products_in_c('a', 'b', 2)})",
        _SIMD,
        "pair_products",
        asm={"wasm32": "i32x4.dot_i16x8_s"},
    ),
    Instruction(
        "wasm_q15mulr_sat",
        (_WORDS, _WORDS),
        _WORDS,
        _rounded_high,
        {"wasm32": "@llvm.wasm.q15mulr.sat.signed"},
        "i16_saturated((a.l[i] * b.l[i] + 0x4000) >> 15)",
        _SIMD,
        asm={"wasm32": "i16x8.q15mulr_sat_s"},
    ),
    Instruction(
        "wasm_swizzle",
        (_BYTES, _BYTES),
        _BYTES,
        lambda table, indices: OPS["pick"].meaning(indices, table),
        {"wasm32": "@llvm.wasm.swizzle"},
        "(uint8_t)(b.l[i] < 16 ? a.l[b.l[i]] : 0)",
        _SIMD,
        asm={"wasm32": "i8x16.swizzle"},
    ),
    _pair_sums(VType(Elem.I8, 16)),
    _pair_sums(VType(Elem.U8, 16)),
    _pair_sums(VType(Elem.I16, 8)),
    _pair_sums(VType(Elem.U16, 8)),
)
