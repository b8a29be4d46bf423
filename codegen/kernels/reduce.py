"""Sums (also of squares), means, products and extremes along axes; positions of extremes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.folding import (
    AxisGroup,
    axis_group,
    filled,
    index_of,
    kept_axes,
    nan_ranked,
    sweep,
)
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.vectors import fitted_lanes, load_lanes, vector_lanes
from ellc.codegen.blocks.walking import ElementWalk
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand, Param
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.target import Target
from ellc.ir.ops.reduce import ArgMax, ArgMin, Reduce

_UNROLL = 4
"""The most accumulators. Thousand modelled cycles by `tests/benchmarks/constants.py`, for a sum of
64x256 along rows / of 256x64 along columns: pi3_64 1: 28.7 / 40.5, 2: 22.8 / 24.4, 4: 17.5 / 18.2,
8: 16.8 / 23.4; pi3 1: 24.4 / 30.4, 2: 20.0 / 26.4, 4: 18.7 / 23.4, 8: 19.9 / 26.5."""


@dataclass(frozen=True, slots=True)
class _ReductionLoops:
    """The loops of a reduction: over the kept axes, and over the reduced (`folded`) axes.

    A vector has `lanes` lanes. Vectors run along the kept axes, `vectors` of them at a time; with
    `by_rows` they run along the reduced axes. `unroll` trips of the innermost loop are unrolled,
    each with its own accumulators.
    """

    kept: AxisGroup
    folded: AxisGroup
    by_rows: bool
    lanes: int
    vectors: int
    unroll: int


def _reduction_loops(
    target: Target, x: Access, result: Access, axes: Sequence[int], keep_dims: bool, widest: Elem
) -> _ReductionLoops:
    kept_order = kept_axes(len(x.shape), axes)
    if keep_dims:
        y_strides = [result.strides[a] for a in kept_order]
    else:
        y_strides = list(result.strides)
    kept = axis_group(x, kept_order, y_strides)
    folded = axis_group(x, sorted(axes), [0] * len(axes))
    by_rows = folded.x[-1] == 1 and folded.count > 1 and kept.x[-1] != 1
    lanes = vector_lanes(target, widest)
    extent = (folded if by_rows else kept).extents[-1]
    lanes = fitted_lanes(lanes, extent)
    if by_rows:
        return _ReductionLoops(kept, folded, True, lanes, 1, max(1, min(_UNROLL, extent // lanes)))
    vectors = max(1, min(_UNROLL, extent // lanes))
    unroll = max(1, min(_UNROLL // vectors, folded.extents[-1]))
    return _ReductionLoops(kept, folded, False, lanes, vectors, unroll)


# --- values --------------------------------------------------------------------------------------


@lowers(Reduce)
def lower_reduce(node: PlacedNode) -> list[KernelCall]:
    """Kernels for every kind of reduction along any axes."""
    op = node.anchor
    assert isinstance(op, Reduce)
    x = node.inputs[0].access
    elem = Elem.of(node.anchor_type().dtype)
    loops = _reduction_loops(node.target, x, node.result.access, op.axes, op.keep_dims, elem)
    b = KernelBuilder(node.name)
    source = b.param("x", x.elem, x.align_bytes)
    epilogue = Epilogue(node, b, loops.kept.extents)
    fold = _Fold(b, op, source, elem, loops)

    def body(at: list[Operand], length: int, last: bool) -> None:
        base = index_of(b, 0, at, loops.kept.x)
        values = fold.rows(base) if loops.by_rows else fold.columns(base, length)
        epilogue.store(values, at, count=length, last=last)

    block = 1 if loops.by_rows else loops.lanes * loops.vectors
    extent = ElementWalk(loops.kept.extents, block, node.threads).write(b, body)
    return [KernelCall(b.finish(), (access_arg(x), *epilogue.args), extent, f"reduce {op.kind}")]


_OPERATIONS = {"sum": "add", "mean": "add", "l2sum": "add", "prod": "mul"}


class _Fold:
    """Combines elements in several accumulators, and finally the accumulators in pairs."""

    def __init__(
        self, b: KernelBuilder, op: Reduce, x: Param, elem: Elem, loops: _ReductionLoops
    ) -> None:
        self._b, self._op, self._x, self._loops = b, op, x, loops
        self._combine = _OPERATIONS.get(op.kind, op.kind)
        self._type = VType(elem, loops.lanes)
        self._identity = _identity(op.kind, elem)

    def columns(self, base: Operand, length: int) -> list[Operand]:
        """`length` results that are neighbours along the kept axes, in vectors."""
        b, loops = self._b, self._loops
        starts = range(0, length, loops.lanes)
        start = b.const(self._identity, self._type)

        def visit(at: list[Operand], slot: int, count: int, values: list[Operand]) -> None:
            index = index_of(b, base, at, loops.folded.x)
            for vector, first in enumerate(starts):
                wanted = min(loops.lanes, length - first)
                stride = loops.kept.x[-1]
                value = load_lanes(b, self._x, index, loops.lanes, wanted, stride, first * stride)
                value = b.convert(value, self._type.elem)
                number = slot * len(starts) + vector
                values[number] = self._step(values[number], value)

        carry = [start] * (loops.unroll * len(starts))
        totals = sweep(b, loops.folded.extents, 1, loops.unroll, carry, visit)
        return [self._finished(self._tree(totals[v :: len(starts)])) for v in range(len(starts))]

    def rows(self, base: Operand) -> list[Operand]:
        """One result. The lanes of all accumulators are combined at the end."""
        b, loops = self._b, self._loops

        def visit(at: list[Operand], slot: int, count: int, values: list[Operand]) -> None:
            index = index_of(b, base, at, loops.folded.x)
            loaded = load_lanes(b, self._x, index, loops.lanes, count)
            value = filled(b, b.convert(loaded, self._type.elem), count, self._identity)
            values[slot] = self._step(values[slot], value)

        carry: list[Operand] = [b.const(self._identity, self._type)] * loops.unroll
        totals = sweep(b, loops.folded.extents, loops.lanes, loops.unroll, carry, visit)
        return [self._finished(b.fold(self._combine, self._tree(totals)))]

    def _step(self, total: Operand, value: Operand) -> Operand:
        if self._op.kind == "l2sum":
            return self._b.mul_add(value, value, total)
        return self._b.op(self._combine, total, value)

    def _tree(self, values: Sequence[Operand]) -> Operand:
        items = list(values)
        while len(items) > 1:
            pairs = [
                self._b.op(self._combine, items[i], items[i + 1])
                for i in range(0, len(items) - 1, 2)
            ]
            items = pairs + items[len(items) & ~1 :]
        return items[0]

    def _finished(self, value: Operand) -> Operand:
        if self._op.kind != "mean":
            return value
        count = self._loops.folded.count
        if not value.type.elem.is_float:
            return self._b.div(value, self._b.const(count, value))
        return self._b.mul(value, self._b.const(1 / count, value))


def _identity(kind: str, elem: Elem) -> float | int:
    """The identity element. For sums of squares it is 0, whose square adds nothing."""
    if kind == "prod":
        return 1
    if kind not in ("max", "min"):
        return 0
    if elem.is_float:
        return -np.inf if kind == "max" else np.inf
    info = np.iinfo(elem.numpy)
    return info.min if kind == "max" else info.max


# --- positions -----------------------------------------------------------------------------------


@lowers(ArgMax, ArgMin)
def lower_arg(node: PlacedNode) -> list[KernelCall]:
    """Kernels for the position of the largest or smallest element along an axis.

    If several elements are equal, the operator says whether the first or the last one counts.
    """
    op = node.anchor
    assert isinstance(op, ArgMax | ArgMin)
    x = node.inputs[0].access
    widest = x.elem if x.elem.bytes > 4 else Elem.I32
    loops = _reduction_loops(node.target, x, node.result.access, (op.axis,), op.keep_dims, widest)
    b = KernelBuilder(node.name)
    source = b.param("x", x.elem, x.align_bytes)
    epilogue = Epilogue(node, b, loops.kept.extents)
    search = _PositionSearch(b, op, source, loops)

    def body(at: list[Operand], length: int, last: bool) -> None:
        base = index_of(b, 0, at, loops.kept.x)
        value = search.row(base) if loops.by_rows else search.column(base, length)
        epilogue.store([value], at, count=length, last=last)

    block = 1 if loops.by_rows else loops.lanes
    extent = ElementWalk(loops.kept.extents, block, node.threads).write(b, body)
    return [KernelCall(b.finish(), (access_arg(x), *epilogue.args), extent, op.name)]


class _PositionSearch:
    """Finds the best element and its position, separately in each lane.

    Better means larger for `ArgMax` and smaller for `ArgMin`.
    """

    def __init__(
        self, b: KernelBuilder, op: ArgMax | ArgMin, x: Param, loops: _ReductionLoops
    ) -> None:
        self._b, self._x, self._loops = b, x, loops
        self._largest = isinstance(op, ArgMax)
        strict, equal = ("gt", "ge") if self._largest else ("lt", "le")
        # The comparison that tells whether an element is better than an earlier one.
        self._better = equal if op.last else strict
        self._strict, self._sooner = strict, "gt" if op.last else "lt"

    def column(self, base: Operand, length: int) -> Operand:
        """The positions for a vector of results that are neighbours along the kept axes."""
        b, loops = self._b, self._loops
        stride, step = loops.kept.x[-1], loops.folded.x[0]
        best = self._loaded(base, loops.lanes, length, stride)
        zero = b.const(0, best.type.with_elem(Elem.I32))
        extent = loops.folded.extents[0]
        with b.loop("candidate", 1, extent, carry=(best, zero, zero)) as loop:
            value, position, number = loop.carried
            number = b.add(number, b.const(1, number))
            index = b.add(base, b.mul(loop.index, step))
            element = self._loaded(index, loops.lanes, length, stride)
            wins = b.compare(self._better, element, value)
            loop.carry((b.select(wins, element, value), b.select(wins, number, position), number))
        return loop.results[1]

    def row(self, base: Operand) -> Operand:
        """The position of the best element of a row that has no gaps."""
        b, lanes, extent = self._b, self._loops.lanes, self._loops.folded.extents[0]
        while lanes > extent:
            lanes //= 2
        loop_end = extent - extent % lanes
        best = self._loaded(base, lanes, lanes)
        position = b.iota(Elem.I32, lanes)
        width = b.const(lanes, position)
        with b.loop("candidate", lanes, loop_end, lanes, carry=(best, position, position)) as loop:
            value, position, number = loop.carried
            number = b.add(number, width)
            element = self._loaded(b.add(base, loop.index), lanes, lanes)
            loop.carry((*self._better_of(value, position, element, number, later=True), number))
        best, position = loop.results[0], loop.results[1]
        if extent - loop_end:
            rest = self._loaded(b.add(base, loop_end), lanes, extent - loop_end)
            # Lanes after the end of the row repeat the best element so far and its position.
            inside = filled(b, b.const(1, position), extent - loop_end, 0)
            exists = b.compare("ne", inside, b.const(0, inside))
            rest = b.select(exists, rest, best)
            number = b.add(b.iota(Elem.I32, lanes), b.const(loop_end, position))
            number = b.select(exists, number, position)
            best, position = self._better_of(best, position, rest, number, later=True)
        while best.type.lanes > 1:
            half = best.type.lanes // 2
            low, high = b.part(best, 0, half), b.part(best, half, half)
            first, second = b.part(position, 0, half), b.part(position, half, half)
            best, position = self._better_of(low, first, high, second, later=False)
        return position

    def _loaded(self, index: Operand, lanes: int, count: int, stride: int = 1) -> Operand:
        """`count` elements, with NaN replaced as `nan_ranked` does."""
        elements = load_lanes(self._b, self._x, index, lanes, count, stride)
        return nan_ranked(self._b, elements, largest=self._largest)

    def _better_of(
        self,
        value: Operand,
        position: Operand,
        other: Operand,
        other_position: Operand,
        *,
        later: bool,
    ) -> tuple[Operand, Operand]:
        """(the better one of `value` and `other`, its position).

        If both are equal, the operator says whether the first or the last one counts. `later` says
        that `other_position` is known to come after `position`.
        """
        b = self._b
        if later:
            wins = b.compare(self._better, other, value)
        else:
            equal = b.compare("eq", other, value)
            sooner = b.compare(self._sooner, other_position, position)
            wins = b.compare(self._strict, other, value)
            wins = b.op("or", wins, b.op("and", equal, sooner))
        return b.select(wins, other, value), b.select(wins, other_position, position)
