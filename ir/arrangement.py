"""Tensors whose axes are stored in another order than the logical one.

An arrangement is a permutation of axes: axis i of the stored tensor is axis `permutation[i]` of the
logical tensor. `Op.arranged` returns the operator to use when operands are stored this way.
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
    """The permutation that changes nothing."""
    return tuple(range(rank))


def inverse(permutation: Permutation) -> Permutation:
    """The permutation that undoes another."""
    return tuple(permutation.index(axis) for axis in range(len(permutation)))


def compose(first: Permutation, then: Permutation) -> Permutation:
    """The permutation with the same effect as `first` followed by `then`."""
    return tuple(first[axis] for axis in then)


def picked(items: tuple[Any, ...], permutation: Permutation) -> tuple[Any, ...]:
    """The items of a tuple, one per axis, in the order of a permutation."""
    return tuple(items[axis] for axis in permutation)


def resized(shape: Shape, axis: int, extent: int) -> Shape:
    """The shape with another extent along an axis."""
    return (*shape[:axis], extent, *shape[axis + 1 :])


def order(shape: Shape, permutation: Permutation) -> Permutation:
    """The axes in stored order, without those of extent 1, which do not affect memory order."""
    return tuple(axis for axis in permutation if shape[axis] != 1)


def moves_nothing(shape: Shape, permutation: Permutation) -> bool:
    """Whether a permutation leaves every element at its address in memory."""
    axes = order(shape, permutation)
    return axes == tuple(sorted(axes))


def through_reshape(before: Shape, after: Shape, permutation: Permutation) -> Permutation | None:
    """The arrangement of a reshape's result if its operand has the arrangement `permutation`.

    None if there is no such arrangement. Axes that the reshape merges must be adjacent in memory
    and in their logical order.
    """
    groups = reshape_groups(before, after)
    if groups is None:
        return None
    stored = list(order(before, permutation))
    axes: list[int] = []
    while stored:
        merged, split = next(g for g in groups if stored[0] in g[0])
        if tuple(stored[: len(merged)]) != merged:
            return None
        axes += split
        del stored[: len(merged)]
    return _with_unit_axes(after, axes)


def reshape_groups(before: Shape, after: Shape) -> list[tuple[Permutation, Permutation]] | None:
    """The smallest pairs of groups (axes of `before`, axes of `after`) with the same elements.

    Axes of extent 1 are in no group. None for a shape without elements.
    """
    if 0 in before:
        return None
    axes_before = [a for a, e in enumerate(before) if e != 1]
    axes_after = [a for a, e in enumerate(after) if e != 1]
    groups = []
    while axes_before:
        merged, split = [axes_before.pop(0)], [axes_after.pop(0)]
        while (a := prod(before[i] for i in merged)) != (b := prod(after[i] for i in split)):
            if a < b:
                merged.append(axes_before.pop(0))
            else:
                split.append(axes_after.pop(0))
        groups.append((tuple(merged), tuple(split)))
    return groups


def _with_unit_axes(shape: Shape, axes: list[int]) -> Permutation:
    """`axes`, with every axis of extent 1 inserted right after its predecessor in `shape`."""
    result = list(axes)
    for axis, extent in enumerate(shape):
        if extent == 1:
            result.insert(result.index(axis - 1) + 1 if axis else 0, axis)
    return tuple(result)


def without(permutation: Permutation, axes: Permutation) -> Permutation:
    """The permutation without `axes`; the remaining axes are renumbered from 0."""
    remaining = [a for a in permutation if a not in axes]
    return tuple(sorted(remaining).index(a) for a in remaining)


def requantised(op: OpT, permutation: Permutation) -> OpT:
    """The operator with the axis of its `quant` attribute, if it has one, permuted."""
    quant = getattr(op, "quant", None)
    if isinstance(quant, Quant) and quant.axis is not None:
        moved: Any = replace(quant, axis=permutation.index(quant.axis))
        return replace(op, quant=moved)  # type: ignore[type-var]
    return op
