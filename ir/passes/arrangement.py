"""How operators work on operands whose axes come in another order.

An arrangement of a tensor is a permutation of its axes: axis i of what is stored is axis
`permutation[i]` of what is meant. Each operator that does not care has one rule here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from ellc.ir.op import Op, Pointwise
from ellc.ir.ops.dense import Dense
from ellc.ir.ops.fixed_point_functions import Interpolate
from ellc.ir.ops.fused import Fused, Stage
from ellc.ir.ops.norm import LRN
from ellc.ir.ops.quantised import Lookup
from ellc.ir.ops.quantised_conv import IntDense
from ellc.ir.ops.quantised_softmax import QuantSoftmax
from ellc.ir.ops.reduce import ArgMax, ArgMin, LogSoftmax, Reduce, Softmax
from ellc.ir.ops.scan import CumProd, CumSum
from ellc.ir.ops.shape import Concat, Embed, Expand, Gather, Pad, Reshape, Slice, Split
from ellc.ir.ops.sorting import TopK
from ellc.ir.ops.thresholds import CountReached
from ellc.ir.types import Quant, TensorType

Permutation = tuple[int, ...]
Shape = tuple[int, ...]
Types = tuple[TensorType, ...]


def identity(rank: int) -> Permutation:
    """The axes as they are."""
    return tuple(range(rank))


def inverse(permutation: Permutation) -> Permutation:
    """What undoes a permutation."""
    return tuple(permutation.index(axis) for axis in range(len(permutation)))


def compose(first: Permutation, then: Permutation) -> Permutation:
    """One permutation that does what two do after each other."""
    return tuple(first[axis] for axis in then)


def picked(items: tuple[Any, ...], permutation: Permutation) -> tuple[Any, ...]:
    """One item per axis, rearranged."""
    return tuple(items[axis] for axis in permutation)


def order(shape: Shape, permutation: Permutation) -> Permutation:
    """The axes that have more than one element, as they are stored: all that lies in memory."""
    return tuple(axis for axis in permutation if shape[axis] != 1)


def moves_nothing(shape: Shape, permutation: Permutation) -> bool:
    """Whether the elements keep their places in memory."""
    axes = order(shape, permutation)
    return axes == tuple(sorted(axes))


@dataclass(frozen=True)
class Arranged:
    """An operator on rearranged operands, and how its operands and results are then arranged.

    None stands for an operand that stays what it is (a table). An operand of lower rank than its
    permutation is meant with axes of extent 1 in front, as in broadcasting.
    """

    op: Op
    operands: tuple[Permutation | None, ...]
    results: tuple[Permutation, ...]


Rule = Callable[[Any, Types, Types, Permutation], Arranged | None]


def arranged(op: Op, operands: Types, results: Types, permutation: Permutation) -> Arranged | None:
    """The operator with its first operand rearranged; None if it cannot work on that."""
    rule = _rule(op)
    return None if rule is None else rule(op, operands, results, permutation)


def is_flexible(op: Op) -> bool:
    """Whether an operator may be able to work on other arrangements."""
    return _rule(op) is not None


def first_from_operand(
    op: Op, operands: Types, index: int, permutation: Permutation
) -> Permutation | None:
    """How the first operand is arranged where operand `index` is; None if that is not said."""
    if index == 0:
        return permutation
    head = op.anchor if isinstance(op, Fused) else op
    alike = isinstance(head, Pointwise | Concat | Embed)
    return permutation if alike and operands[index].rank == operands[0].rank else None


def first_from_result(
    op: Op, operands: Types, results: Types, index: int, permutation: Permutation
) -> Permutation | None:
    """How the first operand is arranged where a result is; None if that is not said."""
    if isinstance(op, Reshape):
        return through_reshape(results[index].shape, operands[0].shape, permutation)
    return permutation if operands[0].rank == results[index].rank else None


def through_reshape(before: Shape, after: Shape, permutation: Permutation) -> Permutation | None:
    """The arrangement after a reshape whose operand is rearranged, None if there is none.

    Axes that are merged or split must lie beside each other in their own order.
    """
    groups = reshape_groups(before, after)
    if groups is None:
        return None
    stored = list(order(before, permutation))
    found: list[int] = []
    while stored:
        taken, made = next(g for g in groups if stored[0] in g[0])
        if tuple(stored[: len(taken)]) != taken:
            return None
        found += made
        del stored[: len(taken)]
    return _with_unit_axes(after, found)


def reshape_groups(before: Shape, after: Shape) -> list[tuple[Permutation, Permutation]] | None:
    """Axes of both shapes that hold the same elements, as small as possible, without unit axes."""
    if 0 in before:
        return None
    left = [a for a, e in enumerate(before) if e != 1]
    right = [a for a, e in enumerate(after) if e != 1]
    groups = []
    while left:
        taken, made = [left.pop(0)], [right.pop(0)]
        while (a := prod(before[i] for i in taken)) != (b := prod(after[i] for i in made)):
            if a < b:
                taken.append(left.pop(0))
            else:
                made.append(right.pop(0))
        groups.append((tuple(taken), tuple(made)))
    return groups


def _with_unit_axes(shape: Shape, axes: list[int]) -> Permutation:
    """A permutation with the given order; each axis of extent 1 follows the one before it."""
    result = list(axes)
    for axis, extent in enumerate(shape):
        if extent == 1:
            result.insert(result.index(axis - 1) + 1 if axis else 0, axis)
    return tuple(result)


# ---- rules --------------------------------------------------------------------------------------


def _pointwise(op: Op, operands: Types, results: Types, p: Permutation) -> Arranged | None:
    return Arranged(_requantised(op, p), (p,) * len(operands), (p,))


def _fused(op: Fused, operands: Types, results: Types, p: Permutation) -> Arranged | None:
    anchor = arranged(op.anchor, operands[: op.operands], results, p)
    if anchor is None or len(anchor.results) != 1:
        return None
    (made,) = anchor.results
    stages = tuple(Stage(_requantised(s.op, made), s.extras) for s in op.stages)
    extras = (made,) * (len(operands) - op.operands)
    moved = replace(op, anchor=anchor.op, stages=stages)
    return Arranged(moved, (*anchor.operands, *extras), (made,))


def _requantised(op: Any, p: Permutation) -> Any:
    """The operator with the axis of its result's quantisation moved."""
    quant = getattr(op, "quant", None)
    if isinstance(quant, Quant) and quant.axis is not None:
        return replace(op, quant=replace(quant, axis=p.index(quant.axis)))
    return op


