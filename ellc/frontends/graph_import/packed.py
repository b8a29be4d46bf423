"""Numbers of a few bits, several in a byte."""

from __future__ import annotations

import numpy as np

from ellc.ir.types import Array


def packed_bytes(count: int, bits: int) -> int:
    """How many bytes so many numbers fill; the last one may have room left."""
    return -(-count * bits // 8)


def unpacked(content: Array, bits: int, count: int, *, signed: bool) -> Array:
    """[count] int8 or uint8: numbers of `bits` (2 or 4), the lowest of a byte first.

    `content` holds their `packed_bytes`, uint8.
    """
    shifts = np.array(range(0, 8, bits), np.uint8)
    parts = (content[:, None] >> shifts & np.uint8((1 << bits) - 1)).reshape(-1)[:count]
    if not signed:
        return parts
    top = 1 << (bits - 1)
    return ((parts ^ top).astype(np.int16) - top).astype(np.int8)
