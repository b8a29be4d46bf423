"""What an operator reads for a part of its result: rows, columns, or a range along any axis.

`Op.reads` describes it axis by axis. Depth-first execution asks which rows of an operand some
rows of a result need. The stepwise form of a network asks along which axes every element of a
result depends on a single element of the operand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ellc.ir.types import Padding

Shape = tuple[int, ...]
Box = tuple[tuple[int, int], ...]
"""A part of a tensor: (start, stop) along every axis."""


@dataclass(frozen=True, slots=True)
class Along:
    """What is read along one axis of an operand for each index along an axis of the result.

    Index i along the result's `axis` reads `extent` elements, the first at i * stride + offset.
    Elements outside the operand are padding: nothing is read for them.
    """

    axis: int
    stride: int = 1
    offset: int = 0
    extent: int = 1

    @property
    def is_single(self) -> bool:
        """Whether index i of the result reads only index i of the operand."""
        return (self.stride, self.offset, self.extent) == (1, 0, 1)


Reads = tuple[Along | None, ...]
"""What is read along every axis of an operand; None stands for all of it."""


@dataclass(frozen=True, slots=True)
class Window:
    """A window that slides over rows and columns of an image [N,H,W,C]."""

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding = Padding()
    dilation: tuple[int, int] = (1, 1)

    def reads(self, channels: Along | None) -> Reads:
        """What an operator that slides this window reads of the image."""
        corner = (self.padding.top, self.padding.left)
        sides = (
            Along(1 + side, self.stride[side], -corner[side], self.reach[side]) for side in (0, 1)
        )
        return (Along(0), *sides, channels)

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns from the window's first element to its last, both included."""
        rows, columns = ((n - 1) * d + 1 for n, d in zip(self.size, self.dilation, strict=True))
        return rows, columns


def whole(*shapes: Shape) -> tuple[Reads, ...]:
    """All of the operands, for any part of the result."""
    return tuple((None,) * len(shape) for shape in shapes)


def broadcast(operand: Shape, result: Shape) -> Reads:
    """The element at the same position, with numpy's broadcasting to the result's shape."""
    missing = len(result) - len(operand)
    return tuple(
        Along(missing + axis) if extent == result[missing + axis] else None
        for axis, extent in enumerate(operand)
    )


def apart_from(axes: Sequence[int], rank: int, kept: bool = True) -> Reads:
    """All elements along `axes`, single elements along the others.

    `kept` says whether the result still has `axes`.
    """
    result_axes = [a for a in range(rank) if kept or a not in axes]
    return tuple(None if a in axes else Along(result_axes.index(a)) for a in range(rank))


def part(reads: Reads, operand: Shape, wanted: Box) -> Box:
    """The part of an operand that a part of the result reads; `wanted` is not empty."""
    return tuple(
        (0, extent) if along is None else _stretch(along, extent, *wanted[along.axis])
        for along, extent in zip(reads, operand, strict=True)
    )


def _stretch(along: Along, extent: int, start: int, stop: int) -> tuple[int, int]:
    ends = [i * along.stride + along.offset for i in (start, stop - 1)]
    low, high = max(0, min(ends)), min(extent, max(ends) + along.extent)
    return min(low, extent), max(low, high)


@dataclass(frozen=True, slots=True)
class SameElements:
    """A result with the elements of the first operand in the same order, in another shape."""


@dataclass(frozen=True, slots=True)
class PartOf:
    """A result that is a part of the first operand, beginning at index `starts`."""

    starts: tuple[int, ...]


View = SameElements | PartOf
"""How a result can use its operand's buffer without a copy."""
