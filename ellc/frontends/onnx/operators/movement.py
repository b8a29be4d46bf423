"""Imports operators that cut, join, gather and pad tensors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from ellc.frontends.graph_import.axes import axes_of, axis_of
from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.handlers import Inputs
from ellc.frontends.graph_import.indexing import want_array_inside
from ellc.frontends.graph_import.shapes import reshaped
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known, known_ints
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.registry import ONNX, integers_at, operand, optional
from ellc.ir.ops.padding import Pad
from ellc.ir.ops.pointwise import Add, Less, Select
from ellc.ir.ops.shape import Concat, Gather, Slice, Split
from ellc.ir.types import Array


@ONNX.imports("Concat")
def concat(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """The operands, concatenated along an axis; operands of extent 0 along it are skipped."""
    parts = [operand(inputs, i) for i in range(len(inputs))]
    axis = axis_of(node.integer("axis"), operand(inputs, 0).type.rank)
    filled = [p for p in parts if p.shape[axis : axis + 1] != (0,)] or parts[:1]
    return filled[0] if len(filled) == 1 else emitter.add(Concat(axis), *filled)


@ONNX.imports("Split", limits="sizes known at import")
def split(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> list[Value]:
    """The parts along an axis: of given sizes, or equal (the last ones may be smaller or empty)."""
    x = operand(inputs, 0)
    axis = axis_of(node.integer("axis", 0), x.type.rank)
    sizes = integers_at(node, inputs, "split", 1, since=13)
    if sizes is None:
        count = node.integer("num_outputs", len(node.outputs))
        if count != len(node.outputs):
            raise Unsupported(
                f"its number of results is {len(node.outputs)}, but num_outputs is {count}"
            )
        sizes = _equal_sizes(x.shape[axis], count)
    if sum(sizes) != x.shape[axis] or min(sizes, default=0) < 0:
        raise Unsupported(f"an axis of extent {x.shape[axis]} cannot be split into {sizes}")
    if min(sizes) == 0:
        return parts_of(emitter, x, axis, sizes)
    return emitter.add_multi(Split(axis, sizes), x)


def _equal_sizes(extent: int, count: int) -> tuple[int, ...]:
    size = -(-extent // count)
    return tuple(max(0, min(size, extent - i * size)) for i in range(count))


def parts_of(emitter: Emitter, x: Value, axis: int, sizes: Sequence[int]) -> list[Value]:
    """Consecutive parts of these sizes along an axis; a part may have no elements."""
    starts = accumulate(sizes, initial=0)
    return [part(emitter, x, axis, start, size) for start, size in zip(starts, sizes, strict=False)]


def part(emitter: Emitter, x: Value, axis: int, start: int, size: int) -> Value:
    """Take `size` elements along an axis, beginning at `start`."""
    starts = tuple(start if a == axis and size else 0 for a in range(x.type.rank))
    sizes = tuple(size if a == axis else e for a, e in enumerate(x.shape))
    return emitter.add(Slice(starts, sizes, (1,) * x.type.rank), x)


@ONNX.imports("Slice", limits="bounds known at import")
def slice_(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Every `step`-th element from start to end along axes; bounds are clamped to the tensor."""
    x = operand(inputs, 0)
    starts, ends, axes, steps = (
        integers_at(node, inputs, name, index, since=10)
        for index, name in enumerate(("starts", "ends", "axes", "steps"), 1)
    )
    if starts is None or ends is None:
        raise Unsupported("its starts or ends are missing")
    axes = axes_of(range(len(starts)) if axes is None else axes, x.type.rank)
    if steps is None:
        steps = (1,) * len(axes)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        counts = f"starts: {len(starts)}, ends: {len(ends)}, axes: {len(axes)}, steps: {len(steps)}"
        raise Unsupported(f"{counts}; there must be as many of each")
    ranges = {a: (0, e, 1) for a, e in enumerate(x.shape)}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        ranges[axis] = _range(x.shape[axis], start, end, step)
    return _sliced(emitter, x, [ranges[a] for a in range(x.type.rank)])


def _sliced(emitter: Emitter, x: Value, ranges: Sequence[tuple[int, int, int]]) -> Value:
    """Slice x; `ranges` has (first, size, step) for each axis."""
    if all(r == (0, e, 1) for r, e in zip(ranges, x.shape, strict=True)):
        return x
    firsts, sizes, steps = (tuple(r[i] for r in ranges) for i in range(3))
    return emitter.add(Slice(firsts, sizes, steps), x)


