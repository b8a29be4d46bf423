"""The contents of an output port of an archive: an active region, and a border around it.

In ELL a layer stores its result with the border that the next layer needs. Here a `StoredValue`
keeps the border separate from the active region, so that the border can become the attribute
`padding` of a convolution. The border becomes a part of the value only for a node that reads the
memory in another layout or as a vector, or whose attribute cannot express the border.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ellc.frontends.ell.layers import PaddingScheme
from ellc.frontends.ell.layout import MemoryLayout, increments
from ellc.ir.builder import Ref

FLT_MAX = float(np.finfo(np.float32).max)

Fill = float | NDArray[np.float32]
"""The contents of a border: one number, or an array with the shape of the whole buffer. Only the
border of the array is used."""


PATTERNED = (PaddingScheme.ALTERNATING_ZERO_AND_ONES, PaddingScheme.RANDOM_ZERO_AND_ONES)
"""The padding schemes whose border contains different numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredValue:
    """A port's value: `ref` is the active region, `fill` the contents of the border around it.

    The shape of `ref` is `tensor_shape(layout.size)`, with dimensions in physical order.
    """

    ref: Ref
    layout: MemoryLayout
    fill: Fill = 0.0


def tensor_shape(size: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a tensor in the graph for the size of a layout; images get a batch axis of 1."""
    return (1, *size) if len(size) == 3 else size


def border_fill(scheme: PaddingScheme, extent: tuple[int, int, int]) -> Fill:
    """The contents that ELL's interpreter writes into a border of a buffer with this `extent`.

    For the random scheme ELL calls `rand() & 1`, which gives another pattern in every run. Here the
    pattern is fixed: it is bit 31 of the element's index after two rounds of multiply and shift.
    """
    match scheme:
        case PaddingScheme.ZEROS:
            return 0.0
        case PaddingScheme.MINUS_ONES:
            return -1.0
        case PaddingScheme.MIN:
            return -FLT_MAX
        case PaddingScheme.MAX:
            return FLT_MAX
        case PaddingScheme.ALTERNATING_ZERO_AND_ONES:
            rows, columns, channels = extent
            pixels = (np.arange(rows)[:, None] ^ np.arange(columns)) & 1
            repeated = np.repeat(pixels[:, :, None], channels, axis=2)
            return repeated.astype(np.float32)
        case PaddingScheme.RANDOM_ZERO_AND_ONES:
            return _scrambled_bits(extent)


def _scrambled_bits(extent: tuple[int, int, int]) -> NDArray[np.float32]:
    index = np.arange(extent[0] * extent[1] * extent[2], dtype=np.uint64)
    for factor in (0x9E3779B1, 0x85EBCA77):
        index = (index + np.uint64(1)) * np.uint64(factor)
        index ^= index >> np.uint64(15)
    bits = (index >> np.uint64(31)) & np.uint64(1)
    return bits.astype(np.float32).reshape(extent)


def same_memory(left: MemoryLayout, right: MemoryLayout) -> bool:
    """Whether two layouts of one buffer have the same active region.

    Dimensions of extent 1 are ignored, and several dense dimensions count as one.
    """
    return _essential(left) == _essential(right)


def plain_layout(size: tuple[int, ...]) -> MemoryLayout:
    """The layout of this size without padding."""
    return MemoryLayout(size, size, (0,) * len(size), tuple(range(len(size))), increments(size))


def _essential(layout: MemoryLayout) -> list[tuple[int, int, int]]:
    triples = zip(layout.size, layout.extent, layout.offset, strict=True)
    long = [triple for triple in triples if triple[1] != 1]
    # A dimension without padding is joined with the previous one: [4, 4, 2] becomes [16, 2], and
    # then [32].
    joined: list[tuple[int, int, int]] = []
    for size, extent, offset in long:
        if joined and size == extent and offset == 0:
            before = joined[-1]
            joined[-1] = (before[0] * size, before[1] * extent, before[2] * size)
        else:
            joined.append((size, extent, offset))
    return joined
