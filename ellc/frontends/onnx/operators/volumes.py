"""Convolves and pools volumes [N,C,D,H,W] with the operators on images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ellc.frontends.graph_import.shapes import reshaped, transposed
from ellc.frontends.graph_import.values import Emitter, Value
from ellc.frontends.graph_import.volumes import (
    filters_as_pixels,
    pixels_as_volumes,
    volumes_as_pixels,
)
from ellc.frontends.onnx.windows import OnnxWindow, Span, window_of
from ellc.ir.ops.conv_transpose import ConvTranspose2D
from ellc.ir.types import Array

_LAST = (0, 2, 3, 4, 1)  # the permutation that makes channels the last axis
Pool = Callable[[Value, OnnxWindow], Value]
"""A function that pools images [N,H,W,C] under a window."""


def as_pixels(
    emitter: Emitter, x: Value, w: Value, deep: Span, groups: int, outside: float
) -> tuple[Value, Value]:
    """Convert volumes [N,C,D,H,W] and weights [F,C/groups,kd,kh,kw] for a 2D convolution.

    `deep` is the window along depth, and `outside` fills its padding. The result of the convolution
    is [N * OD, OH, OW, F].
    """
    positions = deep.positions(emitter, x.shape[2])
    pixels = volumes_as_pixels(emitter, transposed(emitter, x, _LAST), positions, groups, outside)
    return pixels, filters_as_pixels(emitter, transposed(emitter, w, _LAST))


def transposed_convolved(
    emitter: Emitter,
    x: Value,
    w: Value,
    bias: Value | None,
    positions: Array,
    op: ConvTranspose2D,
) -> Value:
    """Compute the transposed convolution of [N,C,D,H,W] with weights [C,F/groups,kd,kh,kw].

    `op` is the transposed convolution of rows and columns. `positions` [OD, kd] has the index of
    the slice of x that is added for each slice of the result and each tap, or -1 for none.
    """
    channels, filters, *kernel = w.shape
    pixels = volumes_as_pixels(emitter, transposed(emitter, x, _LAST), positions, op.groups)
    each = channels // op.groups
    split = reshaped(emitter, w, (op.groups, each, filters, *kernel))
    permuted = transposed(emitter, split, (0, 2, 3, 4, 5, 1))
    weights = filters_as_pixels(
        emitter, reshaped(emitter, permuted, (op.groups * filters, *kernel, each))
    )
    result = emitter.add(op, pixels, weights, *([bias] if bias else []))
    return to_volumes(emitter, result, x.shape[0])


def to_volumes(emitter: Emitter, pixels: Value, batch: int) -> Value:
    """Convert [N * depth, H, W, C] to [N, C, depth, H, W]."""
    return transposed(emitter, pixels_as_volumes(emitter, pixels, batch), (0, 4, 1, 2, 3))


def pooled(emitter: Emitter, x: Value, spans: Sequence[Span], pool: Pool) -> Value:
    """Pool volumes [N,C,D,H,W] over rows and columns, and then along depth.

    For maxima and means the result is the same as that of one pool over all three axes.
    """
    batch, channels, extent, *plane = x.shape
    deep, *flat = spans
    pixels = transposed(emitter, x, _LAST)
    images = reshaped(emitter, pixels, (batch * extent, *plane, channels))
    small = pool(images, window_of(flat))
    rows, columns = small.shape[1:3]
    stacked = reshaped(emitter, small, (batch, extent, rows * columns, channels))
    along = pool(stacked, window_of((deep, Span(1, 1, 1, 0, 0, 0))))
    volume = reshaped(emitter, along, (batch, along.shape[1], rows, columns, channels))
    return transposed(emitter, volume, (0, 4, 1, 2, 3))
