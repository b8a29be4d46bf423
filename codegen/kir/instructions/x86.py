"""Instructions of x86-64 that multiply integers, on vectors of 128, 256 and 512 bits."""

from __future__ import annotations

import numpy as np

from ellc.codegen.kir.instructions.row import Instruction
from ellc.codegen.kir.instructions.spelling import products_in_c, sums_of_products
from ellc.codegen.kir.types import Elem, VType
from ellc.ir.types import Array

_VNNI = ("avx512_vnni avx512vl", "avxvnni")


def _pmaddwd(bits: int, llvm: str, needs: str) -> Instruction:
    """The row that adds two neighbouring products of 16-bit integers. The sums wrap."""
    return Instruction(
        f"x86_pmaddwd_{bits}",
        (VType(Elem.I16, bits // 16), VType(Elem.I16, bits // 16)),
        VType(Elem.I32, bits // 32),
        lambda a, b: sums_of_products(a, b, 2),
        {"x86_64": f"@llvm.x86.{llvm}"},
        f"(int32_t)({products_in_c('a', 'b', 2)})",
        (needs,),
        "pair_products",
        asm={"x86_64": "vpmaddwd {r}, {0}, {1}"},
    )


def _saturated_pairs(a: Array, b: Array) -> Array:
    info = np.iinfo(np.int16)
    return sums_of_products(a, b, 2).clip(info.min, info.max).astype(np.int16)


def _pmaddubsw(bits: int, llvm: str, needs: str) -> Instruction:
    """The row that adds two neighbouring products of an unsigned and a signed byte.

    The sums saturate at 16 bits.
    """
    return Instruction(
        f"x86_pmaddubsw_{bits}",
        (VType(Elem.U8, bits // 8), VType(Elem.I8, bits // 8)),
        VType(Elem.I16, bits // 16),
        _saturated_pairs,
        {"x86_64": f"@llvm.x86.{llvm}"},
        f"i16_saturated((int32_t)({products_in_c('a', 'b', 2)}))",
        (needs,),
        asm={"x86_64": "vpmaddubsw {r}, {0}, {1}"},
    )


def _rounded_high(a: Array, b: Array) -> Array:
    product = a.astype(np.int32) * b.astype(np.int32)
    return ((product + (1 << 14)) >> 15).astype(np.int16)


def _pmulhrsw(bits: int, llvm: str, needs: str) -> Instruction:
    """The row that multiplies 16-bit fractions (unit 2^-15) and rounds (halves up).

    The product of -1 and -1 wraps to -1.
    """
    return Instruction(
        f"x86_pmulhrsw_{bits}",
        (VType(Elem.I16, bits // 16), VType(Elem.I16, bits // 16)),
        VType(Elem.I16, bits // 16),
        _rounded_high,
        {"x86_64": f"@llvm.x86.{llvm}"},
        "(int16_t)((a.l[i] * b.l[i] + 0x4000) >> 15)",
        (needs,),
        asm={"x86_64": "vpmulhrsw {r}, {0}, {1}"},
    )


def _dot(name: str, bits: int, a: Elem, b: Elem, needs: tuple[str, ...]) -> Instruction:
    """The row that adds two or four neighbouring products to each 32-bit lane. The sums wrap."""
    count = 4 // a.bytes
    lanes = bits // 32
    return Instruction(
        f"x86_{name}_{bits}",
        (VType(Elem.I32, lanes), VType(a, count * lanes), VType(b, count * lanes)),
        VType(Elem.I32, lanes),
        lambda total, x, y: total + sums_of_products(x, y, count),
        {"x86_64": f"@llvm.x86.avx512.{name}.{bits}"},
        f"(int32_t)((uint32_t)a.l[i] + {products_in_c('b', 'c', count)})",
        needs,
        asm={"x86_64": f"{name} {{r}}, {{1}}, {{2}}"},
    )


ROWS: tuple[Instruction, ...] = (
    _pmaddwd(128, "sse2.pmadd.wd", "sse2"),
    _pmaddwd(256, "avx2.pmadd.wd", "avx2"),
    _pmaddwd(512, "avx512.pmaddw.d.512", "avx512bw"),
    _pmaddubsw(128, "ssse3.pmadd.ub.sw.128", "avx2"),
    _pmaddubsw(256, "avx2.pmadd.ub.sw", "avx2"),
    _pmaddubsw(512, "avx512.pmaddubs.w.512", "avx512bw"),
    _pmulhrsw(128, "ssse3.pmul.hr.sw.128", "avx2"),
    _pmulhrsw(256, "avx2.pmul.hr.sw", "avx2"),
    _pmulhrsw(512, "avx512.pmul.hr.sw.512", "avx512bw"),
    _dot("vpdpbusd", 128, Elem.U8, Elem.I8, _VNNI),
    _dot("vpdpbusd", 256, Elem.U8, Elem.I8, _VNNI),
    _dot("vpdpbusd", 512, Elem.U8, Elem.I8, ("avx512_vnni",)),
    _dot("vpdpwssd", 128, Elem.I16, Elem.I16, _VNNI),
    _dot("vpdpwssd", 256, Elem.I16, Elem.I16, _VNNI),
    _dot("vpdpwssd", 512, Elem.I16, Elem.I16, ("avx512_vnni",)),
)
