"""Tensors that hold two different numbers only, chosen by a comparison with constants."""

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
    """Every element is `middle + half` where the comparison holds and `middle - half` elsewhere.

    `comparison` compares a number with a constant; `views` are the operators between it and the
    tensor, the last one first: views, and pools that keep the comparison's larger result.
    """

    comparison: Node
    middle: float
    half: float
    views: tuple[Node, ...] = ()

    @property
    def rises(self) -> bool:
        """Whether larger numbers have the larger value."""
        return isinstance(self.comparison.op, Greater | GreaterEqual) == (self.half > 0)


def two_values(editor: Editor, value: str) -> TwoValues | None:
    """What makes a tensor of two values, None if it may hold others."""
    scale, offset = 1.0, 0.0
    views: list[tuple[Node, float]] = []
    while (maker := editor.producer(value)) is not None:
        found = _chosen(editor, maker)
        if found is not None:
            middle, half = offset + scale * found.middle, scale * found.half
            made = replace(found, middle=middle, half=half, views=tuple(n for n, _ in views))
            # A pool takes the largest: of values that rise with the numbers, as it sees them.
            pools = [outer for n, outer in views if n.op.takes_largest]
            good = all(replace(made, half=half * outer).rises for outer in pools)
            return made if good and half != 0 and np.isfinite([middle, half]).all() else None
        affine = affine_of(editor, maker)
        if affine is not None and affine.scale.size == affine.shift.size == 1:
            offset += scale * float(affine.shift.flat[0])
            scale *= float(affine.scale.flat[0])
            value = affine.value
        elif _is_view(maker):
            views.append((maker, scale))
            value = maker.inputs[0]
        else:
            return None
    return None


def _is_view(node: Node) -> bool:
    return isinstance(node.op, Reshape | Transpose) or node.op.takes_largest


def _chosen(editor: Editor, node: Node) -> TwoValues | None:
    """A condition as 0 and 1, or a choice between two numbers."""
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
    """The number that a constant holds everywhere, also if it is repeated to a shape."""
    maker = editor.producer(value)
    if maker is not None and isinstance(maker.op, Expand):
        value = maker.inputs[0]
    exact = editor.exact(value)
    if exact is None or not exact.size or not np.all(exact == exact.flat[0]):
        return None
    return float(exact.flat[0])
