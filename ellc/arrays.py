"""Converts a caller's arrays to inputs of a network; ambiguous shapes and values are errors."""

from __future__ import annotations

import numpy as np

from ellc.ir.errors import EllcError
from ellc.ir.types import Array, DType, TensorType


def accepted_shapes(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The shapes of arrays that an input accepts: its own, without a batch axis of 1, and flat.

    >>> accepted_shapes((1, 2, 3))
    ((1, 2, 3), (2, 3), (6,))
    """
    without_batch = (shape[1:],) if shape[:1] == (1,) else ()
    return tuple(dict.fromkeys((shape, *without_batch, (int(np.prod(shape)),))))


def as_input(array: Array, type: TensorType, where: str = "") -> Array:
    """Convert an array of numbers to a tensor of exactly this type; the elements keep their order.

    A float type rounds the numbers to its precision. An integer or boolean type accepts only
    numbers that it holds exactly. A bit type turns positive numbers into +1 and others into -1.
    Raises `EllcError`: E721 if the shape is not one of `accepted_shapes`, even if the number of
    elements is right; E722 for values that the type cannot hold. `where` is the name of the array
    in the error.
    """
    if array.shape not in accepted_shapes(type.shape):
        accepted = " or ".join(map(str, accepted_shapes(type.shape)))
        raise EllcError(
            f"the array has shape {array.shape}, but the network takes {accepted}",
            code="E721",
            where=where,
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
