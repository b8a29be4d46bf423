"""Imports convolutions over three spatial axes as convolutions over two.

The taps along the depth axis become channels.
"""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.shape import Gather
from ellc.ir.types import Array


def window_positions(
    emitter: Emitter, count: int, taps: int, stride: int, dilation: int, before: int
) -> Array:
    """An array [count, taps] with the input position that each tap of each window reads.

    `before` is the padding before the input. Positions in the padding are negative, or not below
    the extent.
    """
    emitter.want_room(count, taps)
    starts = emitter.counted(count, 1) * stride - before
    positions: Array = starts + dilation * emitter.counted(taps)
    return positions


def transposed_positions(
    emitter: Emitter, extent: int, count: int, taps: int, stride: int, dilation: int, before: int
) -> Array:
    """The input position [count, taps] that each tap of a transposed convolution reads.

    `count` is the number of outputs. The position is -1 if the tap reads no input. `before`
    elements are cut off at the start of the full result.
    """
    emitter.want_room(count, taps)
    full = emitter.counted(count, 1) + before - dilation * emitter.counted(taps)
    position = full // stride
    inside = (full % stride == 0) & (position >= 0) & (position < extent)
    return np.where(inside, position, -1)


def volumes_as_pixels(
    emitter: Emitter, x: Value, positions: Array, groups: int = 1, outside: float = 0.0
) -> Value:
    """Convert volumes [N,D,H,W,C] to images [N * count,H,W,C * taps].

    `positions` is [count, taps]. The channels of image n * count + i are the slices of volume n at
    the depths `positions[i]`. A position outside of x stands for a slice that is filled with
    `outside`. The channels of each group stay together.
    """
    batch, extent, rows, columns, channels = x.shape
    if groups < 1 or channels % groups:
        raise Unsupported(
            f"a number of channels ({channels}) that is no multiple of group={groups}"
        )
    beyond = (positions < 0) | (positions >= extent)
    if beyond.any():
        x = emitter.add(Pad((0,) * 5, (0, 1, 0, 0, 0), outside), x)
    chosen = emitter.constant(np.where(beyond, extent, positions))
    count, taps = positions.shape
    slices = emitter.add(Gather(1), x, chosen)
    split = (batch, count, taps, rows, columns, groups, channels // groups)
    grouped = transposed(emitter, reshaped(emitter, slices, split), (0, 1, 3, 4, 5, 2, 6))
    return reshaped(emitter, grouped, (batch * count, rows, columns, channels * taps))


def filters_as_pixels(emitter: Emitter, w: Value) -> Value:
    """Convert weights [F,kd,kh,kw,C/groups] to [F,kh,kw,kd * C/groups] for `volumes_as_pixels`."""
    filters, taps, rows, columns, channels = w.shape
    ordered = transposed(emitter, w, (0, 2, 3, 1, 4))
    return reshaped(emitter, ordered, (filters, rows, columns, taps * channels))


def pixels_as_volumes(emitter: Emitter, pixels: Value, batch: int) -> Value:
    """Convert images [N * count,H,W,C] to volumes [N,count,H,W,C]; `batch` is N."""
    count, *rest = pixels.shape
    return reshaped(emitter, pixels, (batch, count // batch, *rest))
