"""Copies between any two layouts of one shape."""

from __future__ import annotations

from dataclasses import replace

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.vectors import fitted_lanes, load_lanes, store_lanes
from ellc.codegen.blocks.views import regrouped
from ellc.codegen.blocks.walking import Walk, merged
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.machine.target import Target

_GATHER_LANES = 8
"""Most elements that are collected one by one into a vector. Modelled cycles of the Cortex-A53
(`tests/benchmarks/constants.py`), a matrix of bytes transposed, 256x196: pi3_64 1: 129,157,
4: 133,733, 8: 99,858, 16: 100,590; pi3 1: 115,912, 4: 138,314, 8: 108,419, 16: 123,945."""


def copy_call(
    name: str, target: Target, source: Access, result: Access, *, threads: int = 1
) -> KernelCall:
    """Copy every element of `source` to the same place of `result`.

    Both have one shape and any strides, also 0 or negative ones for the source. Axes that are
    consecutive in both are walked as one.
    """
    source, x_first = _lowest(source)
    result, y_first = _lowest(result)
    walk = merged(result.shape, source.strides, result.strides)
    steps = regrouped(source.shape, source.strides, walk)
    places = regrouped(result.shape, result.strides, walk)
    assert steps is not None and places is not None
    b = KernelBuilder(name)
    x = b.param("x", source.elem, source.align_bytes)
    y = b.param("y", result.elem, result.align_bytes, writable=True)
    copy = _Copy(b, x, y, walk, steps, places, target, threads, (x_first, y_first))
    extent = copy.write()
    return KernelCall(b.finish(), (access_arg(source), access_arg(result)), extent, "copy")


def _lowest(access: Access) -> tuple[Access, int]:
    """Moved to the element at the lowest address, and how far after it the first one is."""
    down = sum(min(0, (n - 1) * s) for n, s in zip(access.shape, access.strides, strict=True))
    return replace(access, offset=access.offset + down), -down


class _Copy:
    """Writes the loops of a copy.

    Where the result's last axis has gaps in the source and another axis has none there, a few
    elements of that other axis are moved in each turn: they share the source's cache lines.
    """

    def __init__(
        self,
        b: KernelBuilder,
        x: Param,
        y: Param,
        walk: tuple[int, ...],
        steps: tuple[int, ...],
        places: tuple[int, ...],
        target: Target,
        threads: int,
        first: tuple[int, int],
    ) -> None:
        self._b, self._x, self._y, self._first = b, x, y, first
        self._walk, self._steps, self._places = list(walk), list(steps), list(places)
        self._threads = threads
        straight = self._steps[-1] in (0, 1) and self._places[-1] in (0, 1)
        lanes = target.lanes(x.elem.bytes)
        self._lanes = fitted_lanes(lanes if straight else min(lanes, _GATHER_LANES), walk[-1])
        self._beside = 1 if straight else self._pull_inward()
        self._vectors = 4 if straight and walk[-1] >= 4 * self._lanes else 1

    def _pull_inward(self) -> int:
        """Move the axis that is consecutive in the source next to the last; its unroll factor."""
        found = [i for i, s in enumerate(self._steps[:-1]) if s == 1]
        if not found:
            return 1
        for items in (self._walk, self._steps, self._places):
            items.insert(-1, items.pop(found[0]))
        extent = self._walk[-2]
        factor = next(f for f in range(min(extent, 16), 0, -1) if extent % f == 0)
        self._walk[-2] //= factor
        return factor

    def write(self) -> int:
        """Write the copy; returns the extent of its parallel loop."""
        block = self._lanes * self._vectors
        return Walk(tuple(self._walk), block, self._threads).write(self._b, self._move)

    def _move(self, at: list[Operand], length: int, last: bool) -> None:
        b, beside = self._b, self._beside
        if beside > 1:
            at = [*at[:-2], b.mul(at[-2], beside), at[-1]]
        x_index = self._index(at, self._steps, self._first[0])
        y_index = self._index(at, self._places, self._first[1])
        for other in range(beside):
            x_shift = other * self._steps[-2] if beside > 1 else 0
            y_shift = other * self._places[-2] if beside > 1 else 0
            values = []
            for start in range(0, length, self._lanes):
                count = min(self._lanes, length - start)
                shift = x_shift + start * self._steps[-1]
                values.append(
                    load_lanes(b, self._x, x_index, self._lanes, count, self._steps[-1], shift)
                )
            for start, value in zip(range(0, length, self._lanes), values, strict=True):
                count = min(self._lanes, length - start)
                shift = y_shift + start * self._places[-1]
                store_lanes(b, value, self._y, y_index, count, self._places[-1], shift)

    def _index(self, at: list[Operand], strides: list[int], first: int) -> Operand:
        index: Operand = Imm(first)
        for where, stride in zip(at, strides, strict=True):
            index = self._b.add(index, self._b.mul(where, stride))
        return index


def copy_step(node: PlacedNode, source: Access, result: Access) -> KernelCall:
    """A copy as part of a node."""
    return copy_call(f"{node.name}_copy", node.target, source, result, threads=node.threads)
