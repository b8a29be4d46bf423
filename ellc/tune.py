"""Measures the candidate kernels of a network's layers for a tuning file.

Every layer is measured inside the network, so that its operands and the contents of the caches are
as in real use. The network is built several times: the first build has the first candidate of every
layer, the second build the second candidate, and so on. A layer without a further candidate keeps
its first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ellc import __version__
from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.target import Target
from ellc.codegen.measure.profiling import time_steps
from ellc.codegen.planning.plan import Plan, Step
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.toolchain.emulate import runs_directly
from ellc.explain.cycle_tool import VARIABLE, modelled_cycles
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.progress import Progress, silent
from ellc.tuning import Entry

_ROUNDS = 5
"""The number of rounds. In each round all builds are measured in turn, so that a phase in which the
machine is slower affects all builds equally."""
_HERE = "median on this machine, builds in turn, one thread"
_MODELLED = f"modelled by {VARIABLE}, the network's second call, one thread"


@dataclass(frozen=True, slots=True)
class MeasuredKernel:
    """The time of one candidate of one layer. Without tuning, a layer uses its first candidate."""

    layer: str
    source: tuple[str, ...]
    kernel: str
    time: float


def measure(
    graph: Graph, target: Target, limit_ms: int = 1000, progress: Progress = silent
) -> tuple[MeasuredKernel, ...]:
    """Measure all candidates of every layer that has more than one.

    `graph` must have been through the passes. If the target's code runs on this machine, times are
    nanoseconds and each build is measured for `limit_ms`. Otherwise times are cycles from the cycle
    tool. Raises `EllcError` E761 if neither is possible.
    """
    plans = list(_builds(graph, target))
    if not plans:
        return ()
    progress("measuring", 0, 0)
    times = _here(plans, limit_ms) if runs_directly(target) else _modelled(plans, progress)
    by_candidate: dict[tuple[str, str], list[MeasuredKernel]] = {}
    for plan, of_steps in zip(plans, times, strict=True):
        for step, time in zip(plan.steps, of_steps, strict=True):
            if step.layer:
                kernel = step.predictions[0].name
                candidate = MeasuredKernel(step.layer, step.source, kernel, max(time, 1e-3))
                by_candidate.setdefault((step.layer, kernel), []).append(candidate)
    # A candidate is measured several times if several layers are equal, or if its layer has fewer
    # candidates than there are builds. The shortest time counts.
    return tuple(min(some, key=lambda m: m.time) for some in by_candidate.values())


def fastest(measured: Iterable[MeasuredKernel], target: Target) -> tuple[Entry, ...]:
    """For each layer, the entry of its fastest kernel; ties go to the default kernel."""
    best: dict[str, MeasuredKernel] = {}
    for candidate in measured:
        if candidate.layer not in best or candidate.time < best[candidate.layer].time:
            best[candidate.layer] = candidate
    unit, how = ("ns", _HERE) if runs_directly(target) else ("cycles", _MODELLED)
    core = target.core.name, target.arch, __version__
    return tuple(Entry(m.layer, *core, m.kernel, m.time, unit, how) for m in best.values())


def _builds(graph: Graph, target: Target) -> Iterator[Plan]:
    """One plan for each position in the lists of candidates; no plans if no layer has a choice."""
    first = make_plan(graph, target, Options(), "tune0")
    tunable = [step for step in first.steps if len(step.predictions) > 1]
    if not tunable:
        return
    yield first
    for position in range(1, max(len(step.predictions) for step in tunable)):
        asked = tuple(
            (step.values[0], step.predictions[position].name)
            for step in tunable
            if position < len(step.predictions)
        )
        yield make_plan(graph, target, Options(kernels=asked), f"tune{position}")


def _here(plans: Sequence[Plan], limit_ms: int) -> list[list[float]]:
    named = [(f"tune{number}", plan) for number, plan in enumerate(plans)]
    times = time_steps(named, plans[0].target, limit_ms, _ROUNDS)
    return [[step.median_ns for step in steps] for steps in times.plans]


def _modelled(plans: Sequence[Plan], progress: Progress) -> list[list[float]]:
    times = []
    for number, plan in enumerate(plans):
        progress("measuring", number, len(plans))
        modelled = modelled_cycles(plan, f"tune{number}")
        if modelled.missing:
            raise EllcError(
                "kernels cannot be measured for this target",
                code="E761",
                where=plan.target.name,
                hint=f"{modelled.missing}; or run `ellc tune --target host` on the device",
            )
        times.append(_of_steps(plan.steps, modelled.by_kernel))
    return times


def _of_steps(steps: Sequence[Step], by_kernel: Mapping[str, float]) -> list[float]:
    """Cycles of each step; those of a kernel are divided equally among the steps that call it."""
    calls: dict[str, int] = {}
    for step in steps:
        calls[step.call.kernel.name] = calls.get(step.call.kernel.name, 0) + 1
    return [by_kernel.get(k, 0.0) / calls[k] for k in (step.call.kernel.name for step in steps)]
