"""The same elements in another shape or order of axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ellc.frontends.graph_import.values import Emitter, Unsupported, Value
from ellc.ir.ops.shape import Reshape, Transpose


def reshaped(emitter: Emitter, x: Value, shape: Sequence[int]) -> Value:
    """The value in another shape of as many elements; nothing is added where it is the same."""
    return x if x.shape == tuple(shape) else emitter.add(Reshape(tuple(shape)), x)


def transposed(emitter: Emitter, x: Value, permutation: Sequence[int]) -> Value:
    """The value with its axes in another order; a known one is turned at once."""
    order = tuple(permutation)
    if order == tuple(range(x.type.rank)):
        return x
    if sorted(order) != list(range(x.type.rank)):
        raise Unsupported(f"{list(x.shape)} with its axes in the order {list(order)}")
    op = Transpose(order)
    if x.array is None:
        return emitter.add(op, x)
    # In proportion to the file, however large it is: weights are turned here.
    (type_,) = op.infer(x.type)
    return Value(type_, array=np.transpose(x.array, order))