def _range(extent: int, start: int, end: int, step: int) -> tuple[int, int, int]:
    """The (first, size, step) of a slice of an axis with `extent` elements; bounds are clamped."""
    if step == 0:
        raise Unsupported("a step of 0")
    low, high = (0, extent) if step > 0 else (-1, extent - 1)
    first = min(max(start + extent if start < 0 else start, 0), high)
    last = min(max(end + extent if end < 0 else end, low), high)
    size = max(0, -(-(last - first) // step) if step > 0 else -(-(first - last) // -step))
    return (first if size else 0), size, (step if size > 1 else 1)


@ONNX.imports("Gather")
def gather(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Elements at indices along an axis; negative indices count from the end."""
    x, indices = operand(inputs, 0), operand(inputs, 1)
    axis = axis_of(node.integer("axis", 0), x.type.rank)
    extent = x.shape[axis]
    if indices.array is None:
        return emitter.add(Gather(axis), x, from_the_front(emitter, indices, extent))
    picked = front_indices(indices.array, extent)
    run = _arithmetic(picked)
    if run is not None:
        first, step = run
        ranges = [(0, e, 1) for e in x.shape]
        ranges[axis] = (first, picked.size, step)
        shape = (*x.shape[:axis], *picked.shape, *x.shape[axis + 1 :])
        return reshaped(emitter, _sliced(emitter, x, ranges), shape)
    return emitter.add(Gather(axis), x, emitter.constant(picked))


def front_indices(indices: Array, extent: int) -> Array:
    """Convert known indices to numbers from 0 to extent - 1; raise `Unsupported` for others."""
    want_array_inside(indices, np.array([extent]))
    signed = indices.astype(np.int64)
    return np.where(signed < 0, signed + extent, signed)


def from_the_front(emitter: Emitter, indices: Value, extent: int) -> Value:
    """Add `extent` to negative elements of computed indices."""
    size = emitter.constant(np.array(extent, indices.dtype.numpy))
    zero = emitter.constant(np.array(0, indices.dtype.numpy))
    negative = pointwise(emitter, Less(), indices, zero)
    counted = pointwise(emitter, Add(), indices, size)
    return emitter.add(Select(), counted, indices, negative)


def _arithmetic(indices: Array) -> tuple[int, int] | None:
    """(first, step) if the step is constant and not 0; then a slice can replace the gather."""
    flat = indices.reshape(-1)
    if not flat.size:
        return None
    steps = np.diff(flat)
    step = int(steps[0]) if steps.size else 1
    return (int(flat[0]), step) if step and (steps == step).all() else None


@ONNX.imports("Pad", limits="amounts known at import; reflect by less than the extent")
def pad(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value:
    """Add elements at the ends of axes; negative amounts cut elements off."""
    x = operand(inputs, 0)
    mode = node.text("mode", "constant")
    value = _fill(node, inputs)
    amounts = integers_at(node, inputs, "pads", 1, since=11)
    if amounts is None:
        raise Unsupported("its amounts are missing")
    given = optional(inputs, 3)
    axes = axes_of(
        range(x.type.rank) if given is None else known_ints(given, "the axes"), x.type.rank
    )
    if len(amounts) != 2 * len(axes):
        raise Unsupported(f"its number of amounts is {len(amounts)}, that of its axes {len(axes)}")
    before, after = [0] * x.type.rank, [0] * x.type.rank
    for index, axis in enumerate(axes):
        before[axis], after[axis] = amounts[index], amounts[len(axes) + index]
    # The tensor is cut before it is padded, so that the modes edge, reflect and wrap repeat only
    # elements that remain.
    cut = [(max(-b, 0), e + min(b, 0) + min(a, 0), 1)
           for b, a, e in zip(before, after, x.shape, strict=True)]  # fmt: skip
    if min((size for _, size, _ in cut), default=0) < 0:
        raise Unsupported(f"the amounts {amounts} cut off more elements than {x.shape} has")
    x = _sliced(emitter, x, cut)
    more = tuple(max(b, 0) for b in before), tuple(max(a, 0) for a in after)
    match mode:
        case "constant":
            return emitter.add(Pad(*more, value), x) if any(map(any, more)) else x
        case "edge" | "reflect":
            return emitter.add(Pad(*more, mode=mode), x)
        case "wrap":
            return _wrapped(emitter, x, *more)
    raise Unsupported(f"the mode '{mode}'; constant, edge, reflect and wrap are supported")


def _fill(node: OnnxNode, inputs: Inputs) -> float:
    if node.version < 11:
        return node.number("value", 0.0)
    value = optional(inputs, 2)
    if value is None:
        return 0.0
    array = known(value, "the value")
    return float(array.reshape(-1)[0]) if array.size else 0.0


def _wrapped(emitter: Emitter, x: Value, before: tuple[int, ...], after: tuple[int, ...]) -> Value:
    """Continue a tensor periodically, by `before` and `after` elements along each axis."""
    for axis, (head, tail) in enumerate(zip(before, after, strict=True)):
        extent = x.shape[axis]
        if max(head, tail) > extent:
            raise Unsupported(
                f"wrapping by {max(head, tail)} elements along an axis of only {extent}"
            )
        parts = [x]
        if head:
            parts.insert(0, part(emitter, x, axis, extent - head, head))
        if tail:
            parts.append(part(emitter, x, axis, 0, tail))
        if len(parts) > 1:
            x = emitter.add(Concat(axis), *parts)
    return x
