"""Run a plan with the kernel interpreter, which finds every access outside of a buffer."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from itertools import groupby

import numpy as np

from ellc.codegen.blocks.calls import BufferArg, KernelCall, PlacedArg
from ellc.codegen.blocks.weights import stored_array
from ellc.codegen.kir.interp import Pointer, Program
from ellc.codegen.kir.text import print_kernel
from ellc.codegen.measure.testing import from_bytes, to_bytes
from ellc.codegen.planning.plan import Plan
from ellc.ir.types import Array

POISON = 0xA5


def run_plan(plan: Plan, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """The outputs of a call. Unlike in the arena, buffers do not share bytes."""
    graph = plan.graph
    memory = {b.id: np.full(b.bytes, POISON, np.uint8) for b in plan.buffers.values()}
    for index, (array, type_) in enumerate(zip(inputs, graph.input_types(), strict=True)):
        memory[f"input{index}"] = np.frombuffer(to_bytes(array, type_), np.uint8)
    for index, state in enumerate(graph.states):
        start = stored_array(graph.weights[state.key], graph.types[state.current].dtype)
        memory[f"state{index}"] = np.frombuffer(start.tobytes(), np.uint8).copy()
    weights = {w.key: _bytes(w.array()) for w, _ in plan.weights}
    for step in plan.once:
        _call(step.call, 0, memory, weights)
    for repeat, steps in groupby(plan.steps, key=lambda step: step.repeat):
        group = tuple(steps)
        for trip in range(1 if repeat is None else repeat.trips):
            for step in group:
                _call(step.call, trip, memory, weights)
    return tuple(
        from_bytes(memory[f"output{i}"].tobytes(), graph.types[port.value])
        for i, port in enumerate(graph.outputs)
    )


def program(plan: Plan) -> Hashable:
    """What `run_plan` uses of a plan, except the graph; equal programs give equal outputs."""
    return (
        tuple(plan.buffers.values()),
        tuple(
            (print_kernel(step.call.kernel), step.call.args, step.call.extent, step.repeat)
            for step in (*plan.once, *plan.steps)
        ),
        len(plan.once),
        tuple((w.key, hashlib.sha256(_bytes(w.array())).digest()) for w, _ in plan.weights),
    )


def _call(call: KernelCall, trip: int, memory: dict[str, Array], weights: dict[str, Array]) -> None:
    pointers = {}
    for param, arg in zip(call.kernel.params, call.placed_args, strict=True):
        array, start = _place(arg, trip, memory, weights)
        size = param.elem.bytes
        assert start % size == 0
        elements = array[: len(array) // size * size].view(param.elem.numpy)
        pointers[param.name] = Pointer(elements, start // size)
    # A kernel must give the same result for any division of its range, so run it in two parts.
    middle = call.extent // 2
    program = Program(call.kernel)
    program.run(pointers, 0, middle)
    program.run(pointers, middle, call.extent)


def _place(
    arg: PlacedArg, trip: int, memory: dict[str, Array], weights: dict[str, Array]
) -> tuple[Array, int]:
    if isinstance(arg, BufferArg):
        return memory[arg.buffer.id], arg.offset_bytes + trip * arg.trip_bytes
    return weights[arg.weight.key], arg.offset_bytes


def _bytes(array: Array) -> Array:
    return np.frombuffer(np.asarray(array, order="C").tobytes(), np.uint8)
