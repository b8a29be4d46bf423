"""Find an operator for a single step of a sequence, given one for all steps.

A tensor's *axis of steps* is the axis along which it has one element per step. An operator treats
all steps alike and independently if index i along its result's axis of steps needs only index i of
each operand that has such an axis (`Op.reads`). The operator for a single step then computes that
step's part of the whole result.
"""

from __future__ import annotations

from dataclasses import replace

from ellc.ir.arrangement import resized
from ellc.ir.errors import ShapeError
from ellc.ir.op import Op, Types
from ellc.ir.ops.shape import Gather, Reshape, Slice

Axes = tuple[int | None, ...]
"""The axis of steps of every operand; None for an operand that has no such axis."""

OTHERS = "needs other steps, too"
UNEQUAL = "has other constants for every step"
_ACROSS = "combines every step with every other"


class NotStepwise(Exception):
    """Raised if an operator does not treat all steps alike and independently; says why."""


def one_step(op: Op, operands: Types, axes: Axes) -> tuple[Op, int]:
    """(operator for one step, axis of steps of its results); axes of steps then have extent 1.

    At least one of `axes` must not be None, and there must be at least two steps. Raises
    `NotStepwise`.
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
    """The operator for a single step if `op` selects the last step of its first operand, else None.

    `picked` is the index of a `Gather` that has a single, known index.
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
