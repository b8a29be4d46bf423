"""Functions that operator families share: operand checks, windows, `Op.reads`, sample arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ellc.ir.arrangement import Permutation
from ellc.ir.op import Arranged, Op, Types, require
from ellc.ir.reads import Along, Reads, broadcast
from ellc.ir.types import Array, DType, Padding, TensorType


def want_operands(name: str, inputs: Types, least: int, most: int | None = None) -> None:
    """Raise `ShapeError` unless there are `least` to `most` operands (default: exactly `least`)."""
    top = least if most is None else most
    wanted = str(least) if top == least else f"{least} to {top}"
    require(least <= len(inputs) <= top, f"{name}: {len(inputs)} operands, expected {wanted}")


def want_floats(name: str, *types: TensorType) -> DType:
    """Return the float type of all operands; raise `ShapeError` if they have no common one."""
    dtype = want_same(name, *types)
    require(dtype.is_float, f"{name}: works on floats, not on {dtype.value}")
    return dtype


def want_same(name: str, *types: TensorType) -> DType:
    """Return the element type of all operands; raise `ShapeError` if they have no common one."""
    dtypes = list(dict.fromkeys(t.dtype.value for t in types))
    require(len(dtypes) == 1, f"{name}: element types differ: {', '.join(dtypes)}")
    return types[0].dtype


def want_shape(name: str, what: str, type_: TensorType, *shape: int) -> None:
    """Raise `ShapeError` unless an operand has exactly this shape."""
    require(type_.shape == shape, f"{name}: {what} has shape {type_.shape}, expected {shape}")


def want_axes(name: str, axes: Sequence[int], rank: int) -> None:
    """Raise `ShapeError` unless `axes` are different numbers in 0..rank-1."""
    good = all(0 <= a < rank for a in axes) and len(set(axes)) == len(axes)
    require(good, f"{name}: axes {tuple(axes)} do not fit a tensor of rank {rank}")


def window_sizes(
    name: str,
    x: TensorType,
    window: tuple[int, int],
    stride: tuple[int, int],
    padding: Padding,
    dilation: tuple[int, int] = (1, 1),
) -> tuple[int, int]:
    """(rows, columns): the number of positions of a window on a padded NHWC tensor.

    Along each axis it is floor((extent + before + after - reach) / stride) + 1, where reach is the
    number of elements that the dilated window spans. Raises `ShapeError` if there is no position or
    an attribute is out of range.
    """
    require(x.rank == 4, f"{name}: x has rank {x.rank}, expected an NHWC tensor")
    good = min(*window, *stride, *dilation) >= 1
    require(good, f"{name}: window, stride and dilation must be at least 1")
    require(min(padding.amounts) >= 0, f"{name}: negative padding {padding.amounts}")
    channels = x.shape[3]
    count = len(padding.values)
    require(count in (1, channels), f"{name}: {count} padding values for {channels} channels")
    extents = (
        x.shape[1] + padding.top + padding.bottom,
        x.shape[2] + padding.left + padding.right,
    )
    reach = [d * (w - 1) + 1 for w, d in zip(window, dilation, strict=True)]
    require(
        max(extents) < 2**31, f"{name}: a padded input of {extents[0]}x{extents[1]} is too large"
    )
    require(
        extents[0] >= reach[0] and extents[1] >= reach[1],
        f"{name}: a window of {reach[0]}x{reach[1]} does not fit into a padded input of "
        f"{extents[0]}x{extents[1]}",
    )
    rows, columns = ((e - r) // s + 1 for e, r, s in zip(extents, reach, stride, strict=True))
    return rows, columns


def padded_elements(x: TensorType, padding: Padding) -> int:
    """The number of elements of the result of `pad_image`."""
    n, h, w, c = x.shape
    return n * (h + padding.top + padding.bottom) * (w + padding.left + padding.right) * c


def pad_image(x: Array, padding: Padding) -> Array:
    """An NHWC array with padding around it, whose values are those of `padding_values`."""
    n, h, w, c = x.shape
    shape = (n, h + padding.top + padding.bottom, w + padding.left + padding.right, c)
    out = np.empty(shape, x.dtype)
    out[...] = padding_values(padding, x.dtype)
    out[:, padding.top : padding.top + h, padding.left : padding.left + w] = x
    return out


def padding_values(padding: Padding, dtype: np.dtype[Any]) -> Array:
    """The padding values, one or one per channel, as `dtype`; integers are rounded, saturated."""
    values = np.array(padding.values, np.float64)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        values = np.clip(np.rint(values), info.min, info.max)
    return values.astype(dtype)


def window_taps(
    x: Array,
    window: tuple[int, int],
    stride: tuple[int, int],
    sizes: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> Iterator[tuple[int, int, Array]]:
    """For every tap of a window: (row, column, the pixels of a padded array that it reads).

    The pixels have the shape [N, rows, columns, C] with `sizes` = (rows, columns).
    """
    for row in range(window[0]):
        for column in range(window[1]):
            top, left = row * dilation[0], column * dilation[1]
            bottom = top + (sizes[0] - 1) * stride[0] + 1
            right = left + (sizes[1] - 1) * stride[1] + 1
            yield row, column, x[:, top : bottom : stride[0], left : right : stride[1]]


def normal(rng: np.random.Generator, *shape: int) -> Array:
    """Standard normal float32 samples."""
    return rng.standard_normal(shape).astype(np.float32)


def weights(rng: np.random.Generator, *shape: int) -> Array:
    """Weights [outputs, ...inputs], such that layers keep the variance of normal operands."""
    fan_in = max(1, int(np.prod(shape[1:])))
    scaled: Array = rng.standard_normal(shape) / np.sqrt(fan_in)
    return scaled.astype(np.float32)


def dyadic(rng: np.random.Generator, *shape: int, span: int = 8) -> Array:
    """Multiples of 1/4 in -span/4..span/4, whose products and short sums are exact in float32."""
    quarters: Array = rng.integers(-span, span + 1, shape) / 4
    return quarters.astype(np.float32)


def along_last(op: Op, operands: Types, p: Permutation) -> Arranged | None:
    """`Op.arranged` of operators along the last axis: all other axes may be permuted."""
    if p[-1] != len(p) - 1:
        return None
    return Arranged(op, (p, *[None] * (len(operands) - 1)), (p,))


def taps(weights: TensorType) -> tuple[int, int]:
    """The window (kh, kw) of a convolution with weights [F,kh,kw,..]."""
    return weights.shape[1], weights.shape[2]


def channel_reads(operands: Types, groups: int) -> Along | None:
    """The channels that a filter reads: one in a depthwise convolution, else all (None).

    All are also the answer for other groups, and for a depthwise convolution with several filters
    per channel: `Op.reads` may name more than is read.
    """
    x, w, *_ = operands
    return Along(3) if groups == x.shape[3] == w.shape[0] else None


def parameter_reads(parameters: Types, axis: int) -> tuple[Reads, ...]:
    """`Op.reads` for weights [outputs, ...] and vectors [outputs].

    The outputs are along `axis` of the result.
    """
    return tuple((Along(axis), *[None] * (t.rank - 1)) for t in parameters)


def matrix_reads(
    operands: Types, result: tuple[int, ...], transpose_a: bool, transpose_b: bool
) -> tuple[Reads, ...]:
    """`Op.reads` of a matrix product: rows of the first matrix, columns of the second."""
    rows, columns = Along(len(result) - 2), Along(len(result) - 1)
    first = (None, rows) if transpose_a else (rows, None)
    second = (columns, None) if transpose_b else (None, columns)
    batches = [broadcast(t.shape[:-2], result[:-2]) for t in operands]
    return (*batches[0], *first), (*batches[1], *second)
