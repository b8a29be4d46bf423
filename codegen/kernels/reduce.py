"""Sums, products and extremes along axes, and the positions of the extremes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.calls import KernelCall, access_arg
from ellc.codegen.blocks.candidates import lowers
from ellc.codegen.blocks.epilogue import Epilogue
from ellc.codegen.blocks.folding import (
    Group,
    filled,
    group,
    index_of,
    kept_axes,
    nan_ranked,
    sweep,
)
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.blocks.vectors import fitted_lanes, load_lanes, vector_lanes
from ellc.codegen.blocks.walking import Walk
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Operand, Param
from ellc.codegen.kir.types import Elem, VType
from ellc.codegen.machine.target import Target
from ellc.ir.ops.reduce import ArgMax, ArgMin, Reduce


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a reduction walks: vectors lie along the kept axes, or (`by_rows`) along the others."""

    kept: Group
    folded: Group
    by_rows: bool
    lanes: int
    vectors: int
    ways: int


def _layout(
    target: Target, x: Access, result: Access, axes: Sequence[int], keep_dims: bool, widest: Elem
) -> _Layout:
    kept_order = kept_axes(len(x.shape), axes)
    if keep_dims:
        y_strides = [result.strides[a] for a in kept_order]
    else:
        y_strides = list(result.strides)
    kept = group(x, kept_order, y_strides)
    folded = group(x, sorted(axes), [0] * len(axes))
    by_rows = folded.x[-1] == 1 and folded.count > 1 and kept.x[-1] != 1
    lanes = vector_lanes(target, widest)
    extent = (folded if by_rows else kept).extents[-1]
    lanes = fitted_lanes(lanes, extent)
    if by_rows:
        return _Layout(kept, folded, True, lanes, 1, max(1, min(4, extent // lanes)))
    vectors = max(1, min(4, extent // lanes))
    ways = max(1, min(4 // vectors, folded.extents[-1]))
    return _Layout(kept, folded, False, lanes, vectors, ways)


# --- values --------------------------------------------------------------------------------------


@lowers(Reduce)
def lower_reduce(node: PlacedNode) -> list[KernelCall]:
    """Any kind along any axes."""
    op = node.anchor
    assert isinstance(op, Reduce)
    x = node.inputs[0].access
    elem = Elem.of(node.anchor_type().dtype)
    layout = _layout(node.target, x, node.result.access, op.axes, op.keep_dims, elem)
    b = KernelBuilder(node.name)
    source = b.param("x", x.elem, x.align_bytes)
    epilogue = Epilogue(node, b, layout.kept.extents)
    fold = _Fold(b, op, source, elem, layout)

    def body(at: list[Operand], length: int, last: bool) -> None:
        base = index_of(b, 0, at, layout.kept.x)
        values = fold.rows(base) if layout.by_rows else fold.columns(base, length)
        epilogue.store(values, at, count=length, last=last)

    block = 1 if layout.by_rows else layout.lanes * layout.vectors
    extent = Walk(layout.kept.extents, block, node.threads).write(b, body)
    return [KernelCall(b.finish(), (access_arg(x), *epilogue.args), extent, f"reduce {op.kind}")]


_OPERATIONS = {"sum": "add", "mean": "add", "l2sum": "add", "prod": "mul"}


class _Fold:
    """Combines elements in several accumulators, which are then combined in pairs."""

    def __init__(self, b: KernelBuilder, op: Reduce, x: Param, elem: Elem, layout: _Layout) -> None:
        self._b, self._op, self._x, self._layout = b, op, x, layout
        self._combine = _OPERATIONS.get(op.kind, op.kind)
        self._type = VType(elem, layout.lanes)
        self._identity = _identity(op.kind, elem)

    def columns(self, base: Operand, length: int) -> list[Operand]:
        """One vector of results after the other."""
        b, layout = self._b, self._layout
        starts = range(0, length, layout.lanes)
        start = b.const(self._identity, self._type)

        def visit(at: list[Operand], slot: int, count: int, values: list[Operand]) -> None:
            index = index_of(b, base, at, layout.folded.x)
            for place, first in enumerate(starts):
                wanted = min(layout.lanes, length - first)
                stride = layout.kept.x[-1]
                value = load_lanes(b, self._x, index, layout.lanes, wanted, stride, first * stride)
                value = b.convert(value, self._type.elem)
                number = slot * len(starts) + place
                values[number] = self._step(values[number], value)

        carry = [start] * (layout.ways * len(starts))
        found = sweep(b, layout.folded.extents, 1, layout.ways, carry, visit)
        return [self._finished(self._tree(found[v :: len(starts)])) for v in range(len(starts))]

    def rows(self, base: Operand) -> list[Operand]:
        """One result: the lanes of all accumulators."""
        b, layout = self._b, self._layout

        def visit(at: list[Operand], slot: int, count: int, values: list[Operand]) -> None:
            index = index_of(b, base, at, layout.folded.x)
            loaded = load_lanes(b, self._x, index, layout.lanes, count)
            value = filled(b, b.convert(loaded, self._type.elem), count, self._identity)
            values[slot] = self._step(values[slot], value)

        carry: list[Operand] = [b.const(self._identity, self._type)] * layout.ways
        found = sweep(b, layout.folded.extents, layout.lanes, layout.ways, carry, visit)
        return [self._finished(b.fold(self._combine, self._tree(found)))]

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
        count = self._layout.folded.count
        if not value.type.elem.is_float:
            return self._b.div(value, self._b.const(count, value))
        return self._b.mul(value, self._b.const(1 / count, value))


def _identity(kind: str, elem: Elem) -> float | int:
    """The identity element. It fills lanes whose squares are summed, too, where it must be 0."""
    if kind == "prod":
        return 1
    if kind not in ("max", "min"):
        return 0
    if elem.is_float:
        return -np.inf if kind == "max" else np.inf
    info = np.iinfo(elem.numpy)
    return info.min if kind == "max" else info.max


# --- places --------------------------------------------------------------------------------------


@lowers(ArgMax, ArgMin)
def lower_arg(node: PlacedNode) -> list[KernelCall]:
    """The first or last of the largest or smallest elements along an axis."""
    op = node.anchor
    assert isinstance(op, ArgMax | ArgMin)
    x = node.inputs[0].access
    widest = x.elem if x.elem.bytes > 4 else Elem.I32
    layout = _layout(node.target, x, node.result.access, (op.axis,), op.keep_dims, widest)
    b = KernelBuilder(node.name)
    source = b.param("x", x.elem, x.align_bytes)
    epilogue = Epilogue(node, b, layout.kept.extents)
    search = _Search(b, op, source, layout)

    def body(at: list[Operand], length: int, last: bool) -> None:
        base = index_of(b, 0, at, layout.kept.x)
        value = search.row(base) if layout.by_rows else search.column(base, length)
        epilogue.store([value], at, count=length, last=last)

    block = 1 if layout.by_rows else layout.lanes
    extent = Walk(layout.kept.extents, block, node.threads).write(b, body)
    return [KernelCall(b.finish(), (access_arg(x), *epilogue.args), extent, op.name)]


class _Search:
    """Keeps the best element and where it stood, lane by lane."""

    def __init__(self, b: KernelBuilder, op: ArgMax | ArgMin, x: Param, layout: _Layout) -> None:
        self._b, self._x, self._layout = b, x, layout
        self._largest = isinstance(op, ArgMax)
        strict, equal = ("gt", "ge") if self._largest else ("lt", "le")
        self._better = equal if op.last else strict  # what a later element must be to win
        self._strict, self._sooner = strict, "gt" if op.last else "lt"

    def column(self, base: Operand, length: int) -> Operand:
        """Places for a vector of kept elements."""
        b, layout = self._b, self._layout
        stride, step = layout.kept.x[-1], layout.folded.x[0]
        best = self._loaded(base, layout.lanes, length, stride)
        zero = b.const(0, best.type.with_elem(Elem.I32))
        extent = layout.folded.extents[0]
        with b.loop("candidate", 1, extent, carry=(best, zero, zero)) as loop:
            value, place, number = loop.carried
            number = b.add(number, b.const(1, number))
            index = b.add(base, b.mul(loop.index, step))
            found = self._loaded(index, layout.lanes, length, stride)
            wins = b.compare(self._better, found, value)
            loop.carry((b.select(wins, found, value), b.select(wins, number, place), number))
        return loop.results[1]

    def row(self, base: Operand) -> Operand:
        """The place of one element along a row without gaps."""
        b, lanes, extent = self._b, self._layout.lanes, self._layout.folded.extents[0]
        while lanes > extent:
            lanes //= 2
        whole = extent - extent % lanes
        best = self._loaded(base, lanes, lanes)
        place = b.iota(Elem.I32, lanes)
        width = b.const(lanes, place)
        with b.loop("candidate", lanes, whole, lanes, carry=(best, place, place)) as loop:
            value, where, number = loop.carried
            number = b.add(number, width)
            found = self._loaded(b.add(base, loop.index), lanes, lanes)
            loop.carry((*self._better_of(value, where, found, number, later=True), number))
        best, place = loop.results[0], loop.results[1]
        if extent - whole:
            rest = self._loaded(b.add(base, whole), lanes, extent - whole)
            # Lanes after the end repeat what is known already, place and all.
            inside = filled(b, b.const(1, place), extent - whole, 0)
            real = b.compare("ne", inside, b.const(0, inside))
            rest = b.select(real, rest, best)
            number = b.add(b.iota(Elem.I32, lanes), b.const(whole, place))
            number = b.select(real, number, place)
            best, place = self._better_of(best, place, rest, number, later=True)
        while best.type.lanes > 1:
            half = best.type.lanes // 2
            low, high = b.part(best, 0, half), b.part(best, half, half)
            first, second = b.part(place, 0, half), b.part(place, half, half)
            best, place = self._better_of(low, first, high, second, later=False)
        return place

    def _loaded(self, index: Operand, lanes: int, count: int, stride: int = 1) -> Operand:
        """`count` elements as they are compared."""
        found = load_lanes(self._b, self._x, index, lanes, count, stride)
        return nan_ranked(self._b, found, largest=self._largest)

    def _better_of(
        self, value: Operand, place: Operand, other: Operand, where: Operand, *, later: bool
    ) -> tuple[Operand, Operand]:
        """The better of two and its place; of equal ones the place that is asked for."""
        b = self._b
        if later:
            wins = b.compare(self._better, other, value)
        else:
            equal = b.compare("eq", other, value)
            sooner = b.compare(self._sooner, where, place)
            wins = b.compare(self._strict, other, value)
            wins = b.op("or", wins, b.op("and", equal, sooner))
        return b.select(wins, other, value), b.select(wins, where, place)
