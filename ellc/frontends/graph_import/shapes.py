"""Adds reshapes and transposes, unless they would change nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.ir.ops.shape import Reshape, Transpose


def reshaped(emitter: Emitter, x: Value, shape: Sequence[int]) -> Value:
    """Reshape a value; a value that already has this shape is returned unchanged."""
    return x if x.shape == tuple(shape) else emitter.add(Reshape(tuple(shape)), x)


def transposed(emitter: Emitter, x: Value, permutation: Sequence[int]) -> Value:
    """Transpose a value; a known array is transposed at import."""
    order = tuple(permutation)
    if order == tuple(range(x.type.rank)):
        return x
    if sorted(order) != list(range(x.type.rank)):
        raise Unsupported(f"{list(x.shape)} with its axes in the order {list(order)}")
    op = Transpose(order)
    if x.array is None:
        return emitter.add(op, x)
    # The emitter's limit on folding is not needed here: the result is not larger than the array.
    (type_,) = op.infer(x.type)
    return Value(type_, array=np.transpose(x.array, order))
