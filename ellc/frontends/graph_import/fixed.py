"""Inputs that the user replaces by constants (`--set`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ellc.frontends.graph_import.values import Emitter, Value
from ellc.ir.errors import EllcError
from ellc.ir.types import TensorType


def fixed_input(emitter: Emitter, name: str, type: TensorType, numbers: Sequence[float]) -> Value:
    """A constant with the type of an input.

    `numbers` has one number for all elements, or one number for each element. Raises `EllcError`
    E215 for any other count, or for a number that the element type cannot hold.
    """
    if len(numbers) not in (1, type.elements):
        raise EllcError(
            f"the number of elements of the input '{name}' is {type.elements}, but --set gives"
            f" {len(numbers)}",
            code="E215",
            hint="give one number for all elements, or one number for each element",
        )
    given = np.array(numbers, np.float64)
    with np.errstate(all="ignore"):
        stored = given.astype(type.dtype.numpy)
    if not type.dtype.is_float and not np.array_equal(stored.astype(np.float64), given):
        raise EllcError(
            f"the input '{name}' of {type.dtype.value} cannot be {numbers[0]:g}",
            code="E215",
            hint="give numbers that this element type can hold",
        )
    array = emitter.full(type.shape, 0, stored.dtype)
    array[...] = stored if len(numbers) == 1 else stored.reshape(type.shape)
    return emitter.constant(array, type.quant)
