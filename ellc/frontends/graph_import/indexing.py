"""Elements chosen and replaced by index: what both formats say with arrays of positions.

Everything is a gather from a flat view; computed indices become computed positions, known ones
constants, because the emitter computes what it can.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import prod

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
from ellc.ir.ops.shape import Concat, Gather, Reshape, Slice
from ellc.ir.types import Array, DType

_MOST_ROUNDS = 64  # so many updates may go to the same element


def wrapped(emitter: Emitter, indices: Value, extents: Sequence[int]) -> Value:
    """Indices of which negative ones count from the end; `extents` broadcasts to them."""
    extent = emitter.numbers(extents, indices.dtype)
    zero = emitter.constant(np.zeros((1,), indices.dtype.numpy))
    from_start = emitter.add(Add(), indices, extent)
    return emitter.add(Select(), indices, from_start, emitter.add(GreaterEqual(), indices, zero))


def want_inside(indices: Value, extents: Array, *, from_end: bool = True) -> None:
    """Raise `Unsupported` for what is not an integer, or a known index outside its axis.

    `extents` broadcasts to `indices`. Computed ones are clamped. With `from_end` negative ones
    count from the end.
    """
    if not indices.dtype.is_integer:
        raise Unsupported(f"{indices.dtype.value} numbers as indices")
    if indices.array is not None:
        want_array_inside(indices.array, extents, from_end=from_end)


def want_array_inside(indices: Array, extents: Array, *, from_end: bool = True) -> None:
    """Raise `Unsupported` as `want_inside` does."""
    if indices.dtype.kind not in "iu":
        raise Unsupported(f"{indices.dtype.name} numbers as indices")
    lowest = -extents if from_end else np.zeros_like(extents)
    beyond = np.extract((indices < lowest) | (indices >= extents), indices)
    if beyond.size:
        axes = ", ".join(map(str, extents.reshape(-1).tolist()))
        raise Unsupported(f"the index {beyond[0]} lies outside of {axes} elements")


def gather_elements(emitter: Emitter, x: Value, indices: Value, axis: int) -> Value:
    """Element i of the result is that of x at i with `indices[i]` along an axis."""
    fits = indices.type.rank == x.type.rank and all(
        a <= b for d, (a, b) in enumerate(zip(indices.shape, x.shape, strict=True)) if d != axis
    )
    if not fits:
        raise Unsupported(f"indices of shape {indices.shape} into {x.shape}")
    want_inside(indices, np.array([x.shape[axis]]))
    steps = _steps(x.shape)
    chosen = wrapped(emitter, indices, [x.shape[axis]])
    scaled = _times(emitter, chosen, np.array([steps[axis]]))
    rest = emitter.full(indices.shape, 0, np.int64)
    for other, step in enumerate(steps):
        if other != axis:
            along = (-1, *(1,) * (len(steps) - other - 1))
            rest += step * emitter.counted(indices.shape[other]).reshape(along)
    places = emitter.add(Add(), scaled, emitter.constant(rest.astype(indices.dtype.numpy)))
    return emitter.add(Gather(0), _flat(emitter, x, x.type.rank), places)


def gather_nd(emitter: Emitter, x: Value, indices: Value, batch: int = 0) -> Value:
    """Parts of x at coordinates along the last axis of `indices`, after `batch` shared axes."""
    if indices.shape[:batch] != x.shape[:batch] or not indices.type.rank:
        raise Unsupported(f"{batch} shared axes of {indices.shape} and {x.shape}")
    depth = indices.shape[-1]
    places = _rows_at(emitter, x.shape[batch : batch + depth], indices)
    if batch:
        size = prod(x.shape[batch : batch + depth])
        first = size * emitter.counted(*x.shape[:batch])
        spread = first.reshape(*first.shape, *(1,) * (places.type.rank - batch))
        places = emitter.add(Add(), places, emitter.constant(spread.astype(places.dtype.numpy)))
    return emitter.add(Gather(0), _flat(emitter, x, batch + depth), places)


def rows_of(shape: tuple[int, ...], indices: Array) -> Array:
    """For known coordinates along the last axis the row of a tensor whose other axes are joined."""
    depth = indices.shape[-1] if indices.ndim else 0
    if not 0 < depth <= len(shape):
        raise Unsupported(f"coordinates of shape {list(indices.shape)} into {list(shape)}")
    axes = shape[:depth]
    want_array_inside(indices, np.array(axes))
    turned = np.where(indices < 0, indices + np.array(axes), indices)
    found: Array = (turned * np.array(_steps(axes), np.int64)).sum(-1)
    return found


def scattered(
    emitter: Emitter, x: Value, rows: Array, updates: Value, op: Op | None, inner: int
) -> Value:
    """x with updates at known rows: replaced, or combined by `op`.

    A row of x is its last `inner` axes; `rows` has a row number for each row of `updates`. Of
    several updates that replace one row the last counts; those that are combined take turns.
    """
    split = x.type.rank - inner
    flat = _flat(emitter, x, split)
    block = flat.shape[1:]
    changes = emitter.add(Reshape((rows.size, *block)), updates)
    order = rows.reshape(-1)
    turns = [emitter.counted(order.size)] if op is None else _turns(order)
    for turn in turns:
        if op is None:
            source = emitter.counted(flat.shape[0])
            source[order[turn]] = flat.shape[0] + turn
            both = emitter.add(Concat(0), flat, changes)
            flat = emitter.add(Gather(0), both, emitter.constant(source))
        else:
            flat = _combined(emitter, flat, changes, order[turn], turn, op)
    return emitter.add(Reshape(x.shape), flat)


def updated_block(emitter: Emitter, x: Value, update: Value, starts: Value) -> Value:
    """x with a block replaced by `update`, which begins at `starts` [rank of x].

    A block that would reach outside of x begins at the nearest place where it does not.
    """
    room = [a - b for a, b in zip(x.shape, update.shape, strict=True)]
    if min(room, default=0) < 0 or starts.shape != (x.type.rank,):
        raise Unsupported(f"{update.shape} at places {starts.shape} of {x.shape}")
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
    kept = emitter.constant(emitter.counted(*rows, dtype=begin.dtype.numpy))
    source = emitter.add(Select(), replaced, kept, expanded(emitter, within, rows))
    both = emitter.add(Concat(0), _flat(emitter, x, split), _flat(emitter, update, split))
    return emitter.add(Gather(0), both, source)


def one_hot(emitter: Emitter, indices: Value, depth: int, values: Value, axis: int) -> Value:
    """`values[1]` where a new axis of `depth` elements is at the index, `values[0]` elsewhere."""
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
    """The first `lengths[b]` elements along the time axis backwards, for every b of the other."""
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
    place = emitter.constant(numbers)
    one = emitter.constant(np.ones((1,), dtype))
    turned = emitter.add(Sub(), emitter.add(Sub(), ends, one), place)
    when = emitter.add(Select(), turned, place, emitter.add(Less(), place, ends))
    steps = _steps(shape)
    first = steps[batch_axis] * emitter.counted(*across, dtype=dtype)
    scaled = _times(emitter, when, np.array([steps[time_axis]]))
    rows = emitter.add(Add(), scaled, emitter.constant(first.astype(dtype)))
    flat = emitter.add(Gather(0), _flat(emitter, x, 2), emitter.add(Reshape((time * batch,)), rows))
    return emitter.add(Reshape(x.shape), flat)


# --- helpers -------------------------------------------------------------------------------------


def _between(emitter: Emitter, x: Value, low: Sequence[int], high: Sequence[int]) -> Value:
    """Whole numbers, each clamped to a range of its own."""
    below = emitter.add(Minimum(), x, emitter.numbers(high, x.dtype))
    return emitter.add(Maximum(), below, emitter.numbers(low, x.dtype))


def _offset(emitter: Emitter, begin: Value, axis: int, rows: Sequence[int], free: int) -> Value:
    """How far every place along an axis lies after where a block begins; `free`: if it moves."""
    along = (rows[axis], *(1,) * (len(rows) - axis - 1))
    place = emitter.constant(emitter.counted(*along, dtype=begin.dtype.numpy))
    if not free:
        return place
    return emitter.add(Sub(), place, emitter.add(Slice((axis,), (1,), (1,)), begin))


def _below(emitter: Emitter, offset: Value, extent: int) -> Value:
    """Where an offset lies in 0..extent-1."""
    zero, end = (emitter.numbers([n], offset.dtype) for n in (0, extent))
    after = emitter.add(GreaterEqual(), offset, zero)
    return emitter.add(And(), after, emitter.add(Less(), offset, end))


def _folded(emitter: Emitter, op: Op, values: Sequence[Value]) -> Value:
    """Values that broadcast to one another, combined by a commutative operator."""
    return functools.reduce(lambda a, b: pointwise(emitter, op, a, b), values)


def _steps(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Distances between neighbours of a dense tensor."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _flat(emitter: Emitter, x: Value, axes: int) -> Value:
    """x with its first axes joined to one."""
    return emitter.add(Reshape((prod(x.shape[:axes]), *x.shape[axes:])), x)


def _times(emitter: Emitter, x: Value, factor: Array) -> Value:
    return emitter.add(Mul(), x, emitter.constant(factor.astype(x.dtype.numpy)))


def _rows_at(emitter: Emitter, axes: tuple[int, ...], indices: Value) -> Value:
    """The number of the row that coordinates along the last axis of `indices` mean."""
    if not 0 < indices.shape[-1] == len(axes):
        raise Unsupported(f"coordinates of shape {list(indices.shape)} into {list(axes)}")
    want_inside(indices, np.array(axes))
    chosen = wrapped(emitter, indices, axes)
    scaled = _times(emitter, chosen, np.array(_steps(axes)))
    return emitter.add(Reduce("sum", (indices.type.rank - 1,)), scaled)


def _turns(rows: Array) -> list[Array]:
    """Positions of the updates, in groups in which no row occurs twice."""
    seen: dict[int, int] = {}
    turns: list[list[int]] = []
    for position, row in enumerate(rows.tolist()):
        turn = seen.get(row, 0)
        seen[row] = turn + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(position)
    if len(turns) > _MOST_ROUNDS:
        raise Unsupported(f"{len(turns)} updates of one element")
    return [np.array(turn, np.int64) for turn in turns]


def _combined(
    emitter: Emitter, flat: Value, changes: Value, rows: Array, turn: Array, op: Op
) -> Value:
    """Rows that change are combined with their update, the others stay."""
    source = emitter.full((flat.shape[0],), 0, np.int64)
    source[rows] = turn
    changed = emitter.full((flat.shape[0], *(1,) * (flat.type.rank - 1)), False, np.bool_)
    changed[rows] = True
    spread = emitter.add(Gather(0), changes, emitter.constant(source))
    made = emitter.add(op, flat, spread)
    return emitter.add(Select(), made, flat, emitter.constant(changed))
