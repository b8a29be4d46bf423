"""Selects and replaces elements by index, for the gather and scatter operators of both formats.

The functions for one-hot vectors and for reversed sequences are here, too. Most functions gather
from a flat view of the data. If the indices are known, the flat positions are constants, because
the emitter computes operators on known arrays at once. The operator `Scatter` is needed only for
updates at computed positions, for many updates of one element, and to combine booleans.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from math import prod
from types import MappingProxyType

import numpy as np

from ellc.frontends.graph_import.broadcast import expanded, pointwise
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.ir.op import Op
from ellc.ir.ops.pointwise import (
    Add,
    And,
    Cast,
    Equal,
    GreaterEqual,
    Less,
    Maximum,
    Minimum,
    Mul,
    Select,
    Sub,
)
from ellc.ir.ops.reduce import Reduce
from ellc.ir.ops.scatter import Scatter
from ellc.ir.ops.shape import Concat, Gather, Reshape, Slice
from ellc.ir.types import Array, DType

# The updates of an element are combined one after the other, each by pointwise operators on the
# whole tensor. If an element has more updates than this, `Scatter` is used.
_MOST_ROUNDS = 64
_COMBINED: Mapping[str, Op] = MappingProxyType(
    {"add": Add(), "mul": Mul(), "max": Maximum(), "min": Minimum()}
)


def wrapped(emitter: Emitter, indices: Value, extents: Sequence[int]) -> Value:
    """Add the extent to negative indices; `extents` broadcasts to `indices`."""
    extent = emitter.numbers(extents, indices.dtype)
    zero = emitter.constant(np.zeros((1,), indices.dtype.numpy))
    from_start = emitter.add(Add(), indices, extent)
    return emitter.add(Select(), indices, from_start, emitter.add(GreaterEqual(), indices, zero))


def want_inside(indices: Value, extents: Array, *, from_end: bool = True) -> None:
    """Raise `Unsupported` if indices are not integers, or if a known index is outside its axis.

    `extents` broadcasts to `indices`. With `from_end`, negative indices count from the end.
    Computed indices are not checked here: `Gather` clamps those outside, and `Scatter` ignores
    them.
    """
    if not indices.dtype.is_integer:
        raise Unsupported(f"indices of type {indices.dtype.value}")
    if indices.array is not None:
        want_array_inside(indices.array, extents, from_end=from_end)


def want_array_inside(indices: Array, extents: Array, *, from_end: bool = True) -> None:
    """Raise `Unsupported` like `want_inside`, for known indices."""
    if indices.dtype.kind not in "iu":
        raise Unsupported(f"indices of type {indices.dtype.name}")
    lowest = -extents if from_end else np.zeros_like(extents)
    beyond = np.extract((indices < lowest) | (indices >= extents), indices)
    if beyond.size:
        axes = ", ".join(map(str, extents.reshape(-1).tolist()))
        raise Unsupported(f"the index {beyond[0]} is outside of an axis (extents {axes})")


def want_along(x: Value, indices: Value, axis: int) -> None:
    """Raise `Unsupported` if `indices` are not valid along an axis of x.

    They must have as many axes as x, and must not be longer than x along any other axis. Their
    values must pass `want_inside`.
    """
    fits = indices.type.rank == x.type.rank and all(
        a <= b for d, (a, b) in enumerate(zip(indices.shape, x.shape, strict=True)) if d != axis
    )
    if not fits:
        raise Unsupported(f"indices of shape {indices.shape} into {x.shape}")
    want_inside(indices, np.array([x.shape[axis]]))


def gather_elements(emitter: Emitter, x: Value, indices: Value, axis: int) -> Value:
    """Take elements of x by index along one axis; the result has the shape of `indices`.

    The result at coordinate i is the element of x at the same coordinate, except that the index
    along `axis` is `indices[i]`.
    """
    want_along(x, indices, axis)
    chosen = wrapped(emitter, indices, [x.shape[axis]])
    positions = _along_axis(emitter, x, chosen, axis)
    return emitter.add(Gather(0), _flat(emitter, x, x.type.rank), positions)


def gather_nd(emitter: Emitter, x: Value, indices: Value, batch: int = 0) -> Value:
    """Take parts of x at coordinates; the last axis of `indices` holds a coordinate.

    The first `batch` axes of x and `indices` are the same, and coordinates do not include them.
    """
    if indices.shape[:batch] != x.shape[:batch] or not indices.type.rank:
        raise Unsupported(f"{batch} shared axes of {indices.shape} and {x.shape}")
    depth = indices.shape[-1]
    positions = _rows_at(emitter, x.shape[batch : batch + depth], indices)
    if batch:
        size = prod(x.shape[batch : batch + depth])
        first = size * emitter.counted(*x.shape[:batch])
        spread = first.reshape(*first.shape, *(1,) * (positions.type.rank - batch))
        offsets = emitter.constant(spread.astype(positions.dtype.numpy))
        positions = emitter.add(Add(), positions, offsets)
    return emitter.add(Gather(0), _flat(emitter, x, batch + depth), positions)


def rows_of(shape: tuple[int, ...], indices: Array) -> Array:
    """Convert known coordinates to row numbers; the last axis of `indices` holds a coordinate.

    If a coordinate has n numbers, a row is an index along the first n axes of `shape`, merged into
    one axis.
    """
    depth = indices.shape[-1] if indices.ndim else 0
    if not 0 < depth <= len(shape):
        raise Unsupported(f"coordinates of shape {list(indices.shape)} into {list(shape)}")
    axes = shape[:depth]
    want_array_inside(indices, np.array(axes))
    from_start = np.where(indices < 0, indices + np.array(axes), indices)
    rows: Array = (from_start * np.array(_steps(axes), np.int64)).sum(-1)
    return rows


def scattered(
    emitter: Emitter, x: Value, rows: Array, updates: Value, reduction: str, inner: int
) -> Value:
    """Replace some rows of x by `updates`, or combine them, as `Scatter.reduction` says.

    A row of x consists of its last `inner` axes. `rows` has the row number in x of each row of
    `updates`. If several updates replace the same row, the last one is used. If updates are
    combined with the same row, all of them are applied, in order.
    """
    split = x.type.rank - inner
    flat = _flat(emitter, x, split)
    block = flat.shape[1:]
    changes = emitter.add(Reshape((rows.size, *block)), updates)
    order = rows.reshape(-1)
    turns = [emitter.counted(order.size)] if reduction == "none" else _turns(order)
    if len(turns) > _MOST_ROUNDS or (x.dtype is DType.BOOL and reduction != "none"):
        positions = emitter.constant(order.reshape(-1, 1))
        combined = emitter.add(Scatter(reduction), flat, positions, changes)
        return emitter.add(Reshape(x.shape), combined)
    for turn in turns:
        if reduction == "none":
            source = emitter.counted(flat.shape[0])
            source[order[turn]] = flat.shape[0] + turn
            both = emitter.add(Concat(0), flat, changes)
            flat = emitter.add(Gather(0), both, emitter.constant(source))
        else:
            op = _COMBINED[reduction]
            flat = _combined(emitter, flat, changes, order[turn], turn, op)
    return emitter.add(Reshape(x.shape), flat)


def scattered_at(
    emitter: Emitter, x: Value, indices: Value, updates: Value, reduction: str, *, from_end: bool
) -> Value:
    """Replace parts of x by `updates`, or combine them, at computed coordinates.

    The last axis of `indices` holds a coordinate. With `from_end`, negative indices count from the
    end. An update outside of x is ignored; the interpreters of both formats stop with an error.
    """
    depth = indices.shape[-1] if indices.type.rank else 0
    if not 0 < depth <= x.type.rank:
        raise Unsupported(f"coordinates of shape {list(indices.shape)} into {list(x.shape)}")
    axes = x.shape[:depth]
    want_inside(indices, np.array(axes), from_end=from_end)
    chosen = wrapped(emitter, indices, axes) if from_end else indices
    return emitter.add(Scatter(reduction), x, chosen, updates)


def scattered_elements(
    emitter: Emitter, x: Value, indices: Value, updates: Value, reduction: str, axis: int
) -> Value:
    """Replace elements of x by `updates`, or combine them, by index along one axis.

    The update at coordinate i is for the element of x at the same coordinate, except that the index
    along `axis` is `indices[i]`. An update at a computed index outside of x is ignored.
    """
    want_along(x, indices, axis)
    chosen = wrapped(emitter, indices, [x.shape[axis]])
    rows = _along_axis(emitter, x, chosen, axis)
    nowhere = emitter.numbers([-1], rows.dtype)
    positions = emitter.add(Select(), rows, nowhere, _below(emitter, chosen, x.shape[axis]))
    count = indices.type.elements
    flat = emitter.add(
        Scatter(reduction),
        _flat(emitter, x, x.type.rank),
        emitter.add(Reshape((count, 1)), positions),
        emitter.add(Reshape((count,)), updates),
    )
    return emitter.add(Reshape(x.shape), flat)


def updated_block(emitter: Emitter, x: Value, update: Value, starts: Value) -> Value:
    """Replace the block of x that begins at `starts` [rank of x] by `update`.

    A block that would reach beyond x is moved inwards until it fits.
    """
    room = [a - b for a, b in zip(x.shape, update.shape, strict=True)]
    if min(room, default=0) < 0 or starts.shape != (x.type.rank,):
        raise Unsupported(
            f"an update of shape {update.shape} and starts of shape {starts.shape} for {x.shape}"
        )
    moved = [axis for axis, free in enumerate(room) if free]
    if not moved:
        return update
    split = moved[-1] + 1
    rows, block = x.shape[:split], update.shape[:split]
    begin = _between(emitter, starts, [0] * len(room), room)
    offsets = [_offset(emitter, begin, axis, rows, free) for axis, free in enumerate(room[:split])]
    inside = [_below(emitter, offsets[axis], block[axis]) for axis in moved]
    within = _folded(emitter, And(), inside)
    first = emitter.numbers([prod(rows)], begin.dtype)
    scaled = [
        _times(emitter, o, np.array([s])) for o, s in zip(offsets, _steps(block), strict=True)
    ]
    replaced = expanded(emitter, _folded(emitter, Add(), [*scaled, first]), rows)
    unchanged = emitter.constant(emitter.counted(*rows, dtype=begin.dtype.numpy))
    source = emitter.add(Select(), replaced, unchanged, expanded(emitter, within, rows))
    both = emitter.add(Concat(0), _flat(emitter, x, split), _flat(emitter, update, split))
    return emitter.add(Gather(0), both, source)


def one_hot(emitter: Emitter, indices: Value, depth: int, values: Value, axis: int) -> Value:
    """Make one-hot vectors of `depth` elements along a new axis.

    An element is `values[1]` if its position along the new axis is the index, and `values[0]`
    otherwise. A negative index counts from the end.
    """
    if not indices.dtype.is_integer:
        indices = emitter.add(Cast(DType.I64), indices)
    rank = indices.type.rank + 1
    shape = (*indices.shape[:axis], depth, *indices.shape[axis:])
    lifted = (*indices.shape[:axis], 1, *indices.shape[axis:])
    chosen = wrapped(emitter, emitter.add(Reshape(lifted), indices), [depth])
    numbers = emitter.counted(depth, dtype=indices.dtype.numpy)
    along = emitter.constant(numbers.reshape(depth, *(1,) * (rank - axis - 1)))
    hit = emitter.add(Equal(), expanded(emitter, chosen, shape), along)
    off, on = (
        emitter.add(Gather(0), values, emitter.constant(np.array([i], np.int64))) for i in (0, 1)
    )
    return emitter.add(Select(), expanded(emitter, on, shape), off, hit)


def reversed_sequences(
    emitter: Emitter, x: Value, lengths: Value, time_axis: int, batch_axis: int
) -> Value:
    """Reverse the first `lengths[b]` elements of x along the time axis, for every batch element b.

    `time_axis` and `batch_axis` must be 0 and 1 in either order; raises `Unsupported` for others.
    """
    axes = {time_axis, batch_axis}
    if axes != {0, 1} or x.type.rank < 2 or lengths.shape != (x.shape[batch_axis],):
        raise Unsupported(f"sequences along axis {time_axis} of {x.shape}, {lengths.shape} lengths")
    time, batch = x.shape[time_axis], x.shape[batch_axis]
    want_inside(lengths, np.array([time + 1]), from_end=False)
    shape = x.shape[:2]
    dtype = lengths.dtype.numpy
    across = (batch, 1) if batch_axis == 0 else (1, batch)
    along = (1, time) if time_axis == 1 else (time, 1)
    ends = expanded(emitter, emitter.add(Reshape(across), lengths), shape)
    numbers = emitter.full(shape, 0, dtype) + emitter.counted(*along, dtype=dtype)
    position = emitter.constant(numbers)
    one = emitter.constant(np.ones((1,), dtype))
    mirrored = emitter.add(Sub(), emitter.add(Sub(), ends, one), position)
    when = emitter.add(Select(), mirrored, position, emitter.add(Less(), position, ends))
    steps = _steps(shape)
    first = steps[batch_axis] * emitter.counted(*across, dtype=dtype)
    scaled = _times(emitter, when, np.array([steps[time_axis]]))
    rows = emitter.add(Add(), scaled, emitter.constant(first.astype(dtype)))
    flat = emitter.add(Gather(0), _flat(emitter, x, 2), emitter.add(Reshape((time * batch,)), rows))
    return emitter.add(Reshape(x.shape), flat)


# --- helpers -------------------------------------------------------------------------------------


def _between(emitter: Emitter, x: Value, low: Sequence[int], high: Sequence[int]) -> Value:
    """Clamp every element of x to its own bounds, which it may equal."""
    below = emitter.add(Minimum(), x, emitter.numbers(high, x.dtype))
    return emitter.add(Maximum(), below, emitter.numbers(low, x.dtype))


def _offset(emitter: Emitter, begin: Value, axis: int, rows: Sequence[int], free: int) -> Value:
    """The positions along an axis, relative to the block's first position.

    `free` is the number of elements by which the block can move. If it is 0, the block begins at 0.
    """
    along = (rows[axis], *(1,) * (len(rows) - axis - 1))
    position = emitter.constant(emitter.counted(*along, dtype=begin.dtype.numpy))
    if not free:
        return position
    return emitter.add(Sub(), position, emitter.add(Slice((axis,), (1,), (1,)), begin))


def _below(emitter: Emitter, offset: Value, extent: int) -> Value:
    """A boolean for each offset: whether it is from 0 to extent - 1."""
    zero, end = (emitter.numbers([n], offset.dtype) for n in (0, extent))
    after = emitter.add(GreaterEqual(), offset, zero)
    return emitter.add(And(), after, emitter.add(Less(), offset, end))


def _folded(emitter: Emitter, op: Op, values: Sequence[Value]) -> Value:
    """Combine all values by a commutative operator; their shapes broadcast."""
    return functools.reduce(lambda a, b: pointwise(emitter, op, a, b), values)


def _steps(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The distance in elements from one index to the next, for each axis of a dense tensor."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _flat(emitter: Emitter, x: Value, axes: int) -> Value:
    """Merge the first `axes` axes of x into one axis."""
    return emitter.add(Reshape((prod(x.shape[:axes]), *x.shape[axes:])), x)


def _times(emitter: Emitter, x: Value, factor: Array) -> Value:
    return emitter.add(Mul(), x, emitter.constant(factor.astype(x.dtype.numpy)))


def _along_axis(emitter: Emitter, x: Value, chosen: Value, axis: int) -> Value:
    """The flat positions in x of elements at coordinates i with `chosen[i]` along `axis`.

    `chosen` must not be negative.
    """
    steps = _steps(x.shape)
    scaled = _times(emitter, chosen, np.array([steps[axis]]))
    rest = emitter.full(chosen.shape, 0, np.int64)
    for other, step in enumerate(steps):
        if other != axis:
            along = (-1, *(1,) * (len(steps) - other - 1))
            rest += step * emitter.counted(chosen.shape[other]).reshape(along)
    return emitter.add(Add(), scaled, emitter.constant(rest.astype(chosen.dtype.numpy)))


def _rows_at(emitter: Emitter, axes: tuple[int, ...], indices: Value) -> Value:
    """The row numbers in a tensor of shape `axes` for the coordinates in `indices`."""
    if not 0 < indices.shape[-1] == len(axes):
        raise Unsupported(f"coordinates of shape {list(indices.shape)} into {list(axes)}")
    want_inside(indices, np.array(axes))
    chosen = wrapped(emitter, indices, axes)
    scaled = _times(emitter, chosen, np.array(_steps(axes)))
    return emitter.add(Reduce("sum", (indices.type.rank - 1,)), scaled)


def _turns(rows: Array) -> list[Array]:
    """Divide the indices of the updates into groups, so that no row occurs twice in a group."""
    next_turn: dict[int, int] = {}
    turns: list[list[int]] = []
    for position, row in enumerate(rows.tolist()):
        turn = next_turn.get(row, 0)
        next_turn[row] = turn + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(position)
    return [np.array(turn, np.int64) for turn in turns]


def _combined(
    emitter: Emitter, flat: Value, changes: Value, rows: Array, turn: Array, op: Op
) -> Value:
    """Combine the rows of `flat` that are in `rows` with their updates by `op`."""
    source = emitter.full((flat.shape[0],), 0, np.int64)
    source[rows] = turn
    changed = emitter.full((flat.shape[0], *(1,) * (flat.type.rank - 1)), False, np.bool_)
    changed[rows] = True
    spread = emitter.add(Gather(0), changes, emitter.constant(source))
    combined = emitter.add(op, flat, spread)
    return emitter.add(Select(), combined, flat, emitter.constant(changed))
