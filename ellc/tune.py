"""Measuring the candidates of a network's layers, for a tuning file.

Every layer is measured inside the network, so that its operands lie where they will and the caches
hold what they will. The network is compiled once for each place in the longest list of candidates:
the second build has the second candidate of every layer, and so on.
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
"""Times that the builds are measured in turn: a machine that slows down slows all of them."""
_HERE = "median on this machine, builds in turn, one thread"
_MODELLED = f"modelled by {VARIABLE}, the network's second call, one thread"


@dataclass(frozen=True, slots=True)
class Measured:
    """One candidate of one layer; the layer's first one is what is taken without a tuning file."""

    layer: str
    source: tuple[str, ...]
    kernel: str
    time: float


def measure(
    graph: Graph, target: Target, limit_ms: int = 1000, progress: Progress = silent
) -> tuple[Measured, ...]:
    """All candidates that the plan lists, for every layer that has several.

    `graph` has been through the passes. The time is in nanoseconds here, `limit_ms` for each build,
    and in modelled cycles for a core that the cycle tool knows. Raises `EllcError`: E761 where
    neither is possible.
    """
    plans = list(_builds(graph, target))
    if not plans:
        return ()
    progress("measuring", 0, 0)
    times = _here(plans, limit_ms) if runs_directly(target) else _modelled(plans, progress)
    found: dict[tuple[str, str], list[Measured]] = {}
    for plan, of_steps in zip(plans, times, strict=True):
        for step, time in zip(plan.steps, of_steps, strict=True):
            if step.layer:
                kernel = step.predictions[0].name
                made = Measured(step.layer, step.source, kernel, max(time, 1e-3))
                found.setdefault((step.layer, kernel), []).append(made)
    # Equal layers at several places, and builds in which a layer has no further candidate.
    return tuple(min(some, key=lambda m: m.time) for some in found.values())


def fastest(measured: Iterable[Measured], target: Target) -> tuple[Entry, ...]:
    """The entry of each layer; ties go to what is taken without it."""
    best: dict[str, Measured] = {}
    for one in measured:
        if one.layer not in best or one.time < best[one.layer].time:
            best[one.layer] = one
    unit, how = ("ns", _HERE) if runs_directly(target) else ("cycles", _MODELLED)
    core = target.core.name, target.arch, __version__
    return tuple(Entry(m.layer, *core, m.kernel, m.time, unit, how) for m in best.values())


def _builds(graph: Graph, target: Target) -> Iterator[Plan]:
    """A plan for each place in the lists of candidates; none if no layer has two."""
    first = make_plan(graph, target, Options(), "tune0")
    tunable = [step for step in first.steps if len(step.predictions) > 1]
    if not tunable:
        return
    yield first
    for place in range(1, max(len(step.predictions) for step in tunable)):
        asked = tuple(
            (step.values[0], step.predictions[place].name)
            for step in tunable
            if place < len(step.predictions)
        )
        yield make_plan(graph, target, Options(kernels=asked), f"tune{place}")


def _here(plans: Sequence[Plan], limit_ms: int) -> list[list[float]]:
    named = [(f"tune{place}", plan) for place, plan in enumerate(plans)]
    times = time_steps(named, plans[0].target, limit_ms, _ROUNDS)
    return [[step.median_ns for step in steps] for steps in times.plans]


def _modelled(plans: Sequence[Plan], progress: Progress) -> list[list[float]]:
    found = []
    for place, plan in enumerate(plans):
        progress("measuring", place, len(plans))
        modelled = modelled_cycles(plan, f"tune{place}")
        if modelled.missing:
            raise EllcError(
                "there is nothing to measure its kernels with",
                code="E761",
                where=plan.target.name,
                hint=f"{modelled.missing}; without it, run `ellc tune --target host` on the device",
            )
        found.append(_of_steps(plan.steps, modelled.by_kernel))
    return found


def _of_steps(steps: Sequence[Step], by_kernel: Mapping[str, float]) -> list[float]:
    """Cycles of each step; what equal steps of one kernel took is shared out among them."""
    calls: dict[str, int] = {}
    for step in steps:
        calls[step.call.kernel.name] = calls.get(step.call.kernel.name, 0) + 1
    return [by_kernel.get(k, 0.0) / calls[k] for k in (step.call.kernel.name for step in steps)]
