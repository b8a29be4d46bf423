"""How far rounding may move a node's results, and which signs of them it leaves undecided.

Operators say how large their own rounding error may be and what errors of their operands become
(`Op.own_error`, `Op.carried_error`). The interval around an exact result goes through the stages
after it, each of which adds its own rounding. The sum of a convolution or dense layer is known up
to

    n * eps * sum |terms|,     n terms, the bias among them; eps = 2^-24 (float32)

whatever the order of its additions (Higham, Accuracy and Stability of Numerical Algorithms, 3.1).
A sign taken at the end is undecided where both ends of the interval give different ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from ellc.ir.graph import Node
from ellc.ir.op import Arrays, Op, Pointwise
from ellc.ir.ops.fused import Fused
from ellc.ir.types import Array

Interval = tuple[Array, Array, Array]
"""Low end, computed value, high end; three times the same where there is nothing to round."""

SINGLE, DOUBLE = 2.0**-24, 2.0**-53
"""Unit roundoff of float32 and float64."""
_WAYS = (-1.0, 1.0)
_TRIALS = 8  # of operands that are a little wrong, where there is no formula


def takes_steps(op: Op) -> bool:
    """Whether a result can jump when an operand changes a little."""
    ops = (op.anchor, *(s.op for s in op.stages)) if isinstance(op, Fused) else (op,)
    return any(isinstance(each, Pointwise) and each.jumps for each in ops)


def undecided(node: Node, operands: Sequence[Array], got: Array) -> Array:
    """Where `got`, the node's only result, is one that rounding inside the node can give.

    Nowhere for a node that takes no step after a rounded number: what it reads is exact.
    """
    if not takes_steps(node.op) or not isinstance(node.op, Fused):
        return np.zeros(got.shape, np.bool_)
    epsilon = DOUBLE if any(x.dtype == np.float64 for x in operands) else SINGLE
    return reachable(interval(node.op, operands, (0.0,) * len(operands), epsilon), got)


def reachable(ends: Interval, got: Array) -> Array:
    """Where `got` may be what rounding makes of it: between the ends of its interval."""
    if got.dtype.kind not in "iuf":
        return np.asarray(np.logical_or.reduce([got == end.astype(got.dtype) for end in ends]))
    low, high = (end.astype(got.dtype) for end in (ends[0], ends[2]))
    return np.asarray((low <= got) & (got <= high))


def interval(
    op: Op, operands: Sequence[Array], errors: Sequence[Array | float], epsilon: float
) -> Interval:
    """What an operator with one result may give, if operands may be off by `errors`.

    Arithmetic rounds to 1 +- `epsilon`. Floats are computed in float64; `errors` are at least 0
    and broadcast to their operands.
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
    """A pointwise operator at all ends of its operands, and its own rounding."""
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
    """What the operands' errors make of a result at most."""
    if not any(np.any(e) for e in errors):
        return 0.0
    wide = tuple(np.broadcast_to(e, x.shape) for e, x in zip(errors, operands, strict=True))
    found = op.carried_error(operands, wide)
    return _tried(op, operands, errors) if found is None else found


def _tried(op: Op, operands: Arrays, errors: tuple[Array | float, ...]) -> Array:
    """Twice what an operator makes of wrong operands: all down, all up, each either way."""
    (middle,) = op.reference(*operands)
    rng = np.random.default_rng(0)
    worst = np.zeros_like(middle)
    for trial in range(_TRIALS):
        choices = (_WAYS[trial],) if trial < len(_WAYS) else _WAYS
        moved = [
            x + e * rng.choice(choices, x.shape) if x.dtype.kind == "f" else x
            for x, e in zip(operands, errors, strict=True)
        ]
        worst = np.maximum(worst, np.abs(op.reference(*moved)[0] - middle))
    return np.asarray(2.0 * worst)


def _wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" else array
