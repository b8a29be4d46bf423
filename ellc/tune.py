"""Measures the candidate kernels of a network's layers for a tuning file.

Every layer is measured inside the network, so that its operands and the contents of the caches are
as in real use. The network is built several times: the first build has the first candidate of every
layer, the second build the second candidate, and so on. A layer without a further candidate keeps
its first. The builds are measured in groups. After each group, its times can be stored in a journal
(`ellc.journal`), from which an interrupted run continues.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from ellc import __version__
from ellc.codegen.blocks.calls import Options
from ellc.codegen.blocks.candidates import Prediction
from ellc.codegen.machine.target import Target
from ellc.codegen.measure.profiling import OtherMachine, time_steps
from ellc.codegen.planning.plan import Plan, Step
from ellc.codegen.planning.planner import make_plan
from ellc.codegen.toolchain.system_root import runs_directly
from ellc.explain.cycle_tool import VARIABLE, modelled_cycles
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.journal import INVALID_LINE, Lines, no_journal, open_lines
from ellc.progress import Progress, silent
from ellc.tuning import Entry

USUAL_CANDIDATES = 8
_ROUNDS = 5
"""The number of rounds. In each round all builds of a group are measured in turn, so that a phase
in which the machine is slower affects all of them equally."""
_TIMED_TOGETHER = 4
"""The builds of a group whose times are measured. One of them is the first build, with which the
others are compared: between two groups the machine may change its speed."""
_COMMAND = "tune"
Times = Mapping[tuple[str, str], float]
"""Times by layer and kernel."""


@dataclass(frozen=True, slots=True)
class Method:
    """A way to measure builds: on this machine, on a board, or with the cycle tool.

    `unit` and `how` describe the results. `times` maps pairs (prefix, plan) to the times of the
    plans' steps; `together` builds are measured at the same time.
    """

    unit: str
    how: str
    times: Callable[[Sequence[tuple[str, Plan]]], list[list[float]]]
    together: int = _TIMED_TOGETHER

    def groups(self, builds: int) -> list[tuple[int, ...]]:
        """The groups of `builds` builds, by their numbers; 0 is in every group of several."""
        if self.together < 2:
            return [(number,) for number in range(builds)]
        rest = self.together - 1
        return [(0, *range(first, min(builds, first + rest))) for first in range(1, builds, rest)]


@dataclass(frozen=True, slots=True)
class MeasuredKernel:
    """The time of one candidate of one layer. Without tuning, a layer uses its first candidate."""

    layer: str
    source: tuple[str, ...]
    kernel: str
    time: float


def method_here(target: Target, limit_ms: int) -> Method:
    """Times on this machine, each build for `limit_ms`, or else cycles from the cycle tool."""
    if not runs_directly(target):
        how = f"modelled by {VARIABLE}, the network's second call, one thread"
        return Method("cycles", how, _modelled, together=1)
    how = "median on this machine, builds in turn, one thread"
    return Method("ns", how, lambda plans: _timed(plans, target, limit_ms, None))


def method_on_board(target: Target, limit_ms: int, board: str, other: OtherMachine) -> Method:
    """Times on a board, with the name `board`."""
    how = f"median on {board}, builds in turn, one thread"
    return Method("ns", how, lambda plans: _timed(plans, target, limit_ms, other))


@dataclass(frozen=True)
class Tuned:
    """The candidates of a network's layers, the most promising first, and a build for each place.

    `names` has the candidates of every layer that has several: the planner's choice, the cheapest
    one of every other family, then the others in the order of their predicted costs.
    """

    graph: Graph
    target: Target
    names: Mapping[str, tuple[str, ...]]
    first: Plan

    @property
    def builds(self) -> int:
        """The number of builds."""
        return max(map(len, self.names.values()), default=0)

    def plan(self, number: int) -> Plan:
        """The build in which every layer has its candidate `number`, or else its first."""
        asked = tuple(
            (step.values[0], self.names[step.layer][number])
            for step in self.first.steps
            if number < len(self.names.get(step.layer, ()))
        )
        options = Options(kernels=asked, depth_first=False)
        return make_plan(self.graph, self.target, options, f"tune{number}")

    def identity(self, method: Method) -> str:
        """A text that identifies all that the measured times depend on."""
        target = self.target
        machine = (target.name, target.triple, target.core.name, target.llvm_features)
        what = (__version__, machine, method.unit, method.how, sorted(self.names.items()))
        return hashlib.sha256(repr(what).encode()).hexdigest()


def tuned(graph: Graph, target: Target, most: int = USUAL_CANDIDATES) -> Tuned:
    """The candidates to measure, at most `most` for each layer.

    `graph` must have been through the passes.
    """
    first = make_plan(graph, target, Options(listed=most, depth_first=False), "tune0")
    names: dict[str, tuple[str, ...]] = {}
    for step in first.steps:
        if step.layer and len(step.predictions) > 1:
            names.setdefault(step.layer, promising(step.predictions, most))
    return Tuned(graph, target, names, first)


def promising(predictions: Sequence[Prediction], most: int) -> tuple[str, ...]:
    """The chosen candidate, the cheapest of every other family, then all others by their cost."""
    chosen, *others = predictions
    others.sort(key=lambda p: p.known_cycles)
    families = {p.kernel: p for p in reversed(others) if p.kernel != chosen.kernel}
    heads = sorted(families.values(), key=lambda p: p.known_cycles)
    return tuple(p.name for p in dict.fromkeys((chosen, *heads, *others)))[:most]


def measure(
    what: Tuned, method: Method, journal: Path | None = None, progress: Progress = silent
) -> tuple[MeasuredKernel, ...]:
    """Measure all candidates. Times that the journal has are not measured again.

    Raises `EllcError`: E761 if there is no way to measure, E775 or E703 for the journal.
    """
    groups = method.groups(what.builds)
    sources = {step.layer: step.source for step in reversed(what.first.steps) if step.layer}
    with _opened(journal, what.identity(method)) as lines:
        known = dict(_read(journal, lines, groups)) if lines and journal else {}
        for index, group in enumerate(groups):
            progress("measuring", index, len(groups))
            if index not in known:
                known[index] = _of_group(what, method, group)
                if lines:
                    lines.add(_document(index, known[index]))
    return tuple(
        MeasuredKernel(layer, sources[layer], kernel, time)
        for (layer, kernel), time in _compared(what, [known[i] for i in range(len(groups))]).items()
    )


def fastest(
    measured: Iterable[MeasuredKernel], target: Target, method: Method
) -> tuple[Entry, ...]:
    """For each layer, the entry of its fastest kernel; ties go to the default kernel."""
    best: dict[str, MeasuredKernel] = {}
    for candidate in measured:
        if candidate.layer not in best or candidate.time < best[candidate.layer].time:
            best[candidate.layer] = candidate
    core = target.core.name, target.arch, __version__
    found = (method.unit, method.how)
    return tuple(Entry(m.layer, *core, m.kernel, m.time, *found) for m in best.values())


def _of_group(what: Tuned, method: Method, group: Sequence[int]) -> dict[tuple[str, str], float]:
    """The shortest time of each candidate in a group of builds."""
    plans = [(f"tune{number}", what.plan(number)) for number in group]
    found: dict[tuple[str, str], float] = {}
    for (_, plan), of_steps in zip(plans, method.times(plans), strict=True):
        for key, time in of_layers(what, plan, of_steps).items():
            found[key] = min(found.get(key, math.inf), time)
    return found


def of_layers(what: Tuned, plan: Plan, of_steps: Sequence[float]) -> dict[tuple[str, str], float]:
    """The time of each layer's candidate in a build, from the times of its steps.

    A candidate may take several steps, of which only the last names the layer. If layers are equal,
    the shortest time counts.
    """
    found: dict[tuple[str, str], float] = {}
    spent = 0.0
    for step, time in zip(plan.steps, of_steps, strict=True):
        spent += time
        if step.layer in what.names:
            key = step.layer, step.predictions[0].name
            found[key] = min(found.get(key, math.inf), max(spent, 1e-3))
        if step.values:
            spent = 0.0
    return found


def _compared(what: Tuned, groups: Sequence[Times]) -> dict[tuple[str, str], float]:
    """The times of all groups, as if the layers' first candidates took equally long in each."""
    result: dict[tuple[str, str], float] = {}
    for layer, names in what.names.items():
        usual = [times[layer, names[0]] for times in groups if (layer, names[0]) in times]
        result[layer, names[0]] = typical = statistics.median(usual)
        for name in names[1:]:
            scaled = [
                times[layer, name] * typical / times.get((layer, names[0]), typical)
                for times in groups
                if (layer, name) in times
            ]
            if scaled:
                result[layer, name] = min(scaled)
    return result


