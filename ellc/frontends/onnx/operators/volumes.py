"""Three spatial axes, by the operators on two: what lies along depth becomes channels or rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.frontends.onnx.operators.shapes import reshaped, transposed
from ellc.frontends.onnx.windows import Span, Window, window_of
from ir.ops.conv import Conv2D
from ir.ops.shape import Gather, Pad

Pool = Callable[[Value, Window], Value]
"""A pool of pixels [N,H,W,C] under a window."""


def convolved(
    emitter: Emitter, x: Value, w: Value, bias: Value | None, spans: Sequence[Span], groups: int
) -> Value:
    """Volumes [N,C,D,H,W] under weights [F,C/groups,kd,kh,kw].

    The slices under a window are the channels of one image for every place along depth.
    """
    batch, channels, extent = x.shape[:3]
    if groups < 1 or channels % groups:
        raise Unsupported(f"{channels} channels in {groups} groups")
    deep, *flat = spans
    window, each = window_of(flat), channels // groups
    places = deep.places(extent) + deep.before
    padded = _padded(emitter, x, deep)
    slices = emitter.add(Gather(2), padded, emitter.constant(places))
    depth, taps = places.shape
    rows, columns = x.shape[3:]
    split = reshaped(emitter, slices, (batch, groups, each, depth, taps, rows, columns))
    turned = transposed(emitter, split, (0, 3, 5, 6, 1, 4, 2))
    pixels = reshaped(emitter, turned, (batch * depth, rows, columns, taps * channels))
    order = transposed(emitter, w, (0, 3, 4, 2, 1))
    filters = reshaped(emitter, order, (w.shape[0], *w.shape[3:], taps * w.shape[1]))
    op = Conv2D(window.stride, window.padding(), window.dilation, groups)
    made = emitter.add(op, pixels, filters, *([bias] if bias else []))
    volume = reshaped(emitter, made, (batch, depth, *made.shape[1:]))
    return transposed(emitter, volume, (0, 4, 1, 2, 3))


def _padded(emitter: Emitter, x: Value, deep: Span) -> Value:
    if not deep.before and not deep.after:
        return x
    return emitter.add(Pad((0, 0, deep.before, 0, 0), (0, 0, deep.after, 0, 0), 0.0), x)


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
