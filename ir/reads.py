"""Which part of its operands an operator reads to compute a part of its result.

`Op.reads` describes this part axis by axis. Depth-first execution uses that to find the rows of an
operand that some rows of a result need. `ellc.ir.stepwise` uses it to find the axes along which
every element of a result depends on a single element of the operand.
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
    """The elements along one axis of an operand that an index along an axis of the result needs.

    Index i along the result's `axis` needs `extent` elements from i * stride + offset on. Elements
    outside the operand are padding, which is not read.
    """

    axis: int
    stride: int = 1
    offset: int = 0
    extent: int = 1

    @property
    def is_single(self) -> bool:
        """Whether index i of the result needs only index i of the operand."""
        return (self.stride, self.offset, self.extent) == (1, 0, 1)


Reads = tuple[Along | None, ...]
"""The elements that are read along every axis of an operand; None stands for all of an axis."""


@dataclass(frozen=True, slots=True)
class Window:
    """A window that slides over rows and columns of an image [N,H,W,C]."""

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding = Padding()
    dilation: tuple[int, int] = (1, 1)

    def reads(self, channels: Along | None) -> Reads:
        """The reads of an image by an operator that slides this window over it."""
        corner = (self.padding.top, self.padding.left)
        sides = (
            Along(1 + side, self.stride[side], -corner[side], self.reach[side]) for side in (0, 1)
        )
        return (Along(0), *sides, channels)

    @property
    def reach(self) -> tuple[int, int]:
        """(rows, columns) that the window spans with its dilation."""
        rows, columns = ((n - 1) * d + 1 for n, d in zip(self.size, self.dilation, strict=True))
        return rows, columns


def whole(*shapes: Shape) -> tuple[Reads, ...]:
    """The reads of an operator that needs all of its operands for any part of its result."""
    return tuple((None,) * len(shape) for shape in shapes)


def broadcast(operand: Shape, result: Shape) -> Reads:
    """The reads of an operand that is broadcast to the result, elementwise, as in numpy."""
    missing = len(result) - len(operand)
    return tuple(
        Along(missing + axis) if extent == result[missing + axis] else None
        for axis, extent in enumerate(operand)
    )


def apart_from(axes: Sequence[int], rank: int, kept: bool = True) -> Reads:
    """The reads of all elements along `axes`, and of single elements along the other axes.

    `kept` says whether the result still has the axes `axes`.
    """
    result_axes = [a for a in range(rank) if kept or a not in axes]
    return tuple(None if a in axes else Along(result_axes.index(a)) for a in range(rank))


def part(reads: Reads, operand: Shape, wanted: Box) -> Box:
    """The part of an operand that is read to compute the non-empty part `wanted` of the result."""
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
    """A result with the elements of the first operand in the same order, but another shape."""


@dataclass(frozen=True, slots=True)
class PartOf:
    """A result that is a part of the first operand, beginning at index `starts`."""

    starts: tuple[int, ...]


View = SameElements | PartOf
"""How a result can be a part of its operand's buffer, so that nothing is copied."""