# --- the journal ---------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path | None, identity: str) -> Iterator[Lines | None]:
    with open_lines(path, _COMMAND, identity) if path else nullcontext() as lines:
        yield lines


def _document(index: int, times: Times) -> dict[str, object]:
    return {"group": index, "times": [[*key, time] for key, time in times.items()]}


def _read(
    path: Path, lines: Lines, groups: Sequence[Sequence[int]]
) -> Iterator[tuple[int, dict[tuple[str, str], float]]]:
    """The groups that a journal has, each with its times."""
    for line in lines.known:
        try:
            document = json.loads(line)
            index = range(len(groups))[int(document["group"])]
            times = {(str(a), str(b)): float(time) for a, b, time in document["times"]}
            if not all(0 < time < math.inf for time in times.values()):
                raise ValueError("a time is not a number above 0")
        except INVALID_LINE as error:
            why = f"one of its lines has no times: {error}"
            raise no_journal(path, _COMMAND, why) from error
        yield index, times


# --- ways to measure -----------------------------------------------------------------------------


def _timed(
    plans: Sequence[tuple[str, Plan]],
    target: Target,
    limit_ms: int,
    other: OtherMachine | None,
) -> list[list[float]]:
    times = time_steps(plans, target, limit_ms, _ROUNDS, other)
    return [[step.median_ns for step in steps] for steps in times.plans]


def _modelled(plans: Sequence[tuple[str, Plan]]) -> list[list[float]]:
    times = []
    for prefix, plan in plans:
        modelled = modelled_cycles(plan, prefix)
        if modelled.missing:
            raise EllcError(
                "kernels cannot be measured for this target",
                code="E761",
                where=plan.target.name,
                hint=f"{modelled.missing}; measure on a board with --ssh, or run `ellc tune "
                "--target host` on the device",
            )
        times.append(of_steps(plan.steps, modelled.by_kernel))
    return times


def of_steps(steps: Sequence[Step], by_kernel: Mapping[str, float]) -> list[float]:
    """Cycles of each step; those of a kernel are divided equally among the steps that call it."""
    calls: dict[str, int] = {}
    for step in steps:
        calls[step.call.kernel.name] = calls.get(step.call.kernel.name, 0) + 1
    return [by_kernel.get(k, 0.0) / calls[k] for k in (step.call.kernel.name for step in steps)]
