"""Helpers that several passes share: shapes of constants, limits of floats, images."""

from __future__ import annotations

import numpy as np

from ellc.ir.types import Array, DType, TensorType

# Some floating-point units flush denormal numbers to zero, so constants must be well above the
# smallest normal number, 1.2e-38. In the same manner, they must be well below the largest, 3.4e38.
SMALLEST = 1e-30
LARGEST = 1e30


def trailing(array: Array) -> Array:
    """The array without leading axes of extent 1; at least one axis stays."""
    shape = array.shape
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return array.reshape(shape)


def per_channel(array: Array, channels: int) -> Array | None:
    """The array as a vector [channels] if it varies along the last axis only, else None."""
    flat = trailing(array)
    if flat.ndim > 1 or flat.size not in (1, channels):
        return None
    return np.broadcast_to(flat, (channels,))


def fits_float(exact: Array, dtype: DType) -> bool:
    """Whether the numbers can be rounded to `dtype`: all are finite, and the largest is in range.

    For float32, the range is from `SMALLEST` to `LARGEST`, or 0.
    """
    if dtype is not DType.F32:
        return bool(np.all(np.isfinite(exact)))
    size = np.abs(exact)
    largest = float(np.max(size, initial=0.0))
    return bool(np.all(np.isfinite(exact))) and (largest == 0 or SMALLEST < largest < LARGEST)


def is_image(type_: TensorType) -> bool:
    """Whether a tensor is a single NHWC image of floats; other tensors get no border."""
    return type_.rank == 4 and type_.shape[0] == 1 and type_.dtype.is_float
