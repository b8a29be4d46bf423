"""Instructions of NEON, on 64-bit and 32-bit ARM."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ellc.codegen.kir.instructions.row import Instruction
from ellc.codegen.kir.instructions.spelling import (
    c_type,
    llvm_call,
    llvm_suffix,
    llvm_type,
    products_in_c,
    sums_of_products,
)
from ellc.codegen.kir.ops import OPS
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.core import Arch
from ellc.ir.types import Array

_NEON = ("neon",)
_SIGNS = (("s", Elem.I8), ("u", Elem.U8))
_U8X8, _U8X16 = VType(Elem.U8, 8), VType(Elem.U8, 16)
_I32X2, _I32X4 = VType(Elem.I32, 2), VType(Elem.I32, 4)
_WIDTHS = {1: "b", 2: "h", 4: "s"}


def _arranged(type_: VType) -> str:
    """The arrangement of a vector in assembly, such as `8b`."""
    return f"{type_.lanes}{_WIDTHS[type_.elem.bytes]}"


# --- products twice as wide as their factors -----------------------------------------------------
# These are intrinsics, because LLVM transforms plain multiplications: if 16-bit factors have been
# widened from bytes, LLVM multiplies the bytes, and then has to widen every product.


def _long_products(sign: str, narrow: VType) -> Iterator[Instruction]:
    wide = narrow.with_elem(narrow.elem.wider)
    n, w = _arranged(narrow), _arranged(wide)
    kind = f"{sign}{8 * narrow.elem.bytes}"
    names: dict[Arch, str] = {
        "aarch64": f"@llvm.aarch64.neon.{sign}mull.{llvm_suffix(wide)}",
        "arm": f"@llvm.arm.neon.vmull{sign}.{llvm_suffix(wide)}",
    }
    yield Instruction(
        f"neon_{sign}mull_{n}",
        (narrow, narrow),
        wide,
        OPS["wide_mul"].meaning,
        names,
        _product_in_c(wide),
        _NEON,
        "wide_mul",
        {
            "aarch64": f"{sign}mull {{r}}.{w}, {{0}}.{n}, {{1}}.{n}",
            "arm": f"vmull.{kind} {{r}}, {{0}}, {{1}}",
        },
    )
    # LLVM combines the product and the sum into one instruction.
    lines = {
        arch: f"product = {llvm_call(name, wide, (narrow, '0'), (narrow, '1'))}\n"
        f"add {llvm_type(wide)} {{product}}, {{2}}"
        for arch, name in names.items()
    }
    yield Instruction(
        f"neon_{sign}mlal_{n}",
        (narrow, narrow, wide),
        wide,
        OPS["wide_mul_add"].meaning,
        lines,
        _product_in_c(wide, " + (uint32_t)c.l[i]"),
        _NEON,
        "",
        {
            "aarch64": f"{sign}mlal {{r}}.{w}, {{0}}.{n}, {{1}}.{n}",
            "arm": f"vmlal.{kind} {{r}}, {{0}}, {{1}}",
        },
    )


def _product_in_c(wide: VType, more: str = "") -> str:
    return f"({c_type(wide)})((uint32_t)a.l[i] * (uint32_t)b.l[i]{more})"


# --- sums of neighbours, added to lanes of twice the bits ----------------------------------------


def _pair_sums(sign: str, narrow: VType) -> Instruction:
    wide = VType(narrow.elem.wider, narrow.lanes // 2)
    n, w, suffix = _arranged(narrow), _arranged(wide), f"{llvm_suffix(wide)}.{llvm_suffix(narrow)}"
    sums = f"@llvm.aarch64.neon.{sign}addlp.{suffix}"
    return Instruction(
        f"neon_{sign}adalp_{n}",
        (wide, narrow),
        wide,
        OPS["add_pairs"].meaning,
        {
            # AArch64's intrinsic does not accumulate. LLVM combines both lines.
            "aarch64": f"both = {llvm_call(sums, wide, (narrow, '1'))}\n"
            f"add {llvm_type(wide)} {{0}}, {{both}}",
            "arm": f"@llvm.arm.neon.vpadal{sign}.{suffix}",
        },
        f"({c_type(wide)})((uint32_t)a.l[i] + (uint32_t)b.l[2 * i] + (uint32_t)b.l[2 * i + 1])",
        _NEON,
        "add_pairs",
        {
            "aarch64": f"{sign}adalp {{r}}.{w}, {{1}}.{n}",
            "arm": f"vpadal.{sign}{8 * narrow.elem.bytes} {{r}}, {{1}}",
        },
    )


# --- fixed point ---------------------------------------------------------------------------------


def _fixed_point(lanes: VType) -> Iterator[Instruction]:
    n, suffix = _arranged(lanes), llvm_suffix(lanes)
    yield Instruction(
        f"neon_sqrdmulh_{n}",
        (lanes, lanes),
        lanes,
        OPS["mul_high"].meaning,
        {
            "aarch64": f"@llvm.aarch64.neon.sqrdmulh.{suffix}",
            "arm": f"@llvm.arm.neon.vqrdmulh.{suffix}",
        },
        "i32_mul_high(a.l[i], b.l[i])",
        _NEON,
        "mul_high",
        {
            "aarch64": f"sqrdmulh {{r}}.{n}, {{0}}.{n}, {{1}}.{n}",
            "arm": "vqrdmulh.s32 {r}, {0}, {1}",
        },
    )
    yield Instruction(
        f"neon_srshl_{n}",
        (lanes, lanes),
        lanes,
        _rounding_shift,
        {
            "aarch64": f"@llvm.aarch64.neon.srshl.{suffix}",
            "arm": f"@llvm.arm.neon.vrshifts.{suffix}",
        },
        "b.l[i] < 0 ? (int32_t)(((int64_t)a.l[i] + ((int64_t)1 << -b.l[i] >> 1)) >> -b.l[i])"
        " : (int32_t)((uint32_t)a.l[i] << b.l[i])",
        _NEON,
        "shl_round",
        {"aarch64": f"srshl {{r}}.{n}, {{0}}.{n}, {{1}}.{n}", "arm": "vrshl.s32 {r}, {0}, {1}"},
    )


def _rounding_shift(a: Array, b: Array) -> Array:
    """a shifted left by b bits or, if b is negative, right by -b bits and rounded (halves up)."""
    left, right = np.maximum(b, 0), np.maximum(-b, 0)
    half = np.int64(1) << right.astype(np.int64) >> 1
    return np.asarray(((a + half) >> right) << left).astype(np.int32)


# --- dot products and products of matrices -------------------------------------------------------

SIGNED_DOT = "neon_sdot_4s"
"""The row that kernels use for signed bytes."""


def _dot(name: str, a: Elem, b: Elem, lanes: VType) -> Instruction:
    """The row of an instruction that adds four neighbouring products of bytes to each lane."""
    n, bytes_ = _arranged(lanes), 4 * lanes.lanes
    intrinsic = f"neon.{name}.{llvm_suffix(lanes)}.v{bytes_}i8"
    kind = {"sdot": "vsdot.s8", "udot": "vudot.u8", "usdot": "vusdot.s8"}[name]
    return Instruction(
        f"neon_{name}_{n}",
        (lanes, VType(a, bytes_), VType(b, bytes_)),
        lanes,
        lambda total, x, y: total + sums_of_products(x, y, 4).astype(total.dtype),
        {"aarch64": f"@llvm.aarch64.{intrinsic}", "arm": f"@llvm.arm.{intrinsic}"},
        f"({c_type(lanes)})((uint32_t)a.l[i] + {products_in_c('b', 'c', 4)})",
        ("i8mm" if name == "usdot" else "dotprod",),
        "",
        {
            "aarch64": f"{name} {{r}}.{n}, {{1}}.{bytes_}b, {{2}}.{bytes_}b",
            "arm": f"{kind} {{r}}, {{1}}, {{2}}",
        },
    )


def _matrix_product(total: Array, x: Array, y: Array) -> Array:
    """`total` plus the 2x2 product of two rows of x and two columns of y, of 8 bytes each."""
    product = x.reshape(2, 8).astype(np.int32) @ y.reshape(2, 8).astype(np.int32).T
    return np.asarray(total + product.reshape(4).astype(total.dtype))


def _matrix(name: str, a: Elem, b: Elem, to: Elem) -> Instruction:
    terms = (f"b.l[8 * (i / 2) + {k}] * c.l[8 * (i % 2) + {k}]" for k in range(8))
    intrinsic = f"neon.{name}.v4i32.v16i8"
    kind = {"smmla": "vsmmla.s8", "ummla": "vummla.u8", "usmmla": "vusmmla.s8"}[name]
    return Instruction(
        f"neon_{name}",
        (VType(to, 4), VType(a, 16), VType(b, 16)),
        VType(to, 4),
        _matrix_product,
        {"aarch64": f"@llvm.aarch64.{intrinsic}", "arm": f"@llvm.arm.{intrinsic}"},
        f"({c_type(VType(to))})((uint32_t)a.l[i] + (uint32_t)({' + '.join(terms)}))",
        ("i8mm",),
        "",
        {
            "aarch64": f"{name} {{r}}.4s, {{1}}.16b, {{2}}.16b",
            "arm": f"{kind} {{r}}, {{1}}, {{2}}",
        },
    )


# --- bytes looked up in registers ----------------------------------------------------------------

MOST_TABLES = 4
"""The table of one instruction fills at most this many registers."""


def _look_up(*operands: Array) -> Array:
    *tables, indices = operands
    return np.asarray(OPS["pick"].meaning(indices, np.concatenate(tables)))


def _look_up_or_keep(kept: Array, *operands: Array) -> Array:
    size = 16 * (len(operands) - 1)
    return np.where(operands[-1] < size, _look_up(*operands), kept)


def _tables(indices: VType, count: int, keeps: bool) -> Instruction:
    """The row of tbl, or of tbx if it `keeps`, for a table of `count` registers.

    If an index is beyond the table, tbl gives 0, and tbx keeps the lane of its first operand.
    """
    name, n = f"tb{'x' if keeps else 'l'}{count}", _arranged(indices)
    letters = "abcdef"[: count + 1 + keeps]
    tables, index = letters[keeps:-1], letters[-1]
    lane = "a.l[i]" if keeps else "0"
    for first, table in reversed([*zip(range(0, 64, 16), tables, strict=False)]):
        entry = f"{table}.l[{index}.l[i] - {first}]"
        lane = f"{index}.l[i] < {first + 16} ? {entry} : {lane}"
    registers = ", ".join(f"{{{i + keeps}}}.16b" for i in range(count))
    return Instruction(
        f"neon_{name}_{n}",
        (*((indices,) if keeps else ()), *(_U8X16,) * count, indices),
        indices,
        _look_up_or_keep if keeps else _look_up,
        {"aarch64": f"@llvm.aarch64.neon.{name}.{llvm_suffix(indices)}"},
        f"(uint8_t)({lane})",
        _NEON,
        "",
        {"aarch64": f"{name[:3]} {{r}}.{n}, {{{{{registers}}}}}, {{{count + keeps}}}.{n}"},
    )


ROWS: tuple[Instruction, ...] = (
    *(row for s, byte in _SIGNS for row in _long_products(s, VType(byte, 8))),
    *(row for s, byte in _SIGNS for row in _long_products(s, VType(byte.wider, 4))),
    *(_pair_sums(s, VType(byte, 16)) for s, byte in _SIGNS),
    *(_pair_sums(s, VType(byte.wider, 8)) for s, byte in _SIGNS),
    *(row for lanes in (_I32X2, _I32X4) for row in _fixed_point(lanes)),
    *(
        _dot(name, a, b, VType(to, lanes))
        for lanes in (2, 4)
        for name, a, b, to in (
            ("sdot", Elem.I8, Elem.I8, Elem.I32),
            ("udot", Elem.U8, Elem.U8, Elem.U32),
            ("usdot", Elem.U8, Elem.I8, Elem.I32),
        )
    ),
    _matrix("smmla", Elem.I8, Elem.I8, Elem.I32),
    _matrix("ummla", Elem.U8, Elem.U8, Elem.U32),
    _matrix("usmmla", Elem.U8, Elem.I8, Elem.I32),
    *(
        _tables(indices, count, keeps)
        for indices in (_U8X8, _U8X16)
        for count in range(1, MOST_TABLES + 1)
        for keeps in (False, True)
    ),
)
