"""Compare sums of signs with thresholds instead of computing with floats until the next signs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ellc.ir.graph import Graph, Node
from ellc.ir.ops.binary import Binarize, BinaryConv2D, BitPool2D
from ellc.ir.ops.pointwise import Add
from ellc.ir.ops.pool import MaxPool2D
from ellc.ir.passes.base import Pass, register_pass
from ellc.ir.passes.fold.monotone import Steps, step_of
from ellc.ir.passes.properties import ALL_USED, LOWERED, NO_BORDERS, UNFUSED, Property
from ellc.ir.rewrite import Editor, merged_source
from ellc.ir.types import Array, DType

_MOST_SUM = 1 << 20
"""Sums up to this size, and thresholds half-way between them, are exact in float32."""


@register_pass("binary_thresholds")
@dataclass(frozen=True)
class BinaryThresholds(Pass):
    """Turn what is between a `BinaryConv2D` and the next signs into one addition.

    A sum of signs is an integer in a known range. If every function between it and the next
    `Binarize` is monotone, the sign depends on one threshold: per filter or, if constants differ
    between positions, per element. The threshold is found by computing the functions in float32 as
    the reference does, so the signs are the same for every sum. Where a sign falls when the sum
    rises, the filter is inverted. A maximum over windows becomes a `BitPool2D`: the sign of the
    largest number is set if any is, or if all are where a factor behind the pool is negative.

    Nothing changes if a function is not proved to be monotone for some element (PReLU with a
    negative slope and sums of both signs), if a number is not finite, or if signs of one filter
    rise at some positions and fall at others.
    """

    requires: ClassVar[tuple[Property, ...]] = (UNFUSED, NO_BORDERS, ALL_USED, LOWERED)

    def run(self, graph: Graph) -> Graph:
        editor = Editor(graph)
        for node in editor.nodes():
            if isinstance(node.op, Binarize):
                chain = _chain(editor, node)
                found = None if chain is None else _thresholds(editor, chain)
                if chain is not None and found is not None:
                    _replace(editor, chain, found)
        return editor.graph() if editor.changed else graph


@dataclass(frozen=True)
class _Chain:
    """The nodes from a binary convolution to the next signs, and what those between compute."""

    conv: Node
    before: Steps
    pool: Node | None
    behind: Steps
    between: tuple[Node, ...]
    signs: Node


@dataclass(frozen=True)
class _Thresholds:
    """The signs are those of sum + shift; weights of `inverted` filters change their signs.

    The result of the pool is inverted for the filters in `flips`.
    """

    shift: Array
    inverted: Array
    flips: Array


def _chain(editor: Editor, signs: Node) -> _Chain | None:
    """The chain that ends in a `Binarize`; None if there is none, or nothing to gain."""
    value, pool = signs.inputs[0], None
    found: list[Node] = []
    before, behind = Steps(), Steps()
    while editor.used_once(value):
        node = editor.producer(value)
        if node is None or editor.type(value).dtype is not DType.F32:
            return None
        match node.op:
            case BinaryConv2D():
                if not found or (len(node.inputs) == 2 and [type(n.op) for n in found] == [Add]):
                    return None
                return _Chain(node, before, pool, behind, tuple(found), signs)
            case MaxPool2D(dilation=(1, 1)) as op if pool is None and op.takes_largest:
                if not _all_windows_have_pixels(op, node, editor):
                    return None
                pool, behind, before = node, before, Steps()
            case _:
                step = step_of(editor, node)
                if step is None:
                    return None
                before = Steps((step, *before.steps))
                value = node.inputs[step.position]
                found.append(node)
                continue
        found.append(node)
        value = node.inputs[0]
    return None


def _all_windows_have_pixels(op: MaxPool2D, node: Node, editor: Editor) -> bool:
    """Whether no window lies in the padding completely."""
    image, pooled = (editor.type(v).shape[1:3] for v in (node.inputs[0], node.output))
    before = (op.padding.top, op.padding.left)
    axes = zip(image, pooled, before, op.window, op.stride, strict=True)
    return all(
        padding < taps and (outputs - 1) * stride - padding < size
        for size, outputs, padding, taps, stride in axes
    )


def _thresholds(editor: Editor, chain: _Chain) -> _Thresholds | None:
    """The thresholds; None if a function is not proved to be monotone."""
    weights = editor.array(chain.conv.inputs[1])
    scale: Array | None = np.ones(1, np.float32)
    if len(chain.conv.inputs) > 2:
        scale = editor.array(chain.conv.inputs[2])
    if weights is None or scale is None or not np.all(np.isfinite(scale)):
        return None
    most = int(np.prod(weights.shape[1:]))
    if most >= _MOST_SUM or (chain.pool is not None and chain.behind.differ_by_pixel):
        return None
    with np.errstate(all="ignore"):
        return _found(chain, most, scale.reshape(1, 1, 1, -1), len(weights))


def _found(chain: _Chain, most: int, scale: Array, filters: int) -> _Thresholds | None:
    def sums(number: int | Array) -> Array:
        return np.asarray(np.asarray(number, np.float32) + np.zeros(filters, np.float32)) * scale

    ends = chain.before.proved(sums(-most), sums(most))
    if ends is None:
        return None
    flips = np.zeros(filters, np.bool_)
    if chain.pool is not None:
        low = np.minimum(*ends).min(axis=(1, 2), keepdims=True)
        high = np.maximum(*ends).max(axis=(1, 2), keepdims=True)
        pooled = chain.behind.proved(low, high)
        if pooled is None:
            return None
        flips = np.broadcast_to(pooled[1] < pooled[0], (1, 1, 1, filters)).reshape(-1)
    elif chain.behind.proved(*ends) is None:
        return None

    def signs(number: int | Array) -> Array:
        return np.asarray(chain.behind.run(chain.before.run(sums(number))) > 0)

    first, last = np.broadcast_arrays(signs(-most), signs(most))
    falls = np.any(first & ~last, axis=(0, 1, 2))
    if np.any(falls & np.any(~first & last, axis=(0, 1, 2))):
        return None
    reached = _first_true(lambda number: signs(number) ^ falls, most, first.shape)
    inverted = falls ^ flips
    shift = np.where(inverted, reached - 0.5, 0.5 - reached).astype(np.float32)
    if np.all(shift == shift[:, :1, :1]):
        shift = shift[0, 0, 0]
    return _Thresholds(shift, inverted, flips)


def _first_true(rises: Callable[[Array], Array], most: int, shape: tuple[int, ...]) -> Array:
    """For each element the first number in -most..most for which it is true; most + 1 if none.

    An element that is true for a number is true for all larger ones.
    """
    low, high = np.full(shape, -most), np.full(shape, most + 1)
    while np.any(low < high):
        middle = (low + high) // 2
        is_true = rises(np.minimum(middle, most)) | (middle > most)
        high = np.where(is_true, middle, high)
        low = np.where(is_true, low, np.minimum(middle + 1, high))
    return low


def _replace(editor: Editor, chain: _Chain, found: _Thresholds) -> None:
    conv, signs = chain.conv, chain.signs
    weights = conv.inputs[1]
    if found.inverted.any():
        array = editor.array(weights)
        assert array is not None
        weights = editor.constant(array ^ found.inverted[:, None, None, None], DType.BIT)
    at = chain.between.index(chain.pool) + 1 if chain.pool is not None else 0
    source = merged_source(conv, *chain.between[at:][::-1])
    total = editor.insert(signs, conv.op, conv.inputs[0], weights, source=source)
    total = editor.insert(signs, Add(), total, editor.constant(found.shift), source=source)
    if chain.pool is None:
        editor.replace(signs, Binarize(), total)
    else:
        assert isinstance(chain.pool.op, MaxPool2D)
        bits = editor.insert(signs, Binarize(), total, source=source)
        op = BitPool2D(chain.pool.op.window, chain.pool.op.stride, chain.pool.op.padding)
        flips = editor.constant(found.flips, DType.BIT)
        source = merged_source(*chain.between[:at][::-1], signs)
        editor.replace(signs, op, bits, flips, source=source)
    for node in (*chain.between, conv):
        editor.remove(node)
