"""Kernels that copy a tensor from any layout to any other."""

from __future__ import annotations

from dataclasses import replace

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.folding import index_of
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.vectors import fitted_lanes, load_lanes, store_lanes
from ellc.codegen.blocks.views import regrouped
from ellc.codegen.blocks.walking import ElementWalk, merged
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand, Param
from ellc.codegen.machine.target import Target

_VECTORS = 4
"""Vectors in a block of a copy. A block has only one vector if the row is shorter than a block, or
if the copy gathers or scatters elements. Thousand modelled cycles on pi3_64 by
`tests/benchmarks/constants.py`, for a border of 14x14 pixels: 1: 22.7, 2: 21.5, 4: 15.0, 8: 13.5;
but with 8, rows of fewer than 32 floats would be copied vector by vector."""
_UNROLLED = 16
"""The most rows in a block of a transposition. Thousand modelled cycles by the same script, floats,
128x128: pi3_64 1: 195, 4: 77, 8: 58, 16: 47, 32: 49; pi3 1: 129, 4: 55, 8: 45, 16: 36, 32: 35."""
_GATHER_LANES = 8
"""The most elements, not adjacent, that are gathered into one vector. Modelled cycles of the
Cortex-A53 (`tests/benchmarks/constants.py`) for transposing a 256x196 matrix of bytes:
pi3_64 1: 129,157, 4: 133,733, 8: 99,858, 16: 100,590; pi3 1: 115,912, 4: 138,314, 8: 108,419,
16: 123,945."""


def copy_call(
    name: str, target: Target, source: Access, result: Access, *, threads: int = 1
) -> KernelCall:
    """The call that copies every element of `source` to the same coordinates of `result`.

    Both must have the same shape. Strides may be negative; those of the source may also be 0.
    """
    source, x_first = _lowest(source)
    result, y_first = _lowest(result)
    walk = merged(result.shape, source.strides, result.strides)
    x_strides = regrouped(source.shape, source.strides, walk)
    y_strides = regrouped(result.shape, result.strides, walk)
    assert x_strides is not None and y_strides is not None
    b = KernelBuilder(name)
    x = b.param("x", source.elem, source.align_bytes)
    y = b.param("y", result.elem, result.align_bytes, writable=True)
    copy = _CopyLoops(b, x, y, walk, x_strides, y_strides, target, threads, (x_first, y_first))
    extent = copy.write()
    return KernelCall(b.finish(), (access_arg(source), access_arg(result)), extent, "copy")


def _lowest(access: Access) -> tuple[Access, int]:
    """(the access, moved to start at its lowest address; the first element's index from there).

    With this start, an index into a kernel parameter is never negative.
    """
    down = sum(min(0, (n - 1) * s) for n, s in zip(access.shape, access.strides, strict=True))
    return replace(access, offset=access.offset + down), -down


class _CopyLoops:
    """Writes the loops of a copy.

    If the source is not consecutive along the result's last axis but along another axis, each trip
    copies a few elements along both axes, because elements along the other axis share cache lines
    of the source.
    """

    def __init__(
        self,
        b: KernelBuilder,
        x: Param,
        y: Param,
        walk: tuple[int, ...],
        x_strides: tuple[int, ...],
        y_strides: tuple[int, ...],
        target: Target,
        threads: int,
        first: tuple[int, int],
    ) -> None:
        self._b, self._x, self._y, self._first = b, x, y, first
        self._walk = list(walk)
        self._x_strides, self._y_strides = list(x_strides), list(y_strides)
        self._threads = threads
        straight = self._x_strides[-1] in (0, 1) and self._y_strides[-1] in (0, 1)
        lanes = target.lanes(x.elem.bytes)
        self._lanes = fitted_lanes(lanes if straight else min(lanes, _GATHER_LANES), walk[-1])
        self._unroll = 1 if straight else self._pull_inward()
        self._vectors = _VECTORS if straight and walk[-1] >= _VECTORS * self._lanes else 1

    def _pull_inward(self) -> int:
        """Make the axis that is consecutive in the source the second to last axis.

        Returns the factor by which this axis is unrolled, or 1 if there is no such axis. The extent
        of the axis is divided by the factor.
        """
        consecutive = [i for i, s in enumerate(self._x_strides[:-1]) if s == 1]
        if not consecutive:
            return 1
        for items in (self._walk, self._x_strides, self._y_strides):
            items.insert(-1, items.pop(consecutive[0]))
        extent = self._walk[-2]
        factor = next(f for f in range(min(extent, _UNROLLED), 0, -1) if extent % f == 0)
        self._walk[-2] //= factor
        return factor

    def write(self) -> int:
        """Write the copy. Returns the extent of the parallel loop."""
        block = self._lanes * self._vectors
        return ElementWalk(tuple(self._walk), block, self._threads).write(self._b, self._copy_block)

    def _copy_block(self, at: list[Operand], length: int, last: bool) -> None:
        b, unroll = self._b, self._unroll
        x_stride, y_stride = self._x_strides[-1], self._y_strides[-1]
        if unroll > 1:
            at = [*at[:-2], b.mul(at[-2], unroll), at[-1]]
        x_index = index_of(b, self._first[0], at, self._x_strides)
        y_index = index_of(b, self._first[1], at, self._y_strides)
        for other in range(unroll):
            x_shift = other * self._x_strides[-2] if unroll > 1 else 0
            y_shift = other * self._y_strides[-2] if unroll > 1 else 0
            values = []
            for start in range(0, length, self._lanes):
                count = min(self._lanes, length - start)
                shift = x_shift + start * x_stride
                values.append(load_lanes(b, self._x, x_index, self._lanes, count, x_stride, shift))
            for start, value in zip(range(0, length, self._lanes), values, strict=True):
                count = min(self._lanes, length - start)
                shift = y_shift + start * y_stride
                store_lanes(b, value, self._y, y_index, count, y_stride, shift)


def copy_step(node: PlacedNode, source: Access, result: Access) -> KernelCall:
    """The call of a copy that is part of a node."""
    return copy_call(f"{node.name}_copy", node.target, source, result, threads=node.threads)
