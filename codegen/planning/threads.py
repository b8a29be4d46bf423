"""Predicts how many threads a network can use, and how finely to divide steps among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ellc.codegen.blocks.calls import BufferArg, Options
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.loops import MACS_WORTH_A_BARRIER
from ellc.codegen.planning.plan import Plan, Step
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.planning.tuning import NO_TUNING, TunedKernels
from ellc.ir.graph import Graph

_WORTH_A_THREAD = 0.95
"""More threads are worthwhile only if they cut the time of a call to less than this fraction. It is
a policy, not a measurement: a core that gains less is better left to other programs."""


def plan_for_threads(
    graph: Graph,
    target: Target,
    options: Options,
    prefix: str,
    tuned: TunedKernels = NO_TUNING,
    *,
    threads: int | None = None,
) -> Plan:
    """Like `make_plan`, for `threads` threads.

    If `threads` is None, the plan is for as many threads as the network can use: at most the number
    of the target's cores, and 1 if the target has no operating system.
    """
    asked = threads or target.default_threads
    plan = make_plan(graph, target, replace(options, threads=asked), prefix, tuned)
    useful = asked if threads else useful_threads(plan.steps, asked)
    if useful == asked:
        return plan
    return make_plan(graph, target, replace(options, threads=useful), prefix, tuned)


def useful_threads(steps: Sequence[Step], most: int) -> int:
    """The number of threads, up to `most`, beyond which a call is predicted to be hardly faster.

    The predicted time of a step is its work divided by the number of threads that get a part of it.
    If several threads do, the cost of a barrier is added. The steps of a loop that one thread runs
    alone are not divided.
    """
    works = step_works(steps)
    times = {n: sum(map(_time, steps, works, [n] * len(steps))) for n in range(1, most + 1)}
    best = 1
    for n in range(2, most + 1):
        if times[n] < times[best] * _WORTH_A_THREAD:
            best = n
    return best


def grains(steps: Sequence[Step]) -> tuple[int, ...]:
    """For each step, how many elements of its extent a thread computes at a time.

    These elements take at least as long as a barrier. A step that takes less time than two barriers
    is not divided, because a second thread would not make it faster.
    """
    works = step_works(steps)
    return tuple(_grain(step.call.extent, work) for step, work in zip(steps, works, strict=True))


def step_works(steps: Sequence[Step]) -> tuple[int, ...]:
    """The work of one trip of each step, as a number of multiply-adds.

    It is the number of moved bytes if this is larger, and the size of the step's largest buffer if
    both are unknown. If a node, or a part of a chain's node, has several steps, each is assumed to
    have all of its work, which is recorded at the last step.
    """
    works: list[int] = []
    following: Step | None = None
    for step in reversed(steps):
        of_node = step
        if step.values or step.part:
            following = step
        elif following and (step.op, step.source) == (following.op, following.source):
            of_node = following
        work = max(of_node.macs, of_node.moved_bytes)
        trips = 1 if step.repeat is None else step.repeat.trips
        works.append(work // trips or _buffer_bytes(step))
    return tuple(reversed(works))


def _buffer_bytes(step: Step) -> int:
    buffers = {a.buffer.id: a.buffer for a in step.call.placed_args if isinstance(a, BufferArg)}
    return max((buffer.bytes for buffer in buffers.values()), default=0)


def _grain(extent: int, work: int) -> int:
    if work < 2 * MACS_WORTH_A_BARRIER:
        return max(1, extent)
    return max(1, min(extent, -(-extent * MACS_WORTH_A_BARRIER // work)))


def _time(step: Step, work: int, threads: int) -> float:
    grain = _grain(step.call.extent, work)
    parts = min(threads, -(-step.call.extent // grain))
    if parts < 2 or (step.repeat is not None and step.repeat.alone):
        return work
    return work / parts + MACS_WORTH_A_BARRIER
