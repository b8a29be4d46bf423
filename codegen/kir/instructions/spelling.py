"""What the rows of instructions share: sums of products, names of types, calls in LLVM IR."""

from __future__ import annotations

import numpy as np

from ellc.codegen.kir.types import VType
from ellc.ir.types import Array


def sums_of_products(a: Array, b: Array, count: int) -> Array:
    """The sums of each `count` neighbouring products, as 32-bit integers that wrap."""
    products = a.astype(np.int32) * b.astype(np.int32)
    return np.asarray(products.reshape(-1, count).sum(axis=1, dtype=np.int32))


def products_in_c(a: str, b: str, count: int, lane: str = "i") -> str:
    """The C expression, of type `uint32_t`, for one lane of `sums_of_products`.

    `a` and `b` are the names of vectors. Their elements must be bytes or signed 16-bit integers,
    whose products do not overflow `int`.
    """
    start = "" if lane == "0" else f"{count} * {lane} + "
    lanes = [f"{start}{k}" for k in range(count)]
    return " + ".join(f"(uint32_t)({a}.l[{k}] * {b}.l[{k}])" for k in lanes)


def c_type(type_: VType) -> str:
    """The C type of an integer lane."""
    return f"{type_.elem.numpy}_t"


def llvm_type(type_: VType) -> str:
    """The LLVM type of an integer or a vector of integers, such as `<4 x i32>`."""
    lane = f"i{8 * type_.elem.bytes}"
    return lane if type_.lanes == 1 else f"<{type_.lanes} x {lane}>"


def llvm_suffix(type_: VType) -> str:
    """The ending of an intrinsic's name for a vector of integers, such as `v4i32`."""
    return f"v{type_.lanes}i{8 * type_.elem.bytes}"


def llvm_call(name: str, to: VType, *operands: tuple[VType, str]) -> str:
    """A call in the LLVM text of a row. Operands are pairs (type, name to put in braces)."""
    args = ", ".join(f"{llvm_type(type_)} {{{what}}}" for type_, what in operands)
    return f"call {llvm_type(to)} {name}({args})"
