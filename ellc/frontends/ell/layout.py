"""Memory layouts, which describe how a tensor is stored in the buffer of a port."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ellc.frontends.ell.values import ArchiveObject
from ellc.frontends.ell.view import View

_MAX_RANK = 8


@dataclass(frozen=True, slots=True)
class MemoryLayout:
    """An active region inside a larger buffer. The names of the fields are those in ELL.

    Every tuple has one number for each dimension, in physical order: the slowest dimension is
    first. `size` is the shape of the active region. `extent` is the shape of the buffer. `offset`
    is the position in the buffer at which the active region begins. `order[p]` is the logical
    dimension (row, column, channel) that physical dimension p represents. `increment` is the
    distance in elements from one index to the next.
    """

    size: tuple[int, ...]
    extent: tuple[int, ...]
    offset: tuple[int, ...]
    order: tuple[int, ...]
    increment: tuple[int, ...]

    @staticmethod
    def of(shape: tuple[int, ...], padding: tuple[int, ...] | None = None) -> MemoryLayout:
        """The contiguous layout of a shape, with `padding[d]` elements on both sides of axis d."""
        amounts = padding or (0,) * len(shape)
        extent = tuple(size + 2 * pad for size, pad in zip(shape, amounts, strict=True))
        return MemoryLayout(shape, extent, amounts, tuple(range(len(shape))), increments(extent))

    @property
    def elements(self) -> int:
        """The number of elements of the buffer."""
        return _product(self.extent)

    @property
    def active_elements(self) -> int:
        """The number of elements of the active region."""
        return _product(self.size)

    @property
    def has_padding(self) -> bool:
        """Whether the buffer is larger than the active region."""
        return self.size != self.extent

    @property
    def is_contiguous(self) -> bool:
        """Whether the increments are those of a dense buffer."""
        return self.increment == increments(self.extent)

    @property
    def logical_size(self) -> tuple[int, ...]:
        """The active shape in logical order (row, column, channel)."""
        logical = [0] * len(self.size)
        for position, dimension in enumerate(self.order):
            logical[dimension] = self.size[position]
        return tuple(logical)

    @property
    def after(self) -> tuple[int, ...]:
        """The number of elements after the active region in each dimension of the buffer."""
        return tuple(
            extent - size - offset
            for size, extent, offset in zip(self.size, self.extent, self.offset, strict=True)
        )


def increments(extent: tuple[int, ...]) -> tuple[int, ...]:
    """The increments of a dense buffer of this shape."""
    steps = [1] * len(extent)
    for dimension in range(len(extent) - 2, -1, -1):
        steps[dimension] = steps[dimension + 1] * extent[dimension + 1]
    return tuple(steps)


def read_layout(view: View) -> MemoryLayout:
    """Read a `MemoryLayout`, or a `PortMemoryLayout`, which older files have instead.

    In the latter, the field for `extent` is called `stride`. Problems are added to those of the
    view.
    """
    size = view.integers("size")
    rank = len(size)
    if rank > _MAX_RANK:
        view.bad("size", f"the number of its dimensions is {rank}")
        size, rank = size[:_MAX_RANK], _MAX_RANK
    extent_key = "extent" if "extent" in view or "stride" not in view else "stride"
    extent = view.integers(extent_key, length=rank) if extent_key in view else size
    offset = view.integers("offset", length=rank) if "offset" in view else (0,) * rank
    order = view.integers("order", length=rank) if "order" in view else tuple(range(rank))
    steps = view.integers("increment", length=rank) if "increment" in view else increments(extent)
    if not view.sound:
        return MemoryLayout.of(size)
    if any(s + o > e for s, o, e in zip(size, offset, extent, strict=True)):
        view.bad("", f"size {list(size)} + offset {list(offset)} exceeds extent {list(extent)}")
    if sorted(order) != list(range(rank)):
        view.bad("order", f"{list(order)} is not an order of {rank} dimensions")
    if _product(extent) > view.limits.tensor_elements:
        view.bad("", f"a buffer of more than {view.limits.tensor_elements} elements")
    return MemoryLayout(size, extent, offset, order, steps)


def layout_object(layout: MemoryLayout) -> ArchiveObject:
    """The archive object of a layout."""
    named = (
        ("size", layout.size),
        ("extent", layout.extent),
        ("offset", layout.offset),
        ("order", layout.order),
        ("increment", layout.increment),
    )
    return ArchiveObject(
        "MemoryLayout", "0", tuple((key, np.array(value, np.int64)) for key, value in named)
    )


def _product(sizes: tuple[int, ...]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total
