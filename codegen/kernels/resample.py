"""Resampling along an axis: weighted sums of elements that a table of indices selects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.folding import index_of
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.vectors import fitted_lanes, load_lanes, vector_lanes
from ellc.codegen.blocks.views import regrouped
from ellc.codegen.blocks.walking import ElementWalk, merged
from ellc.codegen.blocks.weights import constant
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import Elem, VType
from ellc.ir.ops.resize import Resample

_UNROLLED_TAPS = 8
"""The most taps that are unrolled; their offsets and weights stay in registers for all inner
elements. Thousands of modelled cycles of the Cortex-A53 (`tests/benchmarks/constants.py`) for other
limits: pi3_64, 3 channels, 56 to 28 (4 taps) 2: 101.9, 4: 77.8; 64 channels, 56 to 112 (2 taps)
1: 6,516, 2: 5,109. For 12 taps (56 to 10), a limit of 16 takes 0.81 times the cycles of this limit
with 3 channels, and 1.01 times with 64."""
_VECTORS = 4
"""How many vectors are interleaved. Thousands of modelled cycles, by the same script, for 64
channels, 56 to 112: pi3_64 1: 7,095, 2: 5,703, 4: 5,081, 8: 6,170; pi3 1: 5,903, 2: 5,756,
4: 5,075, 8: 5,579."""


@lowers(Resample)
def lower_resample(node: PlacedNode) -> list[KernelCall]:
    """A kernel with vectors along the axes after the resampled axis. Their lanes share a weight."""
    op = node.anchor
    assert isinstance(op, Resample)
    indices, weights = (node.constant(i, "tables") for i in (1, 2))
    x = node.inputs[0].access
    axes = _Axes.of(x, node.result.access, node.result.type.shape, op.axis)
    b = KernelBuilder(node.name)
    source = b.param("x", x.elem, x.align_bytes)
    offsets = b.param("places", Elem.I32, 64)
    factors = b.param("factors", x.elem, 64)
    epilogue = Epilogue(node, b, (*axes.outer, axes.size, *axes.inner))
    lanes = fitted_lanes(vector_lanes(node.target, x.elem), axes.inner[-1])
    kernel = _ResampleWriter(b, source, offsets, factors, axes, indices.shape[1], lanes, epilogue)
    extent = ElementWalk((*axes.outer, axes.size), 1, node.threads).write(b, kernel.element)
    inside = np.clip(indices.astype(np.int64), 0, x.shape[op.axis] - 1)
    table = constant((inside * x.strides[op.axis]).astype(np.int32))
    args = (access_arg(x), table, constant(weights), *epilogue.args)
    return [KernelCall(b.finish(), args, extent, f"resample {indices.shape[1]} taps")]


@dataclass(frozen=True, slots=True)
class _Axes:
    """Extents of the result: of the resampled axis (`size`), and of the axes before and after it.

    `outer` and `inner` are merged where strides allow it. `outer_x` and `inner_x` are their strides
    in the operand.
    """

    outer: tuple[int, ...]
    outer_x: tuple[int, ...]
    size: int
    inner: tuple[int, ...]
    inner_x: tuple[int, ...]

    @staticmethod
    def of(x: Access, y: Access, shape: tuple[int, ...], axis: int) -> _Axes:
        def side(part: slice) -> tuple[tuple[int, ...], tuple[int, ...]]:
            extents, strides = shape[part], x.strides[part]
            walk = merged(extents, strides, y.strides[part])
            steps = regrouped(extents, strides, walk)
            assert steps is not None
            return walk, steps

        return _Axes(*side(slice(0, axis)), shape[axis], *side(slice(axis + 1, None)))


@dataclass(frozen=True, slots=True)
class _ResampleWriter:
    """Writes the code for all elements at one index of the resampled axis.

    `offsets` and `factors` are tables [index, tap] of element offsets along the axis and of
    weights.
    """

    b: KernelBuilder
    x: Param
    offsets: Param
    factors: Param
    axes: _Axes
    taps: int
    lanes: int
    epilogue: Epilogue

    def element(self, at: list[Operand], length: int, last: bool) -> None:
        """Write all inner elements at the coordinates `at`: outer axes, then the resampled axis."""
        b, axes = self.b, self.axes
        base = index_of(b, 0, at[:-1], axes.outer_x)
        row = b.mul(at[-1], self.taps)
        if self.taps <= _UNROLLED_TAPS:
            table = [self._tap(base, row, tap) for tap in range(self.taps)]
            self._blocks(at, lambda inner, count: self._sum(table, inner, count))
        else:
            self._blocks(at, lambda inner, count: self._looped(base, row, inner, count))

    def _tap(self, base: Operand, row: Operand, tap: int) -> tuple[Operand, Operand]:
        """(the index of a tap's first element, the tap's weight in every lane)."""
        b = self.b
        start = b.add(base, b.convert(b.load(self.offsets, row, offset=tap), Elem.INDEX))
        return start, b.splat(b.load(self.factors, row, offset=tap), self.lanes)

    def _blocks(
        self,
        at: list[Operand],
        sums: Callable[[list[Operand], int], list[Operand]],
    ) -> None:
        """Write the loops over the inner axes.

        `sums(at, count)` computes `count` elements from the inner coordinates `at` on.
        """
        b, (*outer, extent) = self.b, self.axes.inner
        block = self.lanes * max(1, min(_VECTORS, extent // self.lanes))
        stop = extent - extent % block
        with ExitStack() as stack:
            inner: list[Operand] = [
                stack.enter_context(b.loop(f"inner{axis}", 0, count)).index
                for axis, count in enumerate(outer)
            ]
            with b.loop("element", 0, stop, block) as loop:
                here = [*inner, loop.index]
                self.epilogue.store(sums(here, block), [*at, *here], count=block)
            if extent - stop:
                here, rest = [*inner, Imm(stop)], extent - stop
                self.epilogue.store(sums(here, rest), [*at, *here], count=rest, last=True)

    def _sum(
        self, table: Sequence[tuple[Operand, Operand]], inner: list[Operand], count: int
    ) -> list[Operand]:
        b = self.b
        shift = index_of(b, 0, inner, self.axes.inner_x)
        starts = [b.add(start, shift) for start, _ in table]
        sums = []
        for first in range(0, count, self.lanes):
            total = b.mul(self._load(starts[0], first, count), table[0][1])
            for start, (_, weight) in zip(starts[1:], table[1:], strict=True):
                total = b.mul_add(self._load(start, first, count), weight, total)
            sums.append(total)
        return sums

    def _looped(
        self, base: Operand, row: Operand, inner: list[Operand], count: int
    ) -> list[Operand]:
        b = self.b
        here = b.add(base, index_of(b, 0, inner, self.axes.inner_x))
        firsts = range(0, count, self.lanes)
        zero = b.const(0, VType(self.x.elem, self.lanes))
        with b.loop("tap", 0, self.taps, carry=[zero] * len(firsts)) as loop:
            start, weight = self._tap(here, b.add(row, loop.index), 0)
            pairs = zip(firsts, loop.carried, strict=True)
            loop.carry([b.mul_add(self._load(start, f, count), weight, c) for f, c in pairs])
        return list(loop.results)

    def _load(self, start: Operand, first: int, count: int) -> Operand:
        stride = self.axes.inner_x[-1]
        wanted = min(self.lanes, count - first)
        return load_lanes(self.b, self.x, start, self.lanes, wanted, stride, first * stride)
