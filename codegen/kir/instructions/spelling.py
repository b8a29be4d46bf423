"""Helpers with which instruction sets write their rows: sums of products, types, calls in LLVM."""

from __future__ import annotations

import numpy as np

from ellc.codegen.kir.types import VType
from ellc.ir.types import Array


def sums_of_products(a: Array, b: Array, count: int) -> Array:
    """For each `count` neighbours, the sum of their products, as i32; it wraps."""
    products = a.astype(np.int32) * b.astype(np.int32)
    return np.asarray(products.reshape(-1, count).sum(axis=1, dtype=np.int32))


def products_in_c(a: str, b: str, count: int, lane: str = "i") -> str:
    """The same for one lane as a C expression in `uint32_t`; `a` and `b` name vectors.

    A product must not overflow `int`: those of bytes and of signed 16-bit integers do not.
    """
    start = "" if lane == "0" else f"{count} * {lane} + "
    lanes = [f"{start}{k}" for k in range(count)]
    return " + ".join(f"(uint32_t)({a}.l[{k}] * {b}.l[{k}])" for k in lanes)


def c_type(type_: VType) -> str:
    """C's name of an integer lane."""
    return f"{type_.elem.numpy}_t"


def llvm_type(type_: VType) -> str:
    """LLVM's name of integers, such as <4 x i32>."""
    lane = f"i{8 * type_.elem.bytes}"
    return lane if type_.lanes == 1 else f"<{type_.lanes} x {lane}>"


def llvm_suffix(type_: VType) -> str:
    """The end of an intrinsic's name for a vector of integers, such as v4i32."""
    return f"v{type_.lanes}i{8 * type_.elem.bytes}"


def llvm_call(name: str, to: VType, *operands: tuple[VType, str]) -> str:
    """A call for a row's LLVM text; an operand is a type and the name in its braces."""
    args = ", ".join(f"{llvm_type(type_)} {{{what}}}" for type_, what in operands)
    return f"call {llvm_type(to)} {name}({args})"
