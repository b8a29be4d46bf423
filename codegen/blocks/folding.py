"""What kernels that reduce axes share: groups of axes, and loops that carry accumulators.

There are also helpers for indices, for NaN in searches, and for vectors that are not full.
"""

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

# `body(coordinates, slot, count, values)` visits `count` elements along the last axis, from
# `coordinates` on, and updates `values` in place.
Body = Callable[[list[Operand], int, int, list[Operand]], None]

_COUNTERS = {1: Elem.I8, 2: Elem.I16, 4: Elem.I32, 8: Elem.I64}


@dataclass(frozen=True, slots=True)
class AxisGroup:
    """Some axes of an operand, merged where possible.

    `extents` has their extents, `x` their strides in the operand, `y` their strides in the result.
    """

    extents: tuple[int, ...]
    x: tuple[int, ...]
    y: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of elements: the product of the extents."""
        return prod(self.extents)


def axis_group(x: Access, axes: Sequence[int], y_strides: Sequence[int]) -> AxisGroup:
    """The group of the axes `axes` of `x`, in this order.

    `y_strides` has the strides of these axes in the result.
    """
    shape = tuple(x.shape[a] for a in axes)
    x_strides, others = tuple(x.strides[a] for a in axes), tuple(y_strides)
    extents = merged(shape, x_strides, others)
    first, second = regrouped(shape, x_strides, extents), regrouped(shape, others, extents)
    assert first is not None and second is not None
    return AxisGroup(extents, first, second)


def kept_axes(rank: int, axes: Sequence[int]) -> list[int]:
    """The axes of a tensor that are not in `axes`."""
    return [a for a in range(rank) if a not in axes]


def combined(b: KernelBuilder, name: str, values: Sequence[Operand]) -> Operand:
    """All values, combined by the associative operation `name` as a balanced tree."""
    while len(values) > 1:
        pairs = zip(values[::2], values[1::2], strict=False)
        values = [*(b.op(name, *pair) for pair in pairs), *values[len(values) // 2 * 2 :]]
    return values[0]


def sweep(
    b: KernelBuilder,
    extents: Sequence[int],
    step: int,
    unroll: int,
    carry: Sequence[Operand],
    body: Body,
) -> list[Operand]:
    """Write loops that call `body` for all elements, `step` at a time along the last axis.

    Returns the final values of the accumulators, which start as `carry`. A trip of the innermost
    loop has `unroll` calls, numbered by `slot`. Their instructions are interleaved, so a slot may
    change only its own accumulators. The last call of a row may have fewer than `step` elements.
    """
    *outer, inner = extents

    def along(at: list[Operand], values: list[Operand]) -> list[Operand]:
        block = step * unroll
        stop = inner - inner % block
        with b.loop("element", 0, stop, block, carry=values) as loop:
            running = list(loop.carried)
            starts = [[*at, b.add(loop.index, slot * step)] for slot in range(unroll)]
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
    """`base` plus the offset in elements of the coordinates `at`."""
    index: Operand = Imm(base) if isinstance(base, int) else base
    for coordinate, stride in zip(at, strides, strict=True):
        index = b.add(index, b.mul(coordinate, stride))
    return index


def load_filled(
    b: KernelBuilder, param: Param, index: Operand, lanes: int, count: int, fill: float
) -> Operand:
    """A vector whose first `count` lanes are consecutive elements; the other lanes are `fill`."""
    value = load_lanes(b, param, index, lanes, count)
    return filled(b, value, count, fill)


def nan_ranked(b: KernelBuilder, value: Operand, *, largest: bool) -> Operand:
    """`value` with NaN replaced by the infinity that never wins.

    With `largest`, the search is for the largest element, and NaN becomes -inf; else +inf.
    """
    if not value.type.elem.is_float:
        return value
    worst = b.const(-math.inf if largest else math.inf, value)
    return b.select(b.compare("eq", value, value), value, worst)


def filled(b: KernelBuilder, value: Operand, count: int, fill: float) -> Operand:
    """The value, with the lanes from `count` on replaced by `fill`."""
    lanes = value.type.lanes
    if count >= lanes:
        return value
    counter = _COUNTERS[value.type.elem.bytes]
    lane = b.iota(counter, lanes)
    inside = b.compare("lt", lane, b.const(count, lane))
    return b.select(inside, value, b.const(fill, value))
