"""Predicts how many threads a network can use, and how finely to divide steps among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from ellc.codegen.blocks.access import stored_shape
from ellc.codegen.blocks.calls import Options
from ellc.codegen.kir.types import Elem
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.plan import Plan, Step
from ellc.codegen.planning.ram_limit import plan_within
from ellc.codegen.planning.step_costs import BARRIER_CYCLES, StepCost, grain, step_costs
from ellc.codegen.planning.tuning import NO_TUNING, TunedKernels
from ellc.ir.graph import Graph, Node

POOL_BYTES = 1024
"""The memory of a network's threads, after the arena: ELLC_POOL_BYTES in runtime_c/ellc_pool.h."""
_WORTH_A_THREAD = 0.95
"""More threads are worthwhile only if they cut the time of a call to less than this fraction. It is
a policy, not a measurement: a core that gains less is better left to other programs."""
_WORTH_DIVIDING = 0.7
"""The same for dividing at all. Where cores are far apart, handing data from one to another costs
more than is predicted: on two cores of an EPYC, ResNet8, with a predicted gain of 1.27, took 0.8 of
the time while the cores were neighbours, and 1.9 times as long while they were not. Networks with a
predicted gain of 1.5 gained from the second core wherever it was."""


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
    of the target's cores, and 1 if the target has no operating system. The network is planned once:
    for all cores, unless it seems to have too little to do for more than one. Kernels that are cut
    for more threads than take part give the same results. The memory of threads counts for
    `options.max_ram_bytes`.
    """
    most = threads or target.default_threads
    if threads is None and most > 1 and is_small(graph, target):
        most = 1
    chosen = replace(options, threads=most)
    other_bytes = POOL_BYTES if most > 1 else 0
    plan = plan_within(graph, target, chosen, prefix, tuned, other_bytes=other_bytes)
    useful = most if threads else useful_threads(plan.steps, target, most)
    return replace(plan, options=replace(plan.options, threads=useful))


def is_small(graph: Graph, target: Target) -> bool:
    """Whether no division of a network's nodes is predicted to be worthwhile.

    This is judged before kernels are chosen, from multiply-adds and bytes alone.
    """
    core, most = target.core, target.default_threads
    costs = [_cost_of_node(graph, node, target) for node in graph.nodes]
    alone = sum(cost.cycles(core) for cost in costs)
    together = sum(
        min(cost.cycles(core), cost.cycles(core, most) + BARRIER_CYCLES) for cost in costs
    )
    return together >= alone * _WORTH_A_THREAD


def _cost_of_node(graph: Graph, node: Node, target: Target) -> StepCost:
    inputs, outputs = graph.node_types(node)
    moved = sum(prod(stored_shape(t)) * Elem.of(t.dtype).bytes for t in (*inputs, *outputs))
    macs = node.op.macs(inputs, outputs) / target.lanes(4)
    vectors = moved / target.vector_bytes
    return StepCost(_SLOTS_OF_MACS * macs + _SLOTS_OF_A_VECTOR * vectors, moved)


_SLOTS_OF_MACS, _SLOTS_OF_A_VECTOR = 1.3, 2.0
"""Typical issue slots of a vector of multiply-adds, and of a vector of operands or results."""


def useful_threads(steps: Sequence[Step], target: Target, most: int) -> int:
    """The number of threads, up to `most`, beyond which a call is predicted to be hardly faster.

    If several threads compute a step, the cost of a barrier is added to its predicted time. The
    steps of a loop that one thread runs alone are not divided.
    """
    costs = step_costs(steps, target)
    times = {n: _time(steps, costs, target, n) for n in range(1, most + 1)}
    best = 1
    for n in range(2, most + 1):
        if times[n] < times[best] * _WORTH_A_THREAD:
            best = n
    return best if times[best] < times[1] * _WORTH_DIVIDING else 1


def grains(plan: Plan, threads: int) -> tuple[int, ...]:
    """For each step, how many elements of its extent one of the `threads` computes at a time.

    These elements take at least as long as a barrier. A step that is predicted not to become faster
    is not divided: one that takes less time than two barriers, or that waits for memory.
    """
    if threads == 1:
        return tuple(max(1, step.call.extent) for step in plan.steps)
    costs = step_costs(plan.steps, plan.target)
    return tuple(
        grain(step.call.extent, cost, plan.target.core, threads)
        for step, cost in zip(plan.steps, costs, strict=True)
    )


def _time(steps: Sequence[Step], costs: Sequence[StepCost], target: Target, threads: int) -> float:
    """The predicted cycles of a call."""
    core, total = target.core, 0.0
    for step, cost in zip(steps, costs, strict=True):
        extent = step.call.extent
        parts = min(threads, -(-extent // grain(extent, cost, core, threads))) if extent else 1
        trips = 1 if step.repeat is None else step.repeat.trips
        if parts < 2 or (step.repeat is not None and step.repeat.alone):
            total += trips * cost.cycles(core)
        else:
            total += trips * (cost.cycles(core, parts) + BARRIER_CYCLES)
    return total
