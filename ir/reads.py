"""What an operator reads for a part of its result: rows, columns, or a stretch of any axis.

`Op.reads` says it axis by axis. Executing layers depth first asks which rows of an operand some
rows of a result need; making a network stepwise asks along which axes single elements stay apart.
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
    """What is read along an axis of an operand, counted along an axis of the result.

    Element i of the result's `axis` reads `extent` elements from i * stride + offset on. Those
    that are outside the operand are none: they are padding.
    """

    axis: int
    stride: int = 1
    offset: int = 0
    extent: int = 1

    @property
    def is_single(self) -> bool:
        """Whether each element of the result reads the one at the same place."""
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
        """What the operator that slides it reads of the image."""
        corner = (self.padding.top, self.padding.left)
        sides = (
            Along(1 + side, self.stride[side], -corner[side], self.reach[side]) for side in (0, 1)
        )
        return (Along(0), *sides, channels)

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns from its first cell to its last, both included."""
        rows, columns = ((n - 1) * d + 1 for n, d in zip(self.size, self.dilation, strict=True))
        return rows, columns


def whole(*shapes: Shape) -> tuple[Reads, ...]:
    """All of the operands, for any part of the result."""
    return tuple((None,) * len(shape) for shape in shapes)


def broadcast(operand: Shape, result: Shape) -> Reads:
    """The same elements, as in numpy's broadcasting to the result's shape."""
    missing = len(result) - len(operand)
    return tuple(
        Along(missing + axis) if extent == result[missing + axis] else None
        for axis, extent in enumerate(operand)
    )


def apart_from(axes: Sequence[int], rank: int, kept: bool = True) -> Reads:
    """All along some axes, single elements along the others; `kept`: the result has all axes."""
    places = [a for a in range(rank) if kept or a not in axes]
    return tuple(None if a in axes else Along(places.index(a)) for a in range(rank))


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
    """A result that has the elements of the first operand in their order, under another shape."""


@dataclass(frozen=True, slots=True)
class PartOf:
    """A result that is the part of the first operand that begins at `starts`."""

    starts: tuple[int, ...]


View = SameElements | PartOf
"""How a result can lie in its operand's buffer."""
