"""How far rounding may move a node's results, and which signs of them it leaves undecided.

The sum of a convolution or dense layer is known up to

    n * eps * sum |terms|,     n terms, the bias among them; eps = 2^-24 (float32)

whatever the order of its additions (Higham, Accuracy and Stability of Numerical Algorithms, 3.1).
The interval around the exact sum goes through the stages after it, each of which adds its own
rounding. A sign taken at the end is undecided where both ends of the interval give different ones.
Operands may be intervals too: then their width is carried through sums of |weights| and windows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import cast

import numpy as np

from ellc.ir.graph import Node
from ellc.ir.op import Arrays, Op, Pointwise
from ellc.ir.ops.binary import Binarize, BinaryConv2D
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense, MatMul
from ellc.ir.ops.elementwise import Comparison
from ellc.ir.ops.fused import Fused
from ellc.ir.ops.pointwise import Cast, Ceil, Floor, Round, Sign
from ellc.ir.ops.pool import AvgPool2D, MaxPool2D
from ellc.ir.ops.quantised import Quantize
from ellc.ir.ops.reduce import Reduce, Softmax
from ellc.ir.ops.resize import Resample
from ellc.ir.ops.scan import CumSum
from ellc.ir.ops.shape import Concat, Embed, Expand, Gather, Pad, Reshape, Slice, Transpose
from ellc.ir.types import Array, Padding

Interval = tuple[Array, Array, Array]
"""Low end, computed value, high end; three times the same where there is nothing to round."""

SINGLE, DOUBLE = 2.0**-24, 2.0**-53
"""Unit roundoff of float32 and float64."""
_STEPS = (Binarize, Sign, Floor, Ceil, Round, Quantize, Comparison)
_EXACT = (Reshape, Slice, Concat, Transpose, Expand, Gather, Pad, Embed)
_OTHER_ROUNDINGS = 16  # of an operator without a formula, in units of eps times its largest result
_WAYS = (-1.0, 1.0)
_TRIALS = 8  # of operands that are a little wrong, where there is no formula
_STAGE_ROUNDINGS = 4.0  # of one operator, in units of eps: our exp and tanh are within this


def takes_steps(op: Op) -> bool:
    """Whether a result can jump when an operand changes a little."""
    ops = (op.anchor, *(s.op for s in op.stages)) if isinstance(op, Fused) else (op,)
    return any(map(_is_step, ops))


def _is_step(op: Op) -> bool:
    return isinstance(op, _STEPS) or (isinstance(op, Cast) and not op.dtype.is_float)


def undecided(node: Node, operands: Sequence[Array], got: Array) -> Array:
    """Where `got`, the node's only result, is one that rounding inside the node can give.

    Nowhere for a node that takes no step after a rounded number: what it reads is exact.
    """
    if not takes_steps(node.op) or not isinstance(node.op, Fused):
        return np.zeros(got.shape, np.bool_)
    epsilon = DOUBLE if any(x.dtype == np.float64 for x in operands) else SINGLE
    return reachable(interval(node.op, operands, (0.0,) * len(operands), epsilon), got)


def reachable(ends: Interval, got: Array) -> Array:
    """Where `got` is what an end of an interval, or its middle, gives; of integers, any between."""
    if got.dtype.kind in "iu":
        return np.asarray((ends[0] <= got) & (got <= ends[2]))
    return np.asarray(np.logical_or.reduce([got == end.astype(got.dtype) for end in ends]))


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
    error = _rounding(op, operands, middle, epsilon) + _carried(op, operands, errors)
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
    if middle.dtype.kind != "f" or _is_step(op):
        return (low, middle, high)
    size = np.maximum(np.abs(low), np.abs(high))
    for operand in (*ends, *extras):
        if operand.dtype.kind == "f":
            size = np.maximum(size, np.abs(operand))
    slack = _STAGE_ROUNDINGS * epsilon * size
    return (low - slack, middle, high + slack)


def _rounding(op: Op, operands: Arrays, result: Array, epsilon: float) -> Array:
    """Bound of the operator's own rounding error, elementwise."""
    sizes = tuple(np.abs(x) if x.dtype.kind == "f" else x for x in operands)
    match op:
        case Conv2D(padding=padding):
            (terms,) = replace(op, padding=_outside(padding, abs)).reference(*sizes)
            count = prod(operands[1].shape[1:]) + 1
        case Dense():
            (terms,) = op.reference(*sizes)
            count = operands[1].shape[-1] + 1
        case MatMul(transpose_a=turned):
            (terms,) = op.reference(*sizes)
            count = operands[0].shape[-2 if turned else -1]
        case AvgPool2D(window=window, padding=padding):
            (terms,) = replace(op, padding=_outside(padding, abs)).reference(*sizes)
            count = prod(window) + 1
        case BinaryConv2D():
            terms, count = np.abs(result), 1 if len(operands) > 2 else 0
        case Reduce(kind="sum" | "mean" | "l2sum", axes=axes):
            (terms,) = op.reference(*sizes)
            count = prod(operands[0].shape[a] for a in axes) + 1
        case Softmax(axes=axes):
            terms, count = result, prod(result.shape[a] for a in axes) + 2 * int(_STAGE_ROUNDINGS)
        case Reduce(kind="max" | "min") | MaxPool2D():
            return np.zeros_like(result)
        case _ if isinstance(op, _EXACT):
            return np.zeros_like(result)
        case _:
            terms, count = (
                np.full_like(result, np.max(np.abs(result), initial=0.0)),
                _OTHER_ROUNDINGS,
            )
    return np.asarray(count * epsilon * terms)


def _carried(op: Op, operands: Arrays, errors: tuple[Array | float, ...]) -> Array | float:
    """What the operands' errors make of a result at most."""
    if not any(np.any(e) for e in errors):
        return 0.0
    wide = tuple(np.broadcast_to(e, x.shape) for e, x in zip(errors, operands, strict=True))
    match op:
        case Conv2D(padding=padding) | AvgPool2D(padding=padding) | MaxPool2D(padding=padding):
            bare = cast(Op, replace(op, padding=_outside(padding, lambda _: 0.0)))
            return bare.reference(wide[0], *(np.abs(x) for x in operands[1:2]))[0]
        case Dense():
            return op.reference(wide[0], np.abs(operands[1]))[0]
        case MatMul():
            first, second = (np.abs(x) for x in operands)
            ends = op.reference(first + wide[0], second + wide[1])[0]
            return np.asarray(ends - op.reference(first, second)[0])
        case Pad():
            return replace(op, value=0.0).reference(*wide)[0]
        case Gather():
            return op.reference(wide[0], operands[1])[0]
        case Reduce(kind="sum" | "mean" | "max") | CumSum():
            return op.reference(*wide)[0]
        case Resample():
            return op.reference(wide[0], operands[1], np.abs(operands[2]))[0]
        case Reduce(kind="min"):
            return replace(op, kind="max").reference(*wide)[0]
        case Softmax(axes=axes):
            return np.asarray(2.0 * op.reference(*operands)[0] * wide[0].max(axes, keepdims=True))
        case _ if isinstance(op, _EXACT):
            return op.reference(*wide)[0]
        case _:
            return _tried(op, operands, errors)


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


def _outside(padding: Padding, change: Callable[[float], float]) -> Padding:
    return replace(padding, values=tuple(change(v) for v in padding.values))


def _wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" else array