def _lookup(op: Op, operands: Types, results: Types, p: Permutation) -> Arranged | None:
    return Arranged(_requantised(op, p), (p, *[None] * (len(operands) - 1)), (p,))


def _count_reached(op: Op, operands: Types, results: Types, p: Permutation) -> Arranged | None:
    return Arranged(op, (p, (0, *(axis + 1 for axis in p))), (p,))


def _along_last(op: Op, operands: Types, results: Types, p: Permutation) -> Arranged | None:
    """Operators on the last axis; they do not care about the others."""
    if p[-1] != len(p) - 1:
        return None
    return Arranged(op, (p, *[None] * (len(operands) - 1)), (p,))


def _along_axis(op: Any, operands: Types, results: Types, p: Permutation) -> Arranged | None:
    """Operators along one axis."""
    return Arranged(replace(op, axis=p.index(op.axis)), (p,), (p,) * len(results))


def _concat(op: Concat, operands: Types, results: Types, p: Permutation) -> Arranged | None:
    return Arranged(Concat(p.index(op.axis)), (p,) * len(operands), (p,))


def _split(op: Split, operands: Types, results: Types, p: Permutation) -> Arranged | None:
    return Arranged(Split(p.index(op.axis), op.sizes), (p,), (p,) * len(results))


def _slice(op: Slice, operands: Types, results: Types, p: Permutation) -> Arranged | None:
    return Arranged(Slice(*(picked(x, p) for x in (op.starts, op.sizes, op.steps))), (p,), (p,))


def _pad(op: Pad, operands: Types, results: Types, p: Permutation) -> Arranged | None:
    moved = replace(op, before=picked(op.before, p), after=picked(op.after, p))
    return Arranged(moved, (p,), (p,))


def _embed(op: Embed, operands: Types, results: Types, p: Permutation) -> Arranged | None:
    return Arranged(Embed(picked(op.offsets, p)), (p, p), (p,))


def _expand(op: Expand, operands: Types, results: Types, p: Permutation) -> Arranged | None:
    if operands[0].rank != results[0].rank:
        return None
    return Arranged(Expand(picked(op.shape, p)), (p,), (p,))


def _reduce(op: Reduce, operands: Types, results: Types, p: Permutation) -> Arranged | None:
    axes = tuple(sorted(p.index(a) for a in op.axes))
    kept = p if op.keep_dims else _without(p, op.axes)
    return Arranged(replace(op, axes=axes), (p,), (kept,))


def _arg(op: ArgMax | ArgMin, operands: Types, results: Types, p: Permutation) -> Arranged | None:
    kept = p if op.keep_dims else _without(p, (op.axis,))
    return Arranged(replace(op, axis=p.index(op.axis)), (p,), (kept,))


def _without(p: Permutation, axes: tuple[int, ...]) -> Permutation:
    left = [a for a in p if a not in axes]
    return tuple(sorted(left).index(a) for a in left)


def _softmax(
    op: Softmax | LogSoftmax, operands: Types, results: Types, p: Permutation
) -> Arranged | None:
    axes = tuple(sorted(p.index(a) for a in op.axes))
    return Arranged(replace(op, axes=axes), (p,), (p,))


def _reshape(op: Reshape, operands: Types, results: Types, p: Permutation) -> Arranged | None:
    made = through_reshape(operands[0].shape, op.shape, p)
    if made is None:
        return None
    return Arranged(Reshape(picked(op.shape, made)), (p,), (made,))


def _gather(op: Gather, operands: Types, results: Types, p: Permutation) -> Arranged | None:
    more = operands[1].rank - 1  # axes that the indices put in the place of one
    made: list[int] = []
    for axis in p:
        if axis == op.axis:
            made += range(axis, axis + more + 1)
        else:
            made.append(axis + more if axis > op.axis else axis)
    return Arranged(Gather(p.index(op.axis)), (p, None), (tuple(made),))


_RULES: dict[type[Op], Rule] = {
    Fused: _fused,
    Concat: _concat,
    Split: _split,
    Slice: _slice,
    Pad: _pad,
    Embed: _embed,
    Expand: _expand,
    Reduce: _reduce,
    ArgMax: _arg,
    ArgMin: _arg,
    Softmax: _softmax,
    LogSoftmax: _softmax,
    Reshape: _reshape,
    Gather: _gather,
    Dense: _along_last,
    IntDense: _along_last,
    LRN: _along_last,
    QuantSoftmax: _along_last,
    Lookup: _lookup,
    Interpolate: _lookup,
    CumSum: _along_axis,
    CumProd: _along_axis,
    TopK: _along_axis,
    CountReached: _count_reached,
}


def _rule(op: Op) -> Rule | None:
    if isinstance(op, Fused) and _rule(op.anchor) is None:
        return None
    found = _RULES.get(type(op))
    return _pointwise if found is None and isinstance(op, Pointwise) else found
