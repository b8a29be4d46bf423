"""What a core can do at best: multiply-adds by kind of numbers, and bytes from memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Numbers = Literal["float", "byte", "sign"]
"""The numbers of which a kernel makes products: float32, integers of 8 bits, or signs."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most multiply-adds and bytes per unit of cost; what is not known is missing or None.

    Bytes are those that one core can read from memory beyond the caches.
    """

    macs: Mapping[Numbers, float] = field(default_factory=dict)
    bytes: float | None = None


CORTEX_A53 = Bounds(
    MappingProxyType({"float": 4.0, "sign": 128 / 3, "byte": 16 / 3}),
    2.0,
)
"""Per cycle. Float: one fma on 128 bits. Sign: eor, cnt and add on 128 bits take three cycles.
Byte: smull, smlal and sadalp on 16 bytes take three. Bytes are read from DRAM."""


def numbers_of(op: str) -> Numbers:
    """The numbers that a step of a plan (`Step.op`) multiplies.

    >>> numbers_of("int_conv2d")
    'byte'
    """
    if op.startswith("binary_"):
        return "sign"
    return "byte" if op.startswith("int_") else "float"
