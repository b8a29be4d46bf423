"""Converts axes of a model file, in which negative numbers count from the last axis."""

from __future__ import annotations

from collections.abc import Sequence

from ellc.frontends.graph_import.values import Unsupported


def axis_of(axis: int, rank: int) -> int:
    """Convert an axis to a number from 0 to rank - 1; raises `Unsupported` if it does not exist."""
    if not -rank <= axis < rank:
        raise Unsupported(f"axis {axis} of a tensor of rank {rank}")
    return axis % rank


def axes_of(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Convert axes to numbers from 0 to rank - 1, in the same order.

    Raises `Unsupported` for an axis that the tensor does not have, and for one that occurs twice.
    """
    counted = tuple(axis_of(a, rank) for a in axes)
    if len(set(counted)) != len(counted):
        raise Unsupported(f"the axes {tuple(axes)} name the same axis twice")
    return counted
