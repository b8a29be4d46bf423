"""Arrays of a caller as inputs of a network: what is taken, and what is an error, not a guess."""

from __future__ import annotations

import numpy as np

from ellc.ir.errors import EllcError
from ellc.ir.types import Array, DType, TensorType


def taken_shapes(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Shapes of arrays that an input takes: its own, that without a batch of one, and flat.

    >>> taken_shapes((1, 2, 3))
    ((1, 2, 3), (2, 3), (6,))
    """
    without_batch = (shape[1:],) if shape[:1] == (1,) else ()
    return tuple(dict.fromkeys((shape, *without_batch, (int(np.prod(shape)),))))


def as_input(array: Array, type: TensorType, where: str = "") -> Array:
    """An array of numbers as a tensor of exactly this type, elements in the order they have.

    For an input of floats every number is rounded to its precision. For one of integers or truth
    values the values must be such numbers and in range; of signs, positive ones stand for +1.
    Raises `EllcError` E721 for another shape (never one with as many elements by chance) and E722
    for values that the type cannot hold; `where` is what the error names.
    """
    if array.shape not in taken_shapes(type.shape):
        taken = " or ".join(map(str, taken_shapes(type.shape)))
        raise EllcError(
            f"an array of shape {array.shape}, the network takes {taken}", code="E721", where=where
        )
    shaped = np.asarray(array).reshape(type.shape)
    if type.dtype is DType.BIT:
        return np.asarray(shaped > 0)
    with np.errstate(invalid="ignore", over="ignore"):
        converted: Array = shaped.astype(type.dtype.numpy)
    if not type.dtype.is_float and not np.array_equal(converted, shaped):
        raise EllcError(
            f"the values do not fit the network's input type {type.dtype.value}",
            code="E722",
            where=where,
        )
    return converted
