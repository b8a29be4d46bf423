"""Constants in the form in which kernels read them, each with a key that identifies its content."""

from __future__ import annotations

import numpy as np

from ellc.codegen.blocks.access import Access, Weight, bit_bytes, dense
from ellc.codegen.blocks.calls import WeightArg
from ellc.codegen.kir.types import Elem
from ellc.ir.types import Array, DType
from ellc.ir.weights import content_key


def constant(array: Array) -> WeightArg:
    """A pointer to a small constant array, which is stored unchanged."""
    return WeightArg(_weight(array))


def constant_access(array: Array, dtype: DType) -> Access:
    """The access to a constant that is stored as `stored_array`: dense and aligned."""
    data = stored_array(array, dtype)
    return Access(_weight(data), Elem.of(dtype), data.shape, dense(data.shape))


def stored_array(array: Array, dtype: DType) -> Array:
    """A constant as it is stored: the bits of each pixel packed, booleans as bytes 0 and 1."""
    if dtype is DType.BIT:
        packed = np.packbits(array, axis=-1, bitorder="little")
        width = bit_bytes(array.shape[-1]) - packed.shape[-1]
        return np.pad(packed, [(0, 0)] * (packed.ndim - 1) + [(0, width)])
    return array.astype(np.uint8) if dtype is DType.BOOL else array


def _weight(array: Array) -> Weight:
    data = np.asarray(array, order="C")
    return Weight(content_key(data), data.nbytes, lambda: data)
