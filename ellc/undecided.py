"""Which results of a node rounding alone could change: signs of numbers next to zero.

The sum of a convolution or dense layer is known up to

    n * eps * sum |terms|,     n terms, the bias among them; eps = 2^-24 (float32)

whatever the order of its additions (Higham, Accuracy and Stability of Numerical Algorithms, 3.1).
The interval around the exact sum goes through the stages behind it, each of which adds its own
rounding. A sign taken at the end is undecided where both ends of the interval give different ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from ir.graph import Node
from ir.op import Op, Pointwise
from ir.ops.binary import Binarize, BinaryConv2D
from ir.ops.conv import Conv2D
from ir.ops.dense import Dense, MatMul
from ir.ops.elementwise import Comparison
from ir.ops.fused import Fused
from ir.ops.pointwise import Cast, Ceil, Floor, Round, Sign
from ir.ops.pool import AvgPool2D
from ir.types import Array

_STEPS = (Binarize, Sign, Floor, Ceil, Round, Cast, Comparison)
_STAGE_ROUNDINGS = 4.0  # of one operator, in units of eps: our exp and tanh are within this


def takes_steps(op: Op) -> bool:
    """Whether a result can jump when an operand changes a little."""
    ops = (op.anchor, *(s.op for s in op.stages)) if isinstance(op, Fused) else (op,)
    return any(isinstance(x, _STEPS) for x in ops)


def undecided(node: Node, operands: Sequence[Array], got: Array) -> Array:
    """Where `got`, the node's only result, is one that rounding inside the node can give.

    Nowhere for a node that takes no step behind a rounded number: what it reads is exact.
    """
    if not takes_steps(node.op) or not isinstance(node.op, Fused):
        return np.zeros(got.shape, np.bool_)
    with np.errstate(all="ignore"):
        ends = _interval(node.op, tuple(_wide(x) for x in operands), _epsilon(operands))
    return np.asarray(np.logical_or.reduce([got == end.astype(got.dtype) for end in ends]))


def _interval(op: Fused, operands: tuple[Array, ...], epsilon: float) -> tuple[Array, ...]:
    """Results at the low end, in the middle and at the high end of what the anchor may give."""
    head, *rest = op.split(operands)
    (middle,) = op.anchor.reference(*head)
    error = _anchor_error(op.anchor, head, middle, epsilon)
    ends: tuple[Array, ...] = (middle - error, middle, middle + error)
    if middle.dtype.kind != "f":
        ends = (middle,) * 3
    for stage, extras in zip(op.stages, rest, strict=True):
        ends = _stage(stage.op, ends, extras, epsilon)
    return ends


def _stage(
    op: Pointwise, ends: tuple[Array, ...], extras: tuple[Array, ...], epsilon: float
) -> tuple[Array, ...]:
    results = [op.reference(end, *extras)[0] for end in ends]
    if results[0].dtype.kind != "f":
        return tuple(results)
    if isinstance(op, _STEPS):
        return tuple(results)
    size = np.maximum.reduce([np.abs(x) for x in results])
    for operand in (*ends, *extras):
        if operand.dtype.kind == "f":
            size = np.maximum(size, np.abs(operand))
    slack = _STAGE_ROUNDINGS * epsilon * size
    return (np.minimum.reduce(results) - slack, results[1], np.maximum.reduce(results) + slack)


def _anchor_error(op: Op, operands: tuple[Array, ...], result: Array, epsilon: float) -> Array:
    """Bound of the rounding error of the first operator, elementwise."""
    sizes = tuple(np.abs(x) if x.dtype.kind == "f" else x for x in operands)
    match op:
        case Conv2D(padding=padding):
            outside = replace(padding, values=tuple(map(abs, padding.values)))
            (terms,) = replace(op, padding=outside).reference(*sizes)
            count = prod(operands[1].shape[1:]) + 1
        case Dense():
            (terms,) = op.reference(*sizes)
            count = operands[1].shape[-1] + 1
        case MatMul(transpose_a=turned):
            (terms,) = op.reference(*sizes)
            count = operands[0].shape[-2 if turned else -1]
        case AvgPool2D(window=window, padding=padding):
            outside = replace(padding, values=tuple(map(abs, padding.values)))
            (terms,) = replace(op, padding=outside).reference(*sizes)
            count = prod(window) + 1
        case BinaryConv2D():
            terms, count = np.abs(result), 1 if len(operands) > 2 else 0
        case Pointwise() if not isinstance(op, _STEPS):
            terms = np.maximum.reduce([np.abs(result), *(x for x in sizes if x.dtype.kind == "f")])
            count = 1 if result.dtype.kind == "f" else 0
        case _:
            return np.zeros_like(result)
    return np.asarray(count * epsilon * terms)


def _wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _epsilon(operands: Sequence[Array]) -> float:
    double = any(x.dtype == np.float64 for x in operands)
    return 2.0**-53 if double else 2.0**-24
