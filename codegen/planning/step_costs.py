"""Predicts how long the steps of a plan take on one thread and on several.

A step issues instructions and moves bytes. The threads share the instructions, but all cores have
one memory: several of them together read it hardly faster than one does. `Core` has the costs of an
issue slot and of a byte, which `tests/benchmarks/step_costs.py` fits to measured steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ellc.codegen.blocks.calls import BufferArg
from ellc.codegen.kir.issue_slots import issue_slots
from ellc.codegen.machine.core import Core
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.plan import Step

BARRIER_CYCLES = 6000.0
"""What it costs to divide a step between threads, in cycles: to hand out the parts, and to wait for
the last one. `tests/benchmarks/threads.py --barrier` measures it on idle cores. On two cores of an
EPYC with AVX-512 it prints 0.6 to 2.1 us for networks of up to 40 million multiply-adds. No board
was measured."""


@dataclass(frozen=True, slots=True)
class StepCost:
    """What a trip of a step does: instructions in issue slots, and bytes moved."""

    slots: float
    moved_bytes: int

    def cycles(self, core: Core, parts: int = 1) -> float:
        """The predicted cycles if so many threads compute equal parts, without a barrier."""
        faster = min(parts, core.shared_speed)
        return self.slots * core.slot_cycles / parts + self.moved_bytes * core.byte_cycles / faster


def step_costs(steps: Sequence[Step], target: Target) -> tuple[StepCost, ...]:
    """The cost of a trip of each step.

    The bytes of a node are recorded at its last step; a step without them is assumed to move its
    largest buffer.
    """
    known: dict[tuple[str, int], float] = {}
    costs = []
    for step in steps:
        call = step.call
        key = call.kernel.name, call.extent
        if key not in known:
            known[key] = issue_slots(call.kernel, call.extent, target)
        trips = 1 if step.repeat is None else step.repeat.trips
        costs.append(StepCost(known[key], step.moved_bytes // trips or _buffer_bytes(step)))
    return tuple(costs)


def has_little_work(steps: Sequence[Step], target: Target) -> bool:
    """Whether the steps of a trip take less time than the barriers between them would."""
    core = target.core
    cycles = sum(cost.cycles(core) for cost in step_costs(steps, target))
    return cycles < len(steps) * BARRIER_CYCLES


def grain(extent: int, cost: StepCost, core: Core, threads: int) -> int:
    """How many elements of its extent a thread computes at a time; all of them if it is alone.

    A part takes at least as long as a barrier. A step is divided only if this is predicted to make
    it faster.
    """
    whole = cost.cycles(core)
    least = max(1, min(extent, -int(-extent * BARRIER_CYCLES // max(whole, 1.0))))
    parts = min(threads, -(-extent // least)) if extent else 1
    if parts < 2 or cost.cycles(core, parts) + BARRIER_CYCLES >= whole:
        return max(1, extent)
    return least


def _buffer_bytes(step: Step) -> int:
    buffers = {a.buffer.id: a.buffer for a in step.call.placed_args if isinstance(a, BufferArg)}
    return max((buffer.bytes for buffer in buffers.values()), default=0)
