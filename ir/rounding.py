"""Bound the rounding error of a node's results, and find the signs that the error can change.

Operators bound their own rounding error and the effect of errors of their operands
(`Op.own_error`, `Op.carried_error`). In a fused node, the bounds of the anchor's result are an
interval; each stage maps the interval to one for its result and widens it by its own rounding
error. The error of a sum in a convolution or dense layer is at most

    n * eps * sum |terms|,     n terms, including the bias; eps = 2^-24 (float32)

in any order of additions (Higham, Accuracy and Stability of Numerical Algorithms, 3.1). The sign of
an element is undecided if the two ends of its interval have different signs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from ellc.ir.graph import Node
from ellc.ir.op import Arrays, Op, Pointwise
from ellc.ir.ops.fused import Fused
from ellc.ir.types import Array, DType

Interval = tuple[Array, Array, Array]
"""Low end, computed value, high end; all three are equal for an element that is exact."""

SINGLE, DOUBLE = 2.0**-24, 2.0**-53
"""Unit roundoff of float32 and float64."""
_HALF = 2.0**-11
_DIRECTIONS = (-1.0, 1.0)
_TRIALS = 8  # evaluations with perturbed operands, for operators without an error formula


def roundoff(dtype: DType) -> float:
    """The unit roundoff in which values of a type are computed."""
    return {DType.F64: DOUBLE, DType.F16: _HALF}.get(dtype, SINGLE)


def takes_steps(op: Op) -> bool:
    """Whether an operator, or a part of a fused one, is a step function (`Pointwise.jumps`)."""
    ops = (op.anchor, *(s.op for s in op.stages)) if isinstance(op, Fused) else (op,)
    return any(isinstance(each, Pointwise) and each.jumps for each in ops)


def undecided(node: Node, operands: Sequence[Array], got: Array) -> Array:
    """A mask of the elements of `got` that rounding inside the node can explain.

    `got` is another computation of the node's only result. It can jump to another value only where
    a step function reads a rounded number. As the node's operands are exact, this happens only
    inside a fused node; for all other nodes the mask is false.
    """
    if not takes_steps(node.op) or not isinstance(node.op, Fused):
        return np.zeros(got.shape, np.bool_)
    epsilon = DOUBLE if any(x.dtype == np.float64 for x in operands) else SINGLE
    return reachable(interval(node.op, operands, (0.0,) * len(operands), epsilon), got)


def reachable(ends: Interval, got: Array) -> Array:
    """A mask of the elements of `got` that are inside the interval, both ends included."""
    if got.dtype.kind not in "iuf":
        return np.asarray(np.logical_or.reduce([got == end.astype(got.dtype) for end in ends]))
    low, high = (end.astype(got.dtype) for end in (ends[0], ends[2]))
    return np.asarray((low <= got) & (got <= high))


def interval(
    op: Op, operands: Sequence[Array], errors: Sequence[Array | float], epsilon: float
) -> Interval:
    """The interval of an operator's only result if its operands have errors of up to `errors`.

    Each operation has a relative rounding error of at most `epsilon`. Floats are computed in
    float64. `errors` are at least 0 and broadcast to their operands.
    """
    return _interval(op, tuple(_wide(x) for x in operands), tuple(errors), epsilon)


def _interval(
    op: Op, operands: Arrays, errors: tuple[Array | float, ...], epsilon: float
) -> Interval:
    with np.errstate(all="ignore"):
        if not isinstance(op, Fused):
            return _first(op, operands, errors, epsilon)
        (head, *rest), (head_errors, *rest_errors) = op.split(operands), op.split(errors)
        ends = _first(op.anchor, head, head_errors, epsilon)
        for stage, extras, wide in zip(op.stages, rest, rest_errors, strict=True):
            ends = _stage(stage.op, ends, extras, wide, epsilon)
        return ends


def _first(op: Op, operands: Arrays, errors: tuple[Array | float, ...], epsilon: float) -> Interval:
    if isinstance(op, Pointwise):
        x = operands[0]
        ends = (x - errors[0], x, x + errors[0]) if x.dtype.kind == "f" else (x, x, x)
        return _stage(op, ends, operands[1:], errors[1:], epsilon)
    (middle,) = op.reference(*operands)
    if middle.dtype.kind != "f":
        return (middle, middle, middle)
    error = epsilon * op.own_error(operands, middle) + _carried(op, operands, errors)
    return (middle - error, middle, middle + error)


def _stage(
    op: Pointwise,
    ends: Interval,
    extras: Arrays,
    errors: tuple[Array | float, ...],
    epsilon: float,
) -> Interval:
    """The interval of a pointwise operator's result, from all combinations of interval ends."""
    choices = [
        (x - e, x + e) if x.dtype.kind == "f" and np.any(e) else (x,)
        for x, e in zip(extras, errors, strict=True)
    ]
    (middle,) = op.reference(ends[1], *extras)
    results = [op.reference(*chosen)[0] for chosen in product(ends, *choices)]
    if middle.dtype.kind == "b":
        low, high = np.logical_and.reduce(results), np.logical_or.reduce(results)
        return (low, middle, high)
    low, high = np.minimum.reduce(results), np.maximum.reduce(results)
    if middle.dtype.kind != "f":
        return (low, middle, high)
    largest = np.maximum.reduce([np.abs(end) for end in ends])
    slack = epsilon * op.own_error((largest, *extras), np.maximum(np.abs(low), np.abs(high)))
    return (low - slack, middle, high + slack)


def _carried(op: Op, operands: Arrays, errors: tuple[Array | float, ...]) -> Array | float:
    """A bound on the error that errors of the operands cause in the result."""
    if not any(np.any(e) for e in errors):
        return 0.0
    full_errors = tuple(np.broadcast_to(e, x.shape) for e, x in zip(errors, operands, strict=True))
    bound = op.carried_error(operands, full_errors)
    return _tried(op, operands, errors) if bound is None else bound


def _tried(op: Op, operands: Arrays, errors: tuple[Array | float, ...]) -> Array:
    """Twice the largest change of the result in some evaluations with perturbed operands.

    In the first evaluation all operands are lowered, in the second all are raised. In the others,
    each element is changed in a random direction.
    """
    (middle,) = op.reference(*operands)
    rng = np.random.default_rng(0)
    worst = np.zeros_like(middle)
    for trial in range(_TRIALS):
        choices = (_DIRECTIONS[trial],) if trial < len(_DIRECTIONS) else _DIRECTIONS
        moved = [
            x + e * rng.choice(choices, x.shape) if x.dtype.kind == "f" else x
            for x, e in zip(operands, errors, strict=True)
        ]
        worst = np.maximum(worst, np.abs(op.reference(*moved)[0] - middle))
    return np.asarray(2.0 * worst)


def _wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" else array
