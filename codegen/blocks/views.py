"""Strides of a tensor viewed in another shape: axes are merged, split or broadcast."""

from __future__ import annotations

from dataclasses import replace

from ellc.codegen.blocks.access import Access


def regrouped(
    shape: tuple[int, ...], strides: tuple[int, ...], wanted: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Strides of the same elements in the shape `wanted`, or None if no strides describe it.

    Axes are merged wherever `outer == extent * inner`, then split from the right.
    """
    merged: list[tuple[int, int]] = []
    for extent, stride in zip(shape, strides, strict=True):
        if extent != 1 and merged and merged[-1][1] == extent * stride:
            merged[-1] = (merged[-1][0] * extent, stride)
        elif extent != 1:
            merged.append((extent, stride))
    result: list[int] = []
    left, step = 1, 1  # the part of a merged extent that is not split yet, and its stride
    for extent in reversed(wanted):
        if extent == 1:
            result.append(0)
            continue
        if left == 1 and merged:
            left, step = merged.pop()
        if left % extent:
            return None
        result.append(step)
        left //= extent
        step *= extent
    return tuple(reversed(result)) if left == 1 and not merged else None


def broadcast_strides(
    shape: tuple[int, ...], strides: tuple[int, ...], wanted: tuple[int, ...]
) -> tuple[int, ...]:
    """Strides of an operand that broadcasts to `wanted` as in numpy: 0 where it repeats."""
    missing = len(wanted) - len(shape)
    own = (1,) * missing + shape
    steps = (0,) * missing + strides
    return tuple(0 if n == 1 else s for n, s in zip(own, steps, strict=True))


def broadcast_to(access: Access, shape: tuple[int, ...]) -> Access:
    """The operand broadcast to `shape` by strides of 0: no element is copied."""
    strides = broadcast_strides(access.shape, access.strides, shape)
    return replace(access, shape=shape, strides=strides, border=None)


def viewed_as(access: Access, shape: tuple[int, ...]) -> Access | None:
    """The tensor reshaped without a copy; None if strides cannot express that.

    The border is kept only if the shape does not change.
    """
    if access.shape == shape:
        return access
    strides = regrouped(access.shape, access.strides, shape)
    if strides is None:
        return None
    return replace(access, shape=shape, strides=strides, border=None)
