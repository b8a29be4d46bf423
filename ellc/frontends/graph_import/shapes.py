"""Reshape and transpose, left out if they would change nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.ir.ops.shape import Reshape, Transpose


def reshaped(emitter: Emitter, x: Value, shape: Sequence[int]) -> Value:
    """The value in another shape with as many elements; nothing is added for the same shape."""
    return x if x.shape == tuple(shape) else emitter.add(Reshape(tuple(shape)), x)


def transposed(emitter: Emitter, x: Value, permutation: Sequence[int]) -> Value:
    """The value with its axes in another order; a known array is transposed at import."""
    order = tuple(permutation)
    if order == tuple(range(x.type.rank)):
        return x
    if sorted(order) != list(range(x.type.rank)):
        raise Unsupported(f"{list(x.shape)} with its axes in the order {list(order)}")
    op = Transpose(order)
    if x.array is None:
        return emitter.add(op, x)
    # Without the emitter's limit on folding: weights are as large as the file, never larger.
    (type_,) = op.infer(x.type)
    return Value(type_, array=np.transpose(x.array, order))
