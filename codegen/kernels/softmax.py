"""Softmax and its logarithm. One kernel computes maximum, sum of exponentials and results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.folding import (
    AxisGroup,
    axis_group,
    combined,
    filled,
    index_of,
    kept_axes,
    load_filled,
    sweep,
)
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.vectors import fitted_lanes, load_lanes, store_lanes, vector_lanes
from ellc.codegen.blocks.walking import ElementWalk
from ellc.codegen.kir import vmath
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand, Param
from ellc.codegen.kir.types import VType
from ellc.ir.ops.reduce import LogSoftmax, Softmax

_UNROLL = 4
"""How many vectors are interleaved.

Modelled cycles of the Cortex-A53 (`tests/benchmarks/constants.py`), 16 rows of 1,000:
pi3_64 1: 481,447, 2: 283,622, 4: 235,459; pi3 1: 513,803, 2: 345,725, 4: 344,568."""
_SCALAR_UNROLL = 2
"""How many elements are interleaved if vectors have one lane, as on cores without vectors.

Thousand cycles of pi0's code on a Cortex-A53 (same script), 16 rows of 1,000: 1: 1,717, 2: 974,
4: 762. But such cores often have little memory for code. The kernel for 10 classes on a Cortex-M7
has these bytes: 1: 1,045, 2: 1,285, 4: 2,125."""


@lowers(Softmax, LogSoftmax)
def lower_softmax(node: PlacedNode) -> list[KernelCall]:
    """A kernel for softmax or its logarithm over any axes."""
    op = node.anchor
    assert isinstance(op, Softmax | LogSoftmax)
    node.refuse_stages()
    x = node.inputs[0].access
    result = node.result.access
    order = kept_axes(len(x.shape), op.axes)
    kept = axis_group(x, order, [result.strides[a] for a in order])
    axes = sorted(op.axes)
    folded = axis_group(x, axes, [result.strides[a] for a in axes])
    by_rows = folded.x[-1] == folded.y[-1] == 1 and folded.count > 1
    inner = (folded if by_rows else kept).extents[-1]
    lanes = fitted_lanes(vector_lanes(node.target, x.elem), inner)
    b = KernelBuilder(node.name)
    source = b.param("x", x.elem, x.align_bytes)
    target = b.param("y", result.elem, result.align_bytes, writable=True)
    softmax = _SoftmaxWriter(b, source, target, kept, folded, lanes, isinstance(op, LogSoftmax))
    block = 1 if by_rows else lanes
    write = softmax.row if by_rows else softmax.columns
    extent = ElementWalk(kept.extents, block, node.threads).write(b, write)
    return [KernelCall(b.finish(), (access_arg(x), access_arg(result)), extent, op.name)]


@dataclass(frozen=True, slots=True)
class _SoftmaxWriter:
    """Writes the code for one row of elements, or for a vector of neighbouring rows.

    A row has the elements along the axes that the operator normalises (`folded`). There is one row
    for each index of the other axes (`kept`).
    """

    b: KernelBuilder
    x: Param
    y: Param
    kept: AxisGroup
    folded: AxisGroup
    lanes: int
    log: bool

    def row(self, at: list[Operand], length: int, last: bool) -> None:
        """Write one row, with vectors along the folded axes, the last of which has stride 1."""
        b = self.b
        x_base, y_base = index_of(b, 0, at, self.kept.x), index_of(b, 0, at, self.kept.y)

        def load(inner: Sequence[Operand], count: int, fill: float) -> Operand:
            index = index_of(b, x_base, inner, self.folded.x)
            return load_filled(b, self.x, index, self.lanes, count, fill)

        def result(inner: Sequence[Operand]) -> Operand:
            return index_of(b, y_base, inner, self.folded.y)

        def reload(inner: Sequence[Operand], count: int) -> Operand:
            return load_lanes(b, self.y, result(inner), self.lanes, count)

        def store(value: Operand, inner: Sequence[Operand], count: int) -> None:
            store_lanes(b, value, self.y, result(inner), count)

        def over_lanes(vector: Operand, name: str) -> Operand:
            return b.splat(b.fold(name, vector), self.lanes)

        self._passes(self.lanes, load, reload, store, over_lanes)

    def columns(self, at: list[Operand], length: int, last: bool) -> None:
        """Write `length` rows, with vectors along the kept axes: each lane computes its own row."""
        b = self.b
        x_base, y_base = index_of(b, 0, at, self.kept.x), index_of(b, 0, at, self.kept.y)
        x_step, y_step = self.kept.x[-1], self.kept.y[-1]

        def load(inner: Sequence[Operand], count: int, fill: float) -> Operand:
            index = index_of(b, x_base, inner, self.folded.x)
            return load_lanes(b, self.x, index, self.lanes, length, x_step)

        def reload(inner: Sequence[Operand], count: int) -> Operand:
            index = index_of(b, y_base, inner, self.folded.y)
            return load_lanes(b, self.y, index, self.lanes, length, y_step)

        def store(value: Operand, inner: Sequence[Operand], count: int) -> None:
            index = index_of(b, y_base, inner, self.folded.y)
            store_lanes(b, value, self.y, index, length, y_step)

        self._passes(1, load, reload, store, lambda vector, name: vector)

    def _passes(
        self,
        step: int,
        load: Callable[[Sequence[Operand], int, float], Operand],
        reload: Callable[[Sequence[Operand], int], Operand],
        store: Callable[[Operand, Sequence[Operand], int], None],
        over_lanes: Callable[[Operand, str], Operand],
    ) -> None:
        """Write three passes over the folded axes.

        The first pass finds the maximum. The second computes the exponentials and their sum, and
        stores the exponentials in the result. The third reloads and scales them. For the logarithm,
        only the third pass stores anything. `over_lanes` combines all lanes that belong to the same
        row, and returns a vector with the combination in each of these lanes.
        """
        b, extents = self.b, self.folded.extents
        type_ = VType(self.x.elem, self.lanes)
        unroll = _UNROLL if self.lanes > 1 else _SCALAR_UNROLL
        low, zero = b.const(-np.inf, type_), b.const(0.0, type_)

        def largest(at: list[Operand], slot: int, count: int, values: list[Operand]) -> None:
            values[slot] = b.max(values[slot], load(at, count, -np.inf))

        tops = sweep(b, extents, step, unroll, [low] * unroll, largest)
        top = over_lanes(combined(b, "max", tops), "max")

        def exponentials(at: list[Operand], slot: int, count: int, values: list[Operand]) -> None:
            exponential = vmath.exp(b, b.sub(load(at, count, 0.0), top))
            if not self.log:
                store(exponential, at, count)
            addend = filled(b, exponential, count, 0.0) if step > 1 else exponential
            values[slot] = b.add(values[slot], addend)

        totals = sweep(b, extents, step, unroll, [zero] * unroll, exponentials)
        total = over_lanes(combined(b, "add", totals), "add")
        scale = vmath.log(b, total) if self.log else b.div(b.const(1.0, total), total)

        def finish(at: list[Operand], slot: int, count: int, values: list[Operand]) -> None:
            if self.log:
                value = b.sub(b.sub(load(at, count, 0.0), top), scale)
            else:
                value = b.mul(reload(at, count), scale)
            store(value, at, count)

        sweep(b, extents, step, unroll, [], finish)
