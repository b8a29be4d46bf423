"""Converts images between the file's layout [N,C,H,W] and the graph's layout [N,H,W,C].

A tensor with one spatial axis becomes an image with one row.
"""

from __future__ import annotations

from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.ports import TO_PIXELS, TO_PLANES


def to_pixels(emitter: Emitter, x: Value) -> Value:
    """Convert [N,C,H,W] or [N,C,W] to [N,H,W,C]."""
    return transposed(emitter, with_rows(emitter, x), TO_PIXELS)


def to_planes(emitter: Emitter, y: Value, rank: int) -> Value:
    """Convert [N,H,W,C] to [N,C,H,W] if `rank` is 4, otherwise to [N,C,W]."""
    planes = transposed(emitter, y, TO_PLANES)
    if rank == 4:
        return planes
    batch, channels, _, columns = planes.shape
    return reshaped(emitter, planes, (batch, channels, columns))


def with_rows(emitter: Emitter, x: Value) -> Value:
    """Convert [N,C,W] to [N,C,1,W], and in the same way weights [F,C,kw].

    A tensor of rank 4 is returned unchanged. Raises `Unsupported` for other ranks.
    """
    if x.type.rank == 3:
        return reshaped(emitter, x, (*x.shape[:2], 1, x.shape[2]))
    if x.type.rank != 4:
        raise Unsupported(f"its number of spatial axes is {x.type.rank - 2}; 1 and 2 are supported")
    return x
