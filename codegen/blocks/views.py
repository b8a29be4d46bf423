"""Views of a tensor in another shape: strides after axes are merged, split or broadcast."""

from __future__ import annotations

from dataclasses import replace

from ellc.codegen.blocks.access import Access


def regrouped(
    shape: tuple[int, ...], strides: tuple[int, ...], wanted: tuple[int, ...]
) -> tuple[int, ...] | None:
    """The strides of the same elements in the shape `wanted`, or None if there are no such strides.

    Two neighbouring axes are merged if the outer stride is the inner extent times the inner stride.
    The merged axes are then split from the right.
    """
    merged: list[tuple[int, int]] = []
    for extent, stride in zip(shape, strides, strict=True):
        if extent != 1 and merged and merged[-1][1] == extent * stride:
            merged[-1] = (merged[-1][0] * extent, stride)
        elif extent != 1:
            merged.append((extent, stride))
    result: list[int] = []
    remaining, step = 1, 1  # the part of a merged extent that is not split yet, and its stride
    for extent in reversed(wanted):
        if extent == 1:
            result.append(0)
            continue
        if remaining == 1 and merged:
            remaining, step = merged.pop()
        if remaining % extent:
            return None
        result.append(step)
        remaining //= extent
        step *= extent
    return tuple(reversed(result)) if remaining == 1 and not merged else None


def broadcast_strides(
    shape: tuple[int, ...], strides: tuple[int, ...], wanted: tuple[int, ...]
) -> tuple[int, ...]:
    """The strides of an operand that broadcasts to `wanted` as in numpy: 0 along repeated axes."""
    missing = len(wanted) - len(shape)
    own = (1,) * missing + shape
    steps = (0,) * missing + strides
    return tuple(0 if n == 1 else s for n, s in zip(own, steps, strict=True))


def broadcast_to(access: Access, shape: tuple[int, ...]) -> Access:
    """The operand, broadcast to `shape` by strides of 0. No element is copied."""
    strides = broadcast_strides(access.shape, access.strides, shape)
    return replace(access, shape=shape, strides=strides, border=None)


def viewed_as(access: Access, shape: tuple[int, ...]) -> Access | None:
    """The tensor, viewed in the shape `shape`, or None if strides cannot express the view.

    The border is kept only if the shape does not change.
    """
    if access.shape == shape:
        return access
    strides = regrouped(access.shape, access.strides, shape)
    if strides is None:
        return None
    return replace(access, shape=shape, strides=strides, border=None)
