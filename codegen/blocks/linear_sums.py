"""Sums of quantised bytes as one linear function: two products, a shift, and nothing else.

TFLite scales both operands, adds them, and scales the sum, each time with a rounding
(`QuantAdd`). There are only 65,536 pairs of bytes, so it is possible to search integers with which

    (x_factor * x + y_factor * y + offset) >> bits

gives the same result for every pair, after it is clamped. With factors of about 22 bits there
nearly always are such integers: for given factors, the pairs bound the offset from both sides.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ellc.codegen.kir.types import Elem
from ellc.ir.ops.quantised_arithmetic import QuantAdd
from ellc.ir.types import Array

_MOST_BITS, _LEAST_BITS = 24, 16
_NEAR = 1
"""Factors that differ by so much from the rounded ones are tried. For 200 random pairs of scales,
the rounded ones were good enough."""
_FAR = 1 << 62


@dataclass(frozen=True, slots=True)
class LinearSum:
    """The integers of the formula. All intermediate results fit in 32 bits."""

    bits: int
    x_factor: int
    y_factor: int
    offset: int


@functools.cache
def linear_sum(op: QuantAdd, elem: Elem) -> LinearSum | None:
    """The linear function for operands of this type, or None if there is none."""
    if elem not in (Elem.I8, Elem.U8) or Elem.of(op.dtype) is not elem:
        return None
    info = np.iinfo(elem.numpy)
    every = np.arange(info.min, info.max + 1)
    x, y = (axis.astype(np.int64) for axis in np.meshgrid(every, every, indexing="ij"))
    (wanted,) = op.reference(x.astype(elem.numpy), y.astype(elem.numpy))
    results = wanted.astype(np.int64)
    for bits, x_factor, y_factor in _factors(op):
        products = x_factor * x + y_factor * y
        offset = _offset(op, bits, products, results)
        most = max(abs(x_factor * x).max() + abs(offset or 0), abs(products + (offset or 0)).max())
        if offset is not None and most < 1 << 31:
            return LinearSum(bits, x_factor, y_factor, offset)
    return None


def _factors(op: QuantAdd) -> Iterator[tuple[int, int, int]]:
    """(bits, x_factor, y_factor) to try, the most precise ones first."""
    scale = op.out_multiplier * 2.0 ** (op.out_shift + op.left_shift - 62)
    x_scale = op.x_multiplier * 2.0**op.x_shift * scale
    y_scale = op.y_multiplier * 2.0**op.y_shift * scale * (-1 if op.subtract else 1)
    near = sorted(range(-_NEAR, _NEAR + 1), key=abs)
    for bits in range(_MOST_BITS, _LEAST_BITS - 1, -1):
        rounded = round(x_scale * 2.0**bits), round(y_scale * 2.0**bits)
        if max(map(abs, rounded)) >= 1 << 24:  # a product would not fit in 32 bits
            continue
        yield from ((bits, rounded[0] + i, rounded[1] + j) for i in near for j in near)


def _offset(op: QuantAdd, bits: int, products: Array, results: Array) -> int | None:
    """An offset with which sums of products give these results; None if there is none."""
    least = np.where(results <= op.low, -_FAR, (results << bits) - products).max()
    most = np.where(results >= op.high, _FAR, ((results + 1) << bits) - 1 - products).min()
    if least > most:
        return None
    return int(np.clip(0, least, most)) if abs(least + most) > _FAR else int(least + most) // 2
