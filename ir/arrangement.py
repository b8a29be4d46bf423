"""Tensors whose axes are stored in another order than they are meant.

An arrangement is a permutation of axes: axis i of what is stored is axis `permutation[i]` of what
is meant. `Op.arranged` says how an operator works on operands that are arranged so.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any, TypeVar

from ellc.ir.types import Quant

Permutation = tuple[int, ...]
Shape = tuple[int, ...]
OpT = TypeVar("OpT")


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


def resized(shape: Shape, axis: int, extent: int) -> Shape:
    """The shape with another extent along an axis."""
    return (*shape[:axis], extent, *shape[axis + 1 :])


def order(shape: Shape, permutation: Permutation) -> Permutation:
    """The axes that have more than one element, as they are stored: all that lies in memory."""
    return tuple(axis for axis in permutation if shape[axis] != 1)


def moves_nothing(shape: Shape, permutation: Permutation) -> bool:
    """Whether the elements keep their places in memory."""
    axes = order(shape, permutation)
    return axes == tuple(sorted(axes))


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


def without(permutation: Permutation, axes: Permutation) -> Permutation:
    """The permutation of the axes that are left when some are taken away."""
    left = [a for a in permutation if a not in axes]
    return tuple(sorted(left).index(a) for a in left)


def requantised(op: OpT, permutation: Permutation) -> OpT:
    """The operator with the axis of its result's quantisation moved."""
    quant = getattr(op, "quant", None)
    if isinstance(quant, Quant) and quant.axis is not None:
        moved: Any = replace(quant, axis=permutation.index(quant.axis))
        return replace(op, quant=moved)  # type: ignore[type-var]
    return op
