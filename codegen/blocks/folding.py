"""Parts of kernels that reduce axes: groups of axes, and loops that carry accumulators."""

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

# body(coordinates, slot, count, values) updates `values` in place with `count` elements that follow
# the coordinates along the last axis
Body = Callable[[list[Operand], int, int, list[Operand]], None]

_COUNTERS = {1: Elem.I8, 2: Elem.I16, 4: Elem.I32, 8: Elem.I64}


@dataclass(frozen=True, slots=True)
class AxisGroup:
    """Some axes of an operand, neighbours merged: extents, strides in operand and result."""

    extents: tuple[int, ...]
    x: tuple[int, ...]
    y: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of elements: the product of the extents."""
        return prod(self.extents)


def axis_group(x: Access, axes: Sequence[int], y_strides: Sequence[int]) -> AxisGroup:
    """The axes `axes` of `x`, in that order; `y_strides` has the result's stride for each."""
    shape = tuple(x.shape[a] for a in axes)
    x_strides, others = tuple(x.strides[a] for a in axes), tuple(y_strides)
    extents = merged(shape, x_strides, others)
    first, second = regrouped(shape, x_strides, extents), regrouped(shape, others, extents)
    assert first is not None and second is not None
    return AxisGroup(extents, first, second)


def kept_axes(rank: int, axes: Sequence[int]) -> list[int]:
    """The axes that are not among `axes`."""
    return [a for a in range(rank) if a not in axes]


def combined(b: KernelBuilder, name: str, values: Sequence[Operand]) -> Operand:
    """All values combined by an associative operation: pairs first, then pairs of pairs."""
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
    """Call `body` for all elements, `step` at a time along the last axis; returns the final values.

    The innermost loop is unrolled into `ways` calls, numbered by `slot`. Their instructions are
    interleaved, so each slot may only change accumulators of its own. The last call of a row may
    have fewer than `step` elements.
    """
    *outer, inner = extents

    def along(at: list[Operand], values: list[Operand]) -> list[Operand]:
        block = step * ways
        stop = inner - inner % block
        with b.loop("element", 0, stop, block, carry=values) as loop:
            running = list(loop.carried)
            starts = [[*at, b.add(loop.index, slot * step)] for slot in range(ways)]
            b.interleaved(
                [partial(body, start, slot, step, running) for slot, start in enumerate(starts)]
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
    """`base` plus the offset, in elements, of coordinates `at`."""
    index: Operand = Imm(base) if isinstance(base, int) else base
    for coordinate, stride in zip(at, strides, strict=True):
        index = b.add(index, b.mul(coordinate, stride))
    return index


def load_filled(
    b: KernelBuilder, param: Param, index: Operand, lanes: int, count: int, fill: float
) -> Operand:
    """A vector of `count` consecutive elements, with `fill` in the lanes after them."""
    value = load_lanes(b, param, index, lanes, count)
    return filled(b, value, count, fill)


def nan_ranked(b: KernelBuilder, value: Operand, *, largest: bool) -> Operand:
    """The value that a search for the largest or smallest compares.

    NaN is replaced by the infinity that never wins.
    """
    if not value.type.elem.is_float:
        return value
    worst = b.const(-math.inf if largest else math.inf, value)
    return b.select(b.compare("eq", value, value), value, worst)


def filled(b: KernelBuilder, value: Operand, count: int, fill: float) -> Operand:
    """The value with `fill` in place of the lanes from `count` on."""
    lanes = value.type.lanes
    if count >= lanes:
        return value
    counter = _COUNTERS[value.type.elem.bytes]
    lane = b.iota(counter, lanes)
    inside = b.compare("lt", lane, b.const(count, lane))
    return b.select(inside, value, b.const(fill, value))
