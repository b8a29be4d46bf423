"""Loops over every element of a tensor: over outer axes, then over blocks along the last axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod

from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand

Body = Callable[[list[Operand], int, bool], None]


@dataclass(frozen=True, slots=True)
class ElementWalk:
    """Loops over the axes of `extents`. Along the last axis they advance by `block` elements.

    The parallel loop runs over as many leading axes as are needed to give every thread several
    trips; if there is only one row, it runs over the blocks of this row. With `split_last` the last
    block of a row always has its own code, so that its body may differ.
    """

    extents: tuple[int, ...]
    block: int
    threads: int = 1
    split_last: bool = False

    def write(self, b: KernelBuilder, body: Body) -> int:
        """Write the loops. Returns the extent of the parallel loop.

        `body(at, length, last)` writes `length` elements, at most `block`, from the coordinates
        `at` on. `last` says that the call writes code that only the last elements of a row run.
        There is such code if these elements are fewer than `block`, or with `split_last`.
        """
        if prod(self.extents) == 0:
            return 0
        full_blocks, rest = self._cut()
        if prod(self.extents[:-1]) == 1:
            return self._one_row(b, body, full_blocks, rest)
        count = self._parallel_axes()
        with b.loop("part", b.begin, b.end) as part, ExitStack() as stack:
            at = unraveled(b, part.index, self.extents[:count])
            for number, extent in enumerate(self.extents[count:-1]):
                loop = stack.enter_context(b.loop(f"axis{number}", 0, extent))
                at.append(loop.index)
            stop = full_blocks * self.block
            with b.loop("element", 0, stop, self.block) as element:
                body([*at, element.index], self.block, False)
            if rest:
                body([*at, Imm(stop)], rest, True)
        return prod(self.extents[:count])

    def _cut(self) -> tuple[int, int]:
        """(number of whole blocks, number of elements after them) in a row."""
        full_blocks, rest = divmod(self.extents[-1], self.block)
        if rest == 0 and self.split_last:
            return full_blocks - 1, self.block
        return full_blocks, rest

    def _one_row(self, b: KernelBuilder, body: Body, full_blocks: int, rest: int) -> int:
        zeros: list[Operand] = [Imm(0)] * (len(self.extents) - 1)
        if full_blocks:
            stop = b.min(b.end, full_blocks) if rest else b.end
            with b.loop("block", b.begin, stop) as block:
                body([*zeros, b.mul(block.index, self.block)], self.block, False)
        if rest:
            start = b.max(b.begin, full_blocks) if full_blocks else b.begin
            with b.loop("rest", start, b.end):
                body([*zeros, Imm(full_blocks * self.block)], rest, True)
        return full_blocks + (1 if rest else 0)

    def _parallel_axes(self) -> int:
        """How many leading axes the parallel loop covers.

        With one thread, it covers the first axis. With several, it covers the fewest axes that give
        every thread four trips or more, or else all axes but the last.
        """
        wanted = 4 * self.threads if self.threads > 1 else 1
        for count in range(1, len(self.extents)):
            if prod(self.extents[:count]) >= wanted:
                return count
        return len(self.extents) - 1


def unraveled(b: KernelBuilder, index: Operand, extents: Sequence[int]) -> list[Operand]:
    """The coordinates, along axes of these extents, of a row-major index."""
    at: list[Operand] = []
    for extent in reversed(extents[1:]):
        at.append(b.rem(index, extent))
        index = b.div(index, extent)
    if len(extents):
        at.append(index)
    return at[::-1]


def merged(
    shape: Sequence[int], *strides: Sequence[int], keep_last: bool = False
) -> tuple[int, ...]:
    """The shape, with neighbouring axes merged wherever all of `strides` allow it.

    Axes of extent 1 are dropped, but at least one axis remains. With `keep_last` the last axis
    stays unchanged.
    """
    axes: list[tuple[int, tuple[int, ...]]] = []
    for axis, extent in enumerate(shape):
        steps = tuple(s[axis] for s in strides)
        is_kept = axis == len(shape) - 1 and keep_last
        if extent == 1 and not is_kept:
            continue
        fits = axes and all(a == extent * s for a, s in zip(axes[-1][1], steps, strict=True))
        if fits and not is_kept:
            outer, _ = axes.pop()
            axes.append((outer * extent, steps))
        else:
            axes.append((extent, steps))
    return tuple(extent for extent, _ in axes) or (1,)
