"""Convert a caller's arrays to inputs of a network; doubtful shapes and values are errors."""

from __future__ import annotations

import numpy as np

from ellc.ir.errors import EllcError
from ellc.ir.types import Array, DType, TensorType


def accepted_shapes(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Shapes of arrays that an input accepts: its own, that without a batch of one, and flat.

    >>> accepted_shapes((1, 2, 3))
    ((1, 2, 3), (2, 3), (6,))
    """
    without_batch = (shape[1:],) if shape[:1] == (1,) else ()
    return tuple(dict.fromkeys((shape, *without_batch, (int(np.prod(shape)),))))


def as_input(array: Array, type: TensorType, where: str = "") -> Array:
    """An array of numbers as a tensor of exactly this type; the order of elements stays.

    For a float input, numbers are rounded to its precision. For an integer or boolean input, they
    must be such numbers and in range. For an input of bits, positive numbers become +1.

    Raises `EllcError`: E721 for any shape but the `accepted_shapes`, even with the same number of
    elements; E722 for values that the type cannot hold. `where` names the array in the error.
    """
    if array.shape not in accepted_shapes(type.shape):
        accepted = " or ".join(map(str, accepted_shapes(type.shape)))
        raise EllcError(
            f"an array of shape {array.shape}, the network takes {accepted}",
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
