"""Three spatial axes, by the operators on two: what lies along depth becomes channels or rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.operators.shapes import reshaped, transposed
from ellc.frontends.onnx.windows import Span, Window, window_of
from ellc.ir.ops.conv_transpose import ConvTranspose2D
from ellc.ir.ops.shape import Gather, Pad
from ellc.ir.types import Array

Pool = Callable[[Value, Window], Value]
"""A pool of pixels [N,H,W,C] under a window."""


def as_pixels(
    emitter: Emitter, x: Value, w: Value, deep: Span, groups: int, outside: float
) -> tuple[Value, Value]:
    """Volumes [N,C,D,H,W] and weights [F,C/groups,kd,kh,kw] as those of a convolution of pixels.

    Its result is [N * depth, OH, OW, F]; `outside` is what x holds beyond its first and last slice.
    """
    pixels = _slices(emitter, x, deep.places(emitter, x.shape[2]), groups, outside)
    order = transposed(emitter, w, (0, 3, 4, 2, 1))
    return pixels, reshaped(emitter, order, (w.shape[0], *w.shape[3:], w.shape[2] * w.shape[1]))


def transposed_convolved(
    emitter: Emitter,
    x: Value,
    w: Value,
    bias: Value | None,
    places: Array,
    op: ConvTranspose2D,
) -> Value:
    """Volumes [N,C,D,H,W] under weights [C,F/groups,kd,kh,kw]; `op` is what happens to planes.

    `places` [depth, kd] says which slice of x a tap puts into a slice of the result; -1: none.
    """
    channels, filters, taps, rows, columns = w.shape
    pixels = _slices(emitter, x, places, op.groups)
    each = channels // op.groups
    split = reshaped(emitter, w, (op.groups, each, filters, taps, rows, columns))
    order = transposed(emitter, split, (0, 2, 4, 5, 3, 1))
    weights = reshaped(emitter, order, (op.groups * filters, rows, columns, taps * each))
    made = emitter.add(op, pixels, weights, *([bias] if bias else []))
    return to_volumes(emitter, made, x.shape[0])


def _slices(emitter: Emitter, x: Value, places: Array, groups: int, outside: float = 0.0) -> Value:
    """[N * depth, H, W, channels * taps]: the slices at `places` [depth, taps] as channels.

    A place beyond x is a slice of `outside`. Channels of one group stay together.
    """
    batch, channels, extent, rows, columns = x.shape
    if groups < 1 or channels % groups:
        raise Unsupported(f"{channels} channels in {groups} groups")
    beyond = (places < 0) | (places >= extent)
    if beyond.any():
        x = emitter.add(Pad((0,) * 5, (0, 0, 1, 0, 0), outside), x)
    chosen = emitter.constant(np.where(beyond, extent, places))
    depth, taps = places.shape
    each = channels // groups
    split = reshaped(
        emitter,
        emitter.add(Gather(2), x, chosen),
        (batch, groups, each, depth, taps, rows, columns),
    )
    turned = transposed(emitter, split, (0, 3, 5, 6, 1, 4, 2))
    return reshaped(emitter, turned, (batch * depth, rows, columns, channels * taps))


def to_volumes(emitter: Emitter, pixels: Value, batch: int) -> Value:
    """[N * depth, H, W, C] as [N, C, depth, H, W]."""
    depth = pixels.shape[0] // batch
    return transposed(
        emitter, reshaped(emitter, pixels, (batch, depth, *pixels.shape[1:])), (0, 4, 1, 2, 3)
    )


def pooled(emitter: Emitter, x: Value, spans: Sequence[Span], pool: Pool) -> Value:
    """Volumes [N,C,D,H,W] pooled by planes, then along depth: of extremes and means both hold."""
    batch, channels, extent, *plane = x.shape
    deep, *flat = spans
    pixels = transposed(emitter, x, (0, 2, 3, 4, 1))
    images = reshaped(emitter, pixels, (batch * extent, *plane, channels))
    small = pool(images, window_of(flat))
    rows, columns = small.shape[1:3]
    piled = reshaped(emitter, small, (batch, extent, rows * columns, channels))
    along = pool(piled, window_of((deep, Span(1, 1, 1, 0, 0, 0))))
    volume = reshaped(emitter, along, (batch, along.shape[1], rows, columns, channels))
    return transposed(emitter, volume, (0, 4, 1, 2, 3))
