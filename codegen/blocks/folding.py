"""Combining elements along some axes: the axes in two groups, and loops that carry values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

from ellc.codegen.blocks.access import Access
from ellc.codegen.blocks.vectors import load_lanes
from ellc.codegen.blocks.views import regrouped
from ellc.codegen.blocks.walking import merged
from ellc.codegen.kir.build import KernelBuilder
from ellc.codegen.kir.ir import Imm, Operand, Param
from ellc.codegen.kir.types import Elem

# body(coordinates, slot, count, values): `count` elements along the last axis change `values`
Body = Callable[[list[Operand], int, int, list[Operand]], None]

_COUNTERS = {1: Elem.I8, 2: Elem.I16, 4: Elem.I32, 8: Elem.I64}


@dataclass(frozen=True, slots=True)
class Group:
    """Axes of an operand and of a result, neighbours merged: extents and both strides."""

    extents: tuple[int, ...]
    x: tuple[int, ...]
    y: tuple[int, ...]

    @property
    def count(self) -> int:
        """Elements along all axes together."""
        return prod(self.extents)


def group(x: Access, axes: Sequence[int], y_strides: Sequence[int]) -> Group:
    """The given axes of `x` in order; `y_strides` has a stride for each of them."""
    shape = tuple(x.shape[a] for a in axes)
    x_strides, others = tuple(x.strides[a] for a in axes), tuple(y_strides)
    extents = merged(shape, x_strides, others)
    first, second = regrouped(shape, x_strides, extents), regrouped(shape, others, extents)
    assert first is not None and second is not None
    return Group(extents, first, second)


def kept_axes(rank: int, axes: Sequence[int]) -> list[int]:
    """The axes that are not among `axes`."""
    return [a for a in range(rank) if a not in axes]


def combined(b: KernelBuilder, name: str, values: Sequence[Operand]) -> Operand:
    """All values by one associative operation, in pairs, then pairs of pairs."""
    while len(values) > 1:
        pairs = zip(values[::2], values[1::2], strict=False)
        values = [*(b.op(name, *pair) for pair in pairs), *values[len(values) // 2 * 2 :]]
    return values[0]


def sweep(
    b: KernelBuilder,
    extents: Sequence[int],
    step: int,
    ways: int,
    carry: Sequence[Operand],
    body: Body,
) -> list[Operand]:
    """Visit every element of a block of axes, `step` at a time along the last; the final values.

    `ways` visits in a row make one turn of the innermost loop; `slot` counts them, so that each
    may have accumulators of its own, which it alone changes. The last visit of a row may have
    fewer than `step` elements.
    """
    *outer, inner = extents

    def along(at: list[Operand], values: list[Operand]) -> list[Operand]:
        block = step * ways
        stop = inner - inner % block
        with b.loop("element", 0, stop, block, carry=values) as loop:
            running = list(loop.carried)
            places = [[*at, b.add(loop.index, slot * step)] for slot in range(ways)]
            b.interleaved(
                [partial(body, place, slot, step, running) for slot, place in enumerate(places)]
            )
            loop.carry(running)
        values = list(loop.results)
        for slot, start in enumerate(range(stop, inner, step)):
            body([*at, Imm(start)], slot, min(step, inner - start), values)
        return values

    def level(at: list[Operand], values: list[Operand]) -> list[Operand]:
        if len(at) == len(outer):
            return along(at, values)
        with b.loop(f"fold{len(at)}", 0, outer[len(at)], carry=values) as loop:
            loop.carry(level([*at, loop.index], list(loop.carried)))
        return list(loop.results)

    return level([], list(carry))


def index_of(
    b: KernelBuilder, base: Operand | int, at: Sequence[Operand], strides: Sequence[int]
) -> Operand:
    """`base` plus the position of the coordinates."""
    index: Operand = Imm(base) if isinstance(base, int) else base
    for where, stride in zip(at, strides, strict=True):
        index = b.add(index, b.mul(where, stride))
    return index


def load_filled(
    b: KernelBuilder, param: Param, index: Operand, lanes: int, count: int, fill: float
) -> Operand:
    """`count` consecutive elements and `fill` in the lanes after them."""
    value = load_lanes(b, param, index, lanes, count)
    return filled(b, value, count, fill)


def nan_ranked(b: KernelBuilder, value: Operand, *, largest: bool) -> Operand:
    """What a search of the largest or smallest compares: NaN is the infinity that never wins."""
    if not value.type.elem.is_float:
        return value
    worst = b.const(-math.inf if largest else math.inf, value)
    return b.select(b.compare("eq", value, value), value, worst)


def filled(b: KernelBuilder, value: Operand, count: int, fill: float) -> Operand:
    """The first `count` lanes of a value, `fill` in the others."""
    lanes = value.type.lanes
    if count >= lanes:
        return value
    counter = _COUNTERS[value.type.elem.bytes]
    place = b.iota(counter, lanes)
    inside = b.compare("lt", place, b.const(count, place))
    return b.select(inside, value, b.const(fill, value))
