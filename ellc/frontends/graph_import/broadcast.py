"""Adds pointwise operators whose operands are broadcast in both directions.

In a model file any operand may be broadcast. An operator of the graph broadcasts all operands
except the first.
"""

from __future__ import annotations

import numpy as np

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.ir.op import Op, Pointwise
from ellc.ir.ops.shape import Expand


def common_shape(*values: Value) -> tuple[int, ...]:
    """The shape to which all values broadcast; raises `Unsupported` if there is none."""
    shape: tuple[int, ...] = ()
    for value in values:
        shape = _joined(shape, value.shape)
    return shape


def expanded(emitter: Emitter, value: Value, shape: tuple[int, ...]) -> Value:
    """Broadcast a value to a shape; a value that already has this shape is returned unchanged."""
    return value if value.shape == shape else emitter.add(Expand(shape), value)


def pointwise(emitter: Emitter, op: Op, *operands: Value) -> Value:
    """Add a pointwise operator whose operands broadcast to a common shape.

    The first operand is expanded to this shape. But if the second operand should come first, and
    the operator has a form with swapped operands, the operands are swapped instead.
    """
    shape = common_shape(*operands)
    first, *others = operands
    swapped = op.swapped() if isinstance(op, Pointwise) else None
    if swapped is not None and len(others) == 1 and _goes_first(others[0], first, shape):
        op, first, others = swapped, others[0], [first]
    return emitter.add(op, expanded(emitter, first, shape), *others)


def _goes_first(second: Value, first: Value, shape: tuple[int, ...]) -> bool:
    """Whether the second operand should come first.

    The first operand must have the shape of the result. If both operands have it, a computed
    operand comes before a constant.
    """
    if second.shape != shape:
        return False
    return first.shape != shape or (first.is_constant and not second.is_constant)


def _joined(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        raise Unsupported(f"the shapes {a} and {b} do not broadcast") from None
