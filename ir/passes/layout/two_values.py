"""Recognise tensors of only two different numbers, between which a comparison chooses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ellc.ir.graph import Node
from ellc.ir.ops.pointwise import Cast, Greater, GreaterEqual, Less, LessEqual, Select
from ellc.ir.ops.shape import Expand, Reshape, Transpose
from ellc.ir.passes.affine import affine_of
from ellc.ir.rewrite import Editor
from ellc.ir.types import DType

_COMPARISONS = (Greater, GreaterEqual, Less, LessEqual)


@dataclass(frozen=True)
class TwoValues:
    """A tensor whose elements are `middle + half` where a comparison is true, else `middle - half`.

    `comparison` compares a value with a constant. `views` are the operators from the tensor back to
    the comparison: reshapes, transposes and max pools.
    """

    comparison: Node
    middle: float
    half: float
    views: tuple[Node, ...] = ()

    @property
    def rises(self) -> bool:
        """Whether the tensor has its larger value where the compared value is larger."""
        return isinstance(self.comparison.op, Greater | GreaterEqual) == (self.half > 0)


def two_values(editor: Editor, value: str) -> TwoValues | None:
    """The two values of a tensor; None if it may hold other values."""
    scale, offset = 1.0, 0.0
    views: list[tuple[Node, float]] = []
    while (producer := editor.producer(value)) is not None:
        chosen = _chosen(editor, producer)
        if chosen is not None:
            middle, half = offset + scale * chosen.middle, scale * chosen.half
            candidate = replace(chosen, middle=middle, half=half, views=tuple(n for n, _ in views))
            # A max pool may be moved before the comparison only if its operand rises.
            pools = [outer for n, outer in views if n.op.takes_largest]
            good = all(replace(candidate, half=half * outer).rises for outer in pools)
            return candidate if good and half != 0 and np.isfinite([middle, half]).all() else None
        affine = affine_of(editor, producer)
        if affine is not None and affine.scale.size == affine.shift.size == 1:
            offset += scale * float(affine.shift.flat[0])
            scale *= float(affine.scale.flat[0])
            value = affine.value
        elif _is_view(producer):
            views.append((producer, scale))
            value = producer.inputs[0]
        else:
            return None
    return None


def _is_view(node: Node) -> bool:
    return isinstance(node.op, Reshape | Transpose) or node.op.takes_largest


def _chosen(editor: Editor, node: Node) -> TwoValues | None:
    """The two values of a `Cast` or `Select` of a comparison; None for other nodes."""
    match node.op, node.inputs:
        case Cast(dtype=dtype), (condition,) if dtype.is_float:
            low, high = 0.0, 1.0
        case Select(), (x, other, condition):
            numbers = [_number(editor, v) for v in (x, other)]
            if numbers[0] is None or numbers[1] is None:
                return None
            high, low = numbers[0], numbers[1]
        case _:
            return None
    comparison = editor.producer(condition)
    if comparison is None or not isinstance(comparison.op, _COMPARISONS):
        return None
    if editor.type(comparison.inputs[0]).dtype is not DType.F32:
        return None
    bound = editor.exact(comparison.inputs[1])
    if bound is None or not np.all(np.isfinite(bound)):
        return None
    if editor.type(comparison.output).shape != editor.type(node.output).shape:
        return None
    return TwoValues(comparison, (high + low) / 2, (high - low) / 2)


def _number(editor: Editor, value: str) -> float | None:
    """The number in all elements of a constant or expanded constant; None for other values."""
    producer = editor.producer(value)
    if producer is not None and isinstance(producer.op, Expand):
        value = producer.inputs[0]
    exact = editor.exact(value)
    if exact is None or not exact.size or not np.all(exact == exact.flat[0]):
        return None
    return float(exact.flat[0])
