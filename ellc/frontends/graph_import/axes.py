"""Axes as files write them: from the front or, negative, from the end."""

from __future__ import annotations

from collections.abc import Sequence

from ellc.frontends.graph_import.values import Unsupported


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front.

    Raises `Unsupported` for one that a tensor of this rank does not have.
    """
    if not -rank <= axis < rank:
        raise Unsupported(f"axis {axis} of a tensor of rank {rank}")
    return axis % rank


def axes_of(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Different axes counted from the front, in the order given.

    Raises `Unsupported` for one that the tensor does not have, and for one that is named twice.
    """
    counted = tuple(axis_of(a, rank) for a in axes)
    if len(set(counted)) != len(counted):
        raise Unsupported(f"the axes {tuple(axes)} name one twice")
    return counted
