"""The verifier finds mistakes in plans. (Every compilation verifies a correct plan.)"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from small_networks import convolution_network, ready, two_way_network

from ellc.codegen.blocks.access import Access, Buffer
from ellc.codegen.blocks.calls import BufferArg, KernelCall, Options
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.resolve import resolve
from ellc.codegen.planning.plan import Plan, Step
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.planning.verify_plan import cell_elements, verify_plan
from ellc.ir.builder import GraphBuilder
from ellc.ir.errors import InternalError
from ellc.ir.graph import Graph
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.pointwise import Add, Sigmoid
from ellc.ir.ops.shape import Concat, Slice, Transpose
from ellc.ir.types import DType, Padding, TensorType


def joined_network() -> Graph:
    """Concatenated and sliced results of two branches; borders, views, results in place."""
    rng = np.random.default_rng(1)
    b = GraphBuilder("joined")
    x = b.input("x", TensorType(DType.F32, (1, 6, 6, 4)))
    filters = b.constant(rng.normal(size=(4, 3, 3, 4)).astype(np.float32))
    first = b.add(Sigmoid(), b.add(Conv2D(padding=Padding.same(1)), x, filters))
    second = b.add(Conv2D(padding=Padding.same(1)), first, filters)
    both = b.add(Concat(3), first, second)
    part = b.add(Slice((0, 0, 0, 2), (1, 6, 6, 4), (1, 1, 1, 1)), both)
    b.output("y", b.add(Add(), part, first))
    b.output("turned", b.add(Transpose((0, 2, 1, 3)), both))
    return b.build()


def image_network(side: int) -> Graph:
    """Borders, a view and results in place, with images of any size."""
    b = GraphBuilder("image")
    filters = b.constant(np.ones((16, 3, 3, 16), np.float32))
    x = b.add(Sigmoid(), b.input("x", TensorType(DType.F32, (1, side, side, 16))))
    first = b.add(Conv2D(padding=Padding.same(1)), x, filters)
    both = b.add(Concat(3), first, b.add(Sigmoid(), x))
    b.output("y", b.add(Conv2D(padding=Padding.same(1)), b.add(Add(), first, x), filters))
    b.output("z", b.add(Slice((0, 0, 0, 8), (1, side, side, 16), (1, 1, 1, 1)), both))
    return b.build()


def small_image() -> Graph:
    return image_network(5)


@pytest.fixture(params=[convolution_network, two_way_network, joined_network, small_image])
def plan(request: pytest.FixtureRequest) -> Plan:
    return make_plan(ready(request.param()), resolve("host"), Options(), "t")


def pointers(step: Step) -> Iterator[tuple[int, BufferArg]]:
    """Arguments that point to buffers, with their positions."""
    for index, arg in enumerate(step.call.args):
        if isinstance(arg, BufferArg):
            yield index, arg


def test_following_takes_little_beside_the_arena() -> None:
    made = make_plan(ready(image_network(512)), resolve("host"), Options(), "t")
    tracemalloc.start()
    try:
        verify_plan(made)
        assert tracemalloc.get_traced_memory()[1] < made.arena.arena_bytes / 10
    finally:
        tracemalloc.stop()


def elements(access: Access, trips: int) -> set[int]:
    """The offsets of all elements of an access, for all trips."""
    axes = (*zip(access.shape, access.strides, strict=True), (trips, access.trip))
    places = np.array([access.offset])
    for extent, stride in axes:
        places = np.add.outer(places, np.arange(extent) * stride)
    return set(places.ravel().tolist())


def test_accesses_are_whole_cells() -> None:
    rng, sizes = np.random.default_rng(5), set()
    for _ in range(300):
        inner, scale = int(rng.integers(1, 4)), int(rng.choice([1, 2, 4]))
        accesses = []
        for _ in range(rng.integers(1, 4)):
            shape = tuple(rng.integers(1, 4, 3).tolist())
            strides = (*(scale * rng.integers(1, 9, 2)).tolist(), inner)
            offset, trip = (scale * rng.integers(0, 5, 2)).tolist()
            if rng.integers(2):  # with a row of several elements
                shape, strides = (*shape[:2], scale), (*strides[:2], 1)
            where = Buffer("b", "arena", 4)
            accesses.append(Access(where, Elem.F32, shape, strides, offset, trip=trip))
        cell = cell_elements(480, accesses)
        sizes.add(cell)
        for access in accesses:
            found = elements(access, 3)
            whole = {at // cell * cell + i for at in found for i in range(cell)}
            assert found == whole, (cell, access)
    assert sizes >= {1, 2, 4}


def with_argument(plan: Plan, number: int, place: int, buffer: Buffer, offset: int = 0) -> Plan:
    """The plan in which one pointer points to something else."""
    step = plan.steps[number]
    args = list(step.call.args)
    args[place] = BufferArg(buffer, offset)
    call: KernelCall = replace(step.call, args=tuple(args))
    steps = list(plan.steps)
    steps[number] = replace(step, call=call)
    return replace(plan, steps=tuple(steps))


def test_every_step_is_needed(plan: Plan) -> None:
    for index, step in enumerate(plan.steps):
        without = replace(plan, steps=plan.steps[:index] + plan.steps[index + 1 :])
        with pytest.raises(InternalError):
            verify_plan(without)
            pytest.fail(f"the verifier does not notice that step {step.name} is missing")


def test_what_init_writes_is_needed(plan: Plan) -> None:
    for index in range(len(plan.once)):
        with pytest.raises(InternalError, match=r"border|nothing"):
            verify_plan(replace(plan, once=plan.once[:index] + plan.once[index + 1 :]))


def test_a_reader_comes_after_its_writer(plan: Plan) -> None:
    with pytest.raises(InternalError):
        verify_plan(replace(plan, steps=plan.steps[::-1]))


def test_buffers_that_live_together_share_no_bytes(plan: Plan) -> None:
    uses: dict[str, list[int]] = {}
    for index, step in enumerate(plan.steps):
        for _, arg in pointers(step):
            uses.setdefault(arg.buffer.id, []).append(index)
    for state, _ in enumerate(plan.graph.states):
        uses[f"state{state}"] = [-1, len(plan.steps)]
    for a, b in combinations(plan.arena.offsets, 2):
        if max(uses[a][0], uses[b][0]) > min(uses[a][-1], uses[b][-1]):
            continue
        offsets = {**plan.arena.offsets, a: plan.arena.offsets[b]}
        with pytest.raises(InternalError):
            verify_plan(replace(plan, arena=replace(plan.arena, offsets=offsets)))
            pytest.fail(f"the verifier does not notice that {a} and {b} share bytes")


def test_no_pointer_leaves_its_buffer_or_points_to_nothing(plan: Plan) -> None:
    for number, step in enumerate(plan.steps):
        for place, arg in pointers(step):
            end = arg.buffer.bytes
            for buffer, offset in ((arg.buffer, end), (Buffer("weights", "arena", 0), 0)):
                with pytest.raises(InternalError, match="past the end"):
                    verify_plan(with_argument(plan, number, place, buffer, offset))


def test_a_slot_has_a_writer(plan: Plan) -> None:
    idle = Buffer("idle", "arena", 64)
    arena = replace(plan.arena, offsets={**plan.arena.offsets, "idle": plan.arena.arena_bytes})
    with pytest.raises(InternalError, match="idle, which no step writes"):
        verify_plan(replace(plan, arena=arena, buffers={**plan.buffers, "idle": idle}))


def test_an_operand_is_what_its_value_s_kernel_wrote(plan: Plan) -> None:
    """Two values exchange their buffers, while the pointers of kernels stay the same."""
    places = {v: a for v, a in plan.accesses.items() if a.buffer.kind == "arena"}
    for value, other in combinations(places, 2):
        a, b = places[value], places[other]
        if a.shape != b.shape or a.buffer == b.buffer or {value, other} & plan.viewed:
            continue
        with pytest.raises(InternalError):
            verify_plan(replace(plan, accesses={**plan.accesses, value: b, other: a}))
