"""Convolutions over three spatial axes, as those over two: slices along depth become channels."""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.shape import Gather
from ellc.ir.types import Array


def places_under_window(
    emitter: Emitter, count: int, taps: int, stride: int, dilation: int, before: int
) -> Array:
    """[count, taps]: the element under every tap of a window; `before` elements are padding."""
    emitter.want_room(count, taps)
    starts = emitter.counted(count, 1) * stride - before
    made: Array = starts + dilation * emitter.counted(taps)
    return made


def places_transposed(
    emitter: Emitter, extent: int, count: int, taps: int, stride: int, dilation: int, before: int
) -> Array:
    """[count, taps]: the element that a tap of a transposed convolution puts there, or -1.

    `before` elements of the full result are cut off before its first.
    """
    emitter.want_room(count, taps)
    full = emitter.counted(count, 1) + before - dilation * emitter.counted(taps)
    place = full // stride
    good = (full % stride == 0) & (place >= 0) & (place < extent)
    return np.where(good, place, -1)


def volumes_as_pixels(
    emitter: Emitter, x: Value, places: Array, groups: int = 1, outside: float = 0.0
) -> Value:
    """Volumes [N,D,H,W,C] as pixels [N * count,H,W,C * taps]: the slices at `places` [count, taps].

    A place beyond x is a slice of `outside`. Channels of one group stay together.
    """
    batch, extent, rows, columns, channels = x.shape
    if groups < 1 or channels % groups:
        raise Unsupported(f"{channels} channels in {groups} groups")
    beyond = (places < 0) | (places >= extent)
    if beyond.any():
        x = emitter.add(Pad((0,) * 5, (0, 1, 0, 0, 0), outside), x)
    chosen = emitter.constant(np.where(beyond, extent, places))
    count, taps = places.shape
    under = emitter.add(Gather(1), x, chosen)
    split = (batch, count, taps, rows, columns, groups, channels // groups)
    turned = transposed(emitter, reshaped(emitter, under, split), (0, 1, 3, 4, 5, 2, 6))
    return reshaped(emitter, turned, (batch * count, rows, columns, channels * taps))


def filters_as_pixels(emitter: Emitter, w: Value) -> Value:
    """Weights [F,kd,kh,kw,C/groups] as those of what `volumes_as_pixels` makes of the operand."""
    filters, taps, rows, columns, channels = w.shape
    turned = transposed(emitter, w, (0, 2, 3, 1, 4))
    return reshaped(emitter, turned, (filters, rows, columns, taps * channels))


def pixels_as_volumes(emitter: Emitter, pixels: Value, batch: int) -> Value:
    """[N * count,H,W,C] as [N,count,H,W,C]."""
    count, *rest = pixels.shape
    return reshaped(emitter, pixels, (batch, count // batch, *rest))
