"""Unpacks numbers of 2 and 4 bits, several of which are in a byte."""

from __future__ import annotations

import numpy as np

from ellc.ir.types import Array


def packed_bytes(count: int, bits: int) -> int:
    """The number of bytes for `count` numbers of `bits` bits, rounded up."""
    return -(-count * bits // 8)


def unpacked(content: Array, bits: int, count: int, *, signed: bool) -> Array:
    """Unpack the numbers of 2 or 4 bits in `content` to an array [count] of int8 or uint8.

    `content` is uint8 and has `packed_bytes` elements. The first number of a byte is in its lowest
    bits.
    """
    shifts = np.array(range(0, 8, bits), np.uint8)
    parts = (content[:, None] >> shifts & np.uint8((1 << bits) - 1)).reshape(-1)[:count]
    if not signed:
        return parts
    top = 1 << (bits - 1)
    return ((parts ^ top).astype(np.int16) - top).astype(np.int8)
