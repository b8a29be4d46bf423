"""Find the axis of steps of an operator's results, given the axes of steps of its operands.

An operator treats every step alike and independently if index i of its result along the axis of
steps reads only index i of each operand that has steps (`Op.reads`). Then the result for a single
step is that step's part of the result for all steps.
"""

from __future__ import annotations

from dataclasses import replace

from ellc.ir.arrangement import resized
from ellc.ir.errors import ShapeError
from ellc.ir.op import Op, Types
from ellc.ir.ops.shape import Gather, Reshape, Slice

Axes = tuple[int | None, ...]
"""For every operand the axis along which it has one element per step; None if it has no steps."""

OTHERS = "needs other steps, too"
UNEQUAL = "has other constants for every step"
_ACROSS = "combines every step with every other"


class NotStepwise(Exception):
    """An operator does not treat every step alike and independently; the text says why."""


def one_step(op: Op, operands: Types, axes: Axes) -> tuple[Op, int]:
    """(operator for one step, axis of steps of its results); that axis then has extent 1.

    At least one of `axes` is not None, and there are at least two steps. Raises `NotStepwise`.
    """
    results = op.infer(*operands)
    axis = _axis_of_results(op, operands, results, axes)
    small = tuple(
        t if a is None else t.with_shape(*resized(t.shape, a, 1))
        for t, a in zip(operands, axes, strict=True)
    )
    changed = op.with_extent(axis, 1)
    try:
        shapes = [t.shape for t in changed.infer(*small)]
    except ShapeError:
        raise NotStepwise(UNEQUAL) from None
    _want(shapes == [resized(t.shape, axis, 1) for t in results], UNEQUAL)
    return changed, axis


def _axis_of_results(op: Op, operands: Types, results: Types, axes: Axes) -> int:
    result_axes = set()
    for index, result in enumerate(results):
        reads = op.reads(operands, results, index)
        for type_, read, axis in zip(operands, reads, axes, strict=True):
            if axis is None:
                continue
            along = read[axis]
            _want(along is not None and along.is_single, OTHERS)
            assert along is not None
            _want(result.shape[along.axis] == type_.shape[axis], OTHERS)
            result_axes.add(along.axis)
    _want(len(result_axes) == 1, _ACROSS)
    return result_axes.pop()


def last_step(op: Op, operands: Types, axes: Axes, picked: int | None) -> Op | None:
    """The operator on the first operand of one step if `op` reads only the last step's, or None.

    `picked` is the only index of a `Gather`, if it is known.
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


def _want(condition: bool, reason: str) -> None:
    if not condition:
        raise NotStepwise(reason)
