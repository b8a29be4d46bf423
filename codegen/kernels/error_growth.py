"""How much the stages after a convolution enlarge an error that is relative to the largest result.

Let r be the largest magnitude that the sums of a filter reach. A stage that computes f then has
results of up to F(r) = max of |f(x)| over |x| <= r, and enlarges errors at most by its steepest
slope there, L(r). The error relative to the largest result therefore grows at most by the factor

    g(r) = r * L(r) / F(r),

and whatever the pixels are, by no more than the largest g(r) over all r. The factors of consecutive
stages multiply. Sums take both signs; the operand of a later stage may have only one, so its factor
is the larger one of x >= 0 and x <= 0. g is 1 for ReLU, leaky ReLU, ELU and absolute values, 1.3
for x * sigmoid(x), 1.5 for hard swish. It has no bound for ReLU6, sigmoid or tanh, which limit
their results, however large the sums are: for those, no weights tell the error, only pixels do.
So it is with steps, such as the sign.

* A factor per filter (batch normalisation, scales) multiplies the filter's error and its results,
  as if it belonged to its weights; the stages between have the same g for every filter.
* A constant offset moves all results of a filter. After a stage such as ReLU these are all between
  0 and r, and an offset of -r/2 halves the largest magnitude: g = 2. Every other offset leaves more
  of it. A function after an offset, as after the bias of the convolution, is taken to see as large
  results as before: of many filters, some have results that an offset does not make smaller.
* Another tensor that is added is independent of the sums, so results do not become smaller: g = 1.
* PReLU with constant slopes: for slopes of up to 1, L and F are 1 and r; larger slopes enlarge
  both: g = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from ellc.codegen.blocks.placed_node import NodeOperand, PlacedNode
from ellc.ir.op import Pointwise
from ellc.ir.ops.elementwise import Unary
from ellc.ir.ops.pointwise import Add, Mul, MulAdd, PRelu, Sub
from ellc.ir.types import Array

OFFSET = 2.0
_STEPS_PER_OCTAVE = 64
_OCTAVES = 12
"""Functions are tried for |x| from 2^-12 to 2^12, with so many points for each factor of 2."""


@dataclass(frozen=True, slots=True)
class Growth:
    """The factor of the relative error, and the factors [F] by which filters are multiplied."""

    factor: float
    scales: Array


def growth_of_stages(node: PlacedNode) -> Growth:
    """What a node's stages do to errors of its sums. The factor is infinite if it has no bound."""
    filters = node.anchor_type().shape[-1]
    factor, scales = 1.0, np.ones(filters)
    extras = iter(node.extras)
    for number, stage in enumerate(node.stages):
        operands = [next(extras) for _ in range(stage.extras)]
        scale = _scale(stage.op, operands, filters)
        if scale is None:
            return Growth(np.inf, scales)
        factor *= _factor(stage.op, operands, both_signs=number == 0)
        scales = scales * scale
    return Growth(factor, scales)


def _scale(op: Pointwise, operands: Sequence[NodeOperand], filters: int) -> Array | None:
    """By what a stage multiplies each filter; None if that is not one finite constant for each."""
    if not isinstance(op, Mul | MulAdd):
        return np.ones(filters)
    factors = operands[0].array
    if factors is None or factors.size not in (1, filters) or factors.shape[-1] != factors.size:
        return None
    return np.broadcast_to(factors.reshape(-1).astype(np.float64), (filters,))


def _factor(op: Pointwise, operands: Sequence[NodeOperand], *, both_signs: bool) -> float:
    """The largest g(r) of a stage; infinite if it has no bound, or is not known."""
    constant = all(x.array is not None and np.isfinite(x.array).all() for x in operands)
    match op:
        case Unary():
            return largest_growth(op, both_signs=both_signs)
        case Mul() | PRelu() if constant:
            return 1.0
        case Add() | Sub():
            return OFFSET if constant else 1.0
        case MulAdd() if constant:
            return OFFSET
        case _:
            return float(np.inf)


@cache
def largest_growth(op: Unary, *, both_signs: bool) -> float:
    """The largest g(r) of a function of one operand, over the magnitudes that are tried.

    Without `both_signs`, operands may all be positive or all negative.
    """
    if op.jumps or "f" not in op.kinds:
        return float(np.inf)
    steps = np.arange(-_OCTAVES * _STEPS_PER_OCTAVE, _OCTAVES * _STEPS_PER_OCTAVE + 1)
    sizes = np.concatenate([[0.0], 2.0 ** (steps / _STEPS_PER_OCTAVE)])
    with np.errstate(all="ignore"):
        values = np.stack([op.value(sizes), op.value(-sizes)])
        slopes = np.maximum.accumulate(np.abs(np.diff(values)) / np.diff(sizes), axis=1)
        largest = np.maximum.accumulate(np.abs(values), axis=1)[:, 1:]
        if both_signs:
            slopes, largest = slopes.max(axis=0), largest.max(axis=0)
        # A function that is constant causes no error.
        growth = np.where(slopes == 0, 0.0, sizes[1:] * slopes / largest)
    return float(growth.max()) if np.isfinite(growth).all() else float(np.inf)
