"""Planes [N,C,D,H,W] over three spatial axes, by the operators on two."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.values import Emitter, Value
from ellc.frontends.graph_import.volumes import (
    filters_as_pixels,
    pixels_as_volumes,
    volumes_as_pixels,
)
from ellc.frontends.onnx.windows import Span, Window, window_of
from ellc.ir.ops.conv_transpose import ConvTranspose2D
from ellc.ir.types import Array

_LAST = (0, 2, 3, 4, 1)  # the order of axes in which channels, the second, are the last
Pool = Callable[[Value, Window], Value]
"""A pool of pixels [N,H,W,C] under a window."""


def as_pixels(
    emitter: Emitter, x: Value, w: Value, deep: Span, groups: int, outside: float
) -> tuple[Value, Value]:
    """Volumes [N,C,D,H,W] and weights [F,C/groups,kd,kh,kw] as those of a convolution of pixels.

    Its result is [N * depth, OH, OW, F]; `outside` is what x holds beyond its first and last slice.
    """
    places = deep.places(emitter, x.shape[2])
    pixels = volumes_as_pixels(emitter, transposed(emitter, x, _LAST), places, groups, outside)
    return pixels, filters_as_pixels(emitter, transposed(emitter, w, _LAST))


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
    channels, filters, *kernel = w.shape
    pixels = volumes_as_pixels(emitter, transposed(emitter, x, _LAST), places, op.groups)
    each = channels // op.groups
    split = reshaped(emitter, w, (op.groups, each, filters, *kernel))
    turned = transposed(emitter, split, (0, 2, 3, 4, 5, 1))
    weights = filters_as_pixels(
        emitter, reshaped(emitter, turned, (op.groups * filters, *kernel, each))
    )
    made = emitter.add(op, pixels, weights, *([bias] if bias else []))
    return to_volumes(emitter, made, x.shape[0])


def to_volumes(emitter: Emitter, pixels: Value, batch: int) -> Value:
    """[N * depth, H, W, C] as [N, C, depth, H, W]."""
    return transposed(emitter, pixels_as_volumes(emitter, pixels, batch), (0, 4, 1, 2, 3))


def pooled(emitter: Emitter, x: Value, spans: Sequence[Span], pool: Pool) -> Value:
    """Volumes [N,C,D,H,W] pooled by planes, then along depth: of extremes and means both hold."""
    batch, channels, extent, *plane = x.shape
    deep, *flat = spans
    pixels = transposed(emitter, x, _LAST)
    images = reshaped(emitter, pixels, (batch * extent, *plane, channels))
    small = pool(images, window_of(flat))
    rows, columns = small.shape[1:3]
    piled = reshaped(emitter, small, (batch, extent, rows * columns, channels))
    along = pool(piled, window_of((deep, Span(1, 1, 1, 0, 0, 0))))
    volume = reshaped(emitter, along, (batch, along.shape[1], rows, columns, channels))
    return transposed(emitter, volume, (0, 4, 1, 2, 3))
