"""Computes the indices of largest elements under windows, and imports MaxUnpool (their reader)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.shapes import reshaped
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.operators.constants import to_dtype
from ellc.frontends.onnx.registry import ONNX, operand, optional
from ellc.frontends.onnx.windows import Span, read_spans
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pointwise import Add, Equal, Select
from ellc.ir.ops.reduce import ArgMax
from ellc.ir.ops.shape import Concat, Gather
from ellc.ir.types import Array, DType

# The most windows over one element of the result of a MaxUnpool. Each of them needs several
# operators.
_MOST_WINDOWS = 1024


def indices_of_largest(
    emitter: Emitter, x: Value, spans: Sequence[Span], column_major: bool
) -> Value:
    """The flat index in x of the first largest element under each window: i64 [N,C,windows...].

    With `column_major`, neighbouring indices are neighbours along the first spatial axis.
    """
    extents = x.shape[2:]
    taps = _taps(emitter, extents, spans)
    size = prod(extents)
    planes = reshaped(emitter, x, (*x.shape[:2], size))
    outside = emitter.constant(emitter.full((*x.shape[:2], 1), _lowest(x.dtype), x.dtype.numpy))
    padded = emitter.add(Concat(2), planes, outside)
    under = emitter.add(Gather(2), padded, emitter.constant(np.where(taps < 0, size, taps)))
    tap = emitter.add(ArgMax(3, False), under)
    table = _stored_order(emitter, taps, extents) if column_major else taps
    rows = emitter.counted(len(taps), dtype=tap.dtype.numpy) * taps.shape[1]
    index = emitter.add(Add(), tap, emitter.constant(rows))
    position = emitter.add(Gather(0), emitter.constant(table.reshape(-1).astype(np.int32)), index)
    indices_in_x = emitter.add(
        Add(), position, emitter.constant(_plane_starts(emitter, x.shape[:2], size))
    )
    counts = [span.count(extent) for span, extent in zip(spans, extents, strict=True)]
    return to_dtype(emitter, reshaped(emitter, indices_in_x, (*x.shape[:2], *counts)), DType.I64)


def _lowest(dtype: DType) -> float:
    return -np.inf if dtype.is_float else float(np.iinfo(dtype.numpy).min)


def _taps(emitter: Emitter, extents: Sequence[int], spans: Sequence[Span]) -> Array:
    """An array [windows, taps]: the flat index of each tap in a plane; -1 for a tap outside."""
    flat = np.zeros((1, 1), np.int64)
    inside = np.ones((1, 1), np.bool_)
    for extent, span in zip(extents, spans, strict=True):
        along = span.positions(emitter, extent)
        emitter.want_room(flat.size, along.size)
        valid = (along >= 0) & (along < extent)
        flat = _crossed(flat * extent, np.where(valid, along, 0), np.add)
        inside = _crossed(inside, valid, np.logical_and)
    return np.where(inside, flat, -1)


def _crossed(outer: Array, inner: Array, joined: np.ufunc) -> Array:
    """Combine [a, b] and [c, d] to [a * c, b * d]: all pairs of windows and all pairs of taps."""
    result = joined(outer[:, None, :, None], inner[None, :, None, :])
    return np.asarray(result.reshape(len(outer) * len(inner), -1))


def _stored_order(emitter: Emitter, taps: Array, extents: Sequence[int]) -> Array:
    """Convert the indices in `taps` to column-major order."""
    backwards = tuple(reversed(range(len(extents))))
    numbers = emitter.counted(*(extents[axis] for axis in backwards))
    order = numbers.transpose(*backwards).reshape(-1)
    return np.where(taps < 0, 0, order[taps])


def _plane_starts(emitter: Emitter, outer: Sequence[int], size: int) -> Array:
    """An array [N,C,1] with the flat index at which each plane begins in the whole tensor."""
    return emitter.counted(*outer, 1, dtype=np.int32) * size


@ONNX.imports("MaxUnpool", limits="1 to 3 spatial axes; the indices of a MaxPool")
def max_unpool(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Put each element at its index, which comes from a MaxPool; all other elements are zero."""
    x, indices, given = operand(inputs, 0), operand(inputs, 1), optional(inputs, 2)
    small = x.shape[2:]
    # The extents matter only for auto_pad, which this operator does not have.
    spans = read_spans(node, small)
    extents = tuple(
        (e - 1) * s.stride + s.size - s.before - s.after for e, s in zip(small, spans, strict=True)
    )
    shape = (*x.shape[:2], *extents)
    emitter.want_room(*shape)
    candidates = _candidates(emitter, _taps(emitter, extents, spans), prod(extents))
    planes = [
        reshaped(emitter, v, (*x.shape[:2], prod(small)))
        for v in (x, to_dtype(emitter, indices, DType.I32))
    ]
    starts = _plane_starts(emitter, x.shape[:2], prod(extents))
    own_index = emitter.constant(starts + emitter.counted(prod(extents), dtype=np.int32))
    result = emitter.constant(emitter.full((*x.shape[:2], prod(extents)), 0, x.dtype.numpy))
    for window in candidates.T:
        value, position = (emitter.add(Gather(2), v, emitter.constant(window)) for v in planes)
        result = emitter.add(Select(), value, result, emitter.add(Equal(), position, own_index))
    result = reshaped(emitter, result, shape)
    if given is None:
        return result
    wanted = known_ints(given, "the output shape")
    if len(wanted) != len(shape):
        raise Unsupported(f"an output shape of {wanted} for {shape}")
    more = tuple(w - e for w, e in zip(wanted, shape, strict=True))
    if min(more) < 0:
        raise Unsupported(f"the output shape {wanted} is smaller than {shape}")
    return emitter.add(Pad((0,) * len(more), more, 0.0), result) if any(more) else result


def _candidates(emitter: Emitter, taps: Array, size: int) -> Array:
    """An array [elements, windows] with the windows that contain each element of a plane.

    If an element is in fewer windows than others, its first window is repeated
    (window 0 if it is in none).
    """
    window, tap = np.nonzero(taps >= 0)
    element = taps[window, tap]
    order = np.argsort(element, kind="stable")
    element, window = element[order], window[order]
    counts = np.bincount(element, minlength=size)
    most_windows = max(int(counts.max(initial=0)), 1)
    if most_windows > _MOST_WINDOWS:
        raise Unsupported(
            f"{most_windows} windows over one element; at most {_MOST_WINDOWS} are supported"
        )
    result = emitter.full((size, most_windows), 0, np.int64)
    ends = np.cumsum(counts)
    first = np.where(counts > 0, np.append(window, 0)[ends - counts], 0)
    result[:] = first[:, None]
    result[element, emitter.counted(element.size) - (ends - counts)[element]] = window
    return result
