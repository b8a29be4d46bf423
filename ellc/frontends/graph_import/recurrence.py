"""Makes loops: runs the cell of a recurrent layer over a sequence, and finds a loop's counters."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence, Set
from typing import TypeVar

import numpy as np

from ellc.frontends.graph_import.values import Emitter, Value
from ellc.ir.builder import GraphBuilder, Ref
from ellc.ir.op import Op
from ellc.ir.ops.loop import Loop, Walk
from ellc.ir.ops.pointwise import Select

KeyT = TypeVar("KeyT", bound=Hashable)

MOST_COUNTED_TRIPS = 4096
"""The most trips of a loop whose counters an import computes, trip by trip."""


def counters(known: Set[KeyT], reads: Mapping[KeyT, Set[KeyT]]) -> set[KeyT]:
    """The carried values of a loop that are known on every trip.

    `known` are the values that are known before the first trip. `reads[i]` are the carried values
    on which the next value of `i` depends.
    """
    counting = set(known)
    while computed := {i for i in counting if not reads[i] <= counting}:
        counting -= computed
    return counting


def run_cell(
    emitter: Emitter,
    cell: Op,
    x: Value,
    states: Sequence[Value],
    fixed: Sequence[Value],
    walk: Walk,
    counts: Value | None = None,
) -> tuple[Value, list[Value]]:
    """Run a cell over a sequence; returns the first state after every step, and all final states.

    The first result has its steps along the same axis as x, which `walk` gives. `cell` takes the
    element of x for one step, the states and the fixed operands, and returns the next states.
    `counts` [steps, batch, 1], if given, is false for steps that do not count: they leave the
    states unchanged, and their first result is zero.
    """
    trips = x.shape[walk.axis]
    b = GraphBuilder(cell.name)
    old = [b.input(f"state{i}", s.type) for i, s in enumerate(states)]
    element = b.input("x", walk.element(x.type))
    sequences, walks = [x], [walk]
    counts_now: Ref | None = None
    if counts is not None:
        sequences.append(counts)
        walks.append(Walk(0, walk.reverse))
        counts_now = b.input("counts", walks[-1].element(counts.type))
    operands = [b.input(f"fixed{i}", v.type) for i, v in enumerate(fixed)]
    new = b.add_multi(cell, element, *old, *operands)
    shown = new[0]
    if counts_now is not None:
        zero = b.constant(np.zeros((), shown.type.dtype.numpy))
        shown = b.add(Select(), shown, zero, counts_now)
        new = [b.add(Select(), a, o, counts_now) for a, o in zip(new, old, strict=True)]
    for index, value in enumerate(new):
        b.output(f"state{index}", value)
    b.output("y", shown)
    loop = Loop(b.build(), trips, len(states), tuple(walks), (walk,))
    *last, every = emitter.add_multi(loop, *states, *sequences, *fixed)
    return every, last
