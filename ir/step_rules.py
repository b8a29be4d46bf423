"""Which axis of an operator's results are the steps, given which axis of its operands are.

Only operators that treat every step alike and by itself have a rule: those after which the result
for one step alone is that step's part of the result for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import prod

from ellc.ir.errors import ShapeError
from ellc.ir.op import Op, Pointwise, Types
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense, MatMul
from ellc.ir.ops.fixed_point_functions import Interpolate
from ellc.ir.ops.norm import LRN, BatchNorm, Normalize
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.quantised import Lookup
from ellc.ir.ops.quantised_conv import IntConv2D, IntDense, IntMatMul
from ellc.ir.ops.quantised_pool import IntAvgPool2D
from ellc.ir.ops.quantised_softmax import QuantSoftmax
from ellc.ir.ops.reduce import ArgMax, ArgMin, LogSoftmax, Reduce, Softmax
from ellc.ir.ops.scan import CumProd, CumSum
from ellc.ir.ops.shape import Concat, Expand, Gather, Pad, Reshape, Slice, Split, Transpose
from ellc.ir.ops.sorting import TopK
from ellc.ir.ops.thresholds import CountReached
from ellc.ir.types import TensorType

Axes = tuple[int | None, ...]
"""For every operand the axis along which it has one element a step; None: always the same."""

Window = Conv2D | IntConv2D | MaxPool2D | AvgPool2D | IntAvgPool2D

OTHERS = "needs other steps, too"
UNEQUAL = "has other constants for every step"
_ACROSS = "combines every step with every other"
_SPREAD = "puts the elements of a step where they are not along one axis"
_UNKNOWN = "is not known to treat every step by itself"


class NotStepwise(Exception):
    """An operator does not treat every step alike and by itself; the text says why."""


def one_step(op: Op, operands: Types, axes: Axes) -> tuple[Op, int]:
    """The operator for one step, whose axis has extent 1, and the axis of steps of its results.

    At least one of `axes` is given; the steps are at least two. Raises `NotStepwise`.
    """
    changed, axis = _rule(op, operands, axes)
    small = tuple(
        t if a is None else t.with_shape(*resized(t.shape, a, 1))
        for t, a in zip(operands, axes, strict=True)
    )
    expected = [resized(t.shape, axis, 1) for t in op.infer(*operands)]
    try:
        shapes = [t.shape for t in changed.infer(*small)]
    except ShapeError:
        raise NotStepwise(UNEQUAL) from None
    _want(shapes == expected, UNEQUAL)
    return changed, axis


def last_step(op: Op, operands: Types, axes: Axes, picked: int | None) -> Op | None:
    """What to apply to one step's first operand if `op` takes the last step's and no other.

    None if it does not. `picked` is the only index of a `Gather`, if it is known.
    """
    axis = axes[0]
    if axis is None:
        return None
    last = operands[0].shape[axis] - 1
    match op:
        case Slice(starts=starts, sizes=sizes) if (starts[axis], sizes[axis]) == (last, 1):
            return replace(op, starts=resized(starts, axis, 0))
        case Gather(axis=along) if (along, picked) == (axis, last):
            return Reshape(op.infer(*operands)[0].shape)
    return None


def resized(shape: tuple[int, ...], axis: int, extent: int) -> tuple[int, ...]:
    """The shape with another extent along an axis."""
    return (*shape[:axis], extent, *shape[axis + 1 :])


def _rule(op: Op, operands: Types, axes: Axes) -> tuple[Op, int]:
    match op:
        case Pointwise():
            rank = operands[0].rank
            return op, _the_one(rank - t.rank + a for t, a in _moving(operands, axes))
        case MatMul() | IntMatMul():
            return op, _product(op, operands, axes)
        case Concat(axis=axis):
            _want(None not in axes, UNEQUAL)
            return op, _apart(_the_one(a for _, a in _moving(operands, axes)), axis)
        case Gather(axis=axis):
            return op, _gathered(axis, operands, axes)
    first, *others = axes
    _want(first is not None and not any(a is not None for a in others), _ACROSS)
    assert first is not None
    return _of_first(op, operands, first)


def _of_first(op: Op, operands: Types, axis: int) -> tuple[Op, int]:
    """Operators whose first operand has steps and whose further ones are parameters."""
    last = operands[0].rank - 1
    match op:
        case CountReached():
            _want(operands[1].shape[axis + 1] == 1, OTHERS)
            return op, axis
        case Dense() | IntDense() | QuantSoftmax() | BatchNorm() | LRN():
            return op, _apart(axis, last)
        case Lookup() | Interpolate():
            return op, axis
        case Softmax(axes=used) | LogSoftmax(axes=used) | Normalize(axes=used):
            return op, _apart(axis, *used)
        case CumSum(axis=used) | CumProd(axis=used) | Split(axis=used) | TopK(axis=used):
            return op, _apart(axis, used)
        case Reduce(axes=used, keep_dims=keep):
            return op, _without(_apart(axis, *used), used, keep)
        case ArgMax(axis=used, keep_dims=keep) | ArgMin(axis=used, keep_dims=keep):
            return op, _without(_apart(axis, used), (used,), keep)
        case Conv2D() | IntConv2D() | MaxPool2D() | AvgPool2D() | IntAvgPool2D():
            return op, _beside_window(op, operands, axis)
        case _:
            return _moved(op, operands[0].shape, axis)


def _moved(op: Op, shape: tuple[int, ...], axis: int) -> tuple[Op, int]:
    """Operators that move elements, some with extents in their attributes."""
    match op:
        case Transpose(permutation=permutation):
            return op, permutation.index(axis)
        case Reshape(shape=after):
            place = _same_place(shape, after, axis)
            return Reshape(resized(after, place, 1)), place
        case Expand(shape=after):
            place = len(after) - len(shape) + axis
            return Expand(resized(after, place, 1)), place
        case Slice(starts=starts, sizes=sizes, steps=steps):
            _want((starts[axis], sizes[axis], steps[axis]) == (0, shape[axis], 1), OTHERS)
            return replace(op, sizes=resized(sizes, axis, 1)), axis
        case Pad(before=before, after=after):
            _want(before[axis] == after[axis] == 0, OTHERS)
            return op, axis
    raise NotStepwise(_UNKNOWN)


def _want(condition: bool, reason: str) -> None:
    if not condition:
        raise NotStepwise(reason)


def _moving(operands: Types, axes: Axes) -> list[tuple[TensorType, int]]:
    return [(t, a) for t, a in zip(operands, axes, strict=True) if a is not None]


def _the_one(axes: Iterable[int]) -> int:
    """The axis that all operands with steps have them along."""
    found = set(axes)
    _want(len(found) == 1, _ACROSS)
    return found.pop()


def _apart(axis: int, *used: int) -> int:
    """The axis, which the operator must not compute along."""
    _want(axis not in used, OTHERS)
    return axis


def _without(axis: int, removed: tuple[int, ...], kept: bool) -> int:
    return axis if kept else axis - sum(r < axis for r in removed)


def _same_place(before: tuple[int, ...], after: tuple[int, ...], axis: int) -> int:
    """The axis of a reshaped tensor that counts the same as `axis` did."""
    outer, extent = prod(before[:axis]), before[axis]
    for place, size in enumerate(after):
        if size == extent and prod(after[:place]) == outer:
            return place
    raise NotStepwise(_SPREAD)


def _gathered(axis: int, operands: Types, axes: Axes) -> int:
    """Rows of a table at indices that come step by step, or the same columns of every step."""
    x, indices = axes
    if x is None:
        assert indices is not None
        return axis + indices
    _want(indices is None, _ACROSS)
    _apart(x, axis)
    return x if x < axis else x + operands[1].rank - 1


def _product(op: MatMul | IntMatMul, operands: Types, axes: Axes) -> int:
    """Rows of the first matrices, columns of the second, or whole matrices."""
    rank = max(t.rank for t in operands)
    free = (1 if op.transpose_a else 2, 2 if op.transpose_b else 1)  # counted from the end
    found = []
    for number, (type_, axis) in enumerate(zip(operands, axes, strict=True)):
        if axis is None:
            continue
        if axis == type_.rank - free[number]:
            found.append(rank - 2 + number)
        else:
            found.append(rank - type_.rank + _apart(axis, type_.rank - 1, type_.rank - 2))
    return _the_one(found)


def _beside_window(op: Window, operands: Types, axis: int) -> int:
    """The axis, along which the window that moves over pictures is a single pixel or nothing."""
    if axis == 0:
        return axis
    _apart(axis, 3)
    side = axis - 1
    window = operands[1].shape[1:3] if isinstance(op, Conv2D | IntConv2D) else op.window
    amounts = op.padding.amounts
    single = (window[side], op.stride[side], amounts[side], amounts[side + 2]) == (1, 1, 0, 0)
    _want(single, OTHERS)
    return axis
