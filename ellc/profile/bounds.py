"""Upper bounds of a core: multiply-adds by type of the factors, and bytes read from memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Numbers = Literal["float", "byte", "sign"]
"""The factors that a kernel multiplies: float32 numbers, 8-bit integers, or signs."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most multiply-adds that one core can do, and bytes that it can read, per unit of cost.

    `macs` lacks a type of factors, and `bytes` is None, if the bound is not known. `bytes` counts
    reads from memory, not from the caches.
    """

    macs: Mapping[Numbers, float] = field(default_factory=dict)
    bytes: float | None = None


CORTEX_A53 = Bounds(
    MappingProxyType({"float": 4.0, "sign": 128 / 3, "byte": 16 / 3}),
    2.0,
)
"""Bounds per cycle. Float: one fma on 128 bits. Sign: eor, cnt and add on 128 bits take three
cycles. Byte: smull, smlal and sadalp on 16 bytes take three cycles."""


def numbers_of(op: str) -> Numbers:
    """The type of the factors that a step of a plan multiplies; `op` is its `Step.op`.

    >>> numbers_of("int_conv2d")
    'byte'
    """
    if op.startswith("binary_"):
        return "sign"
    return "byte" if op.startswith("int_") else "float"
