"""The cost of each node: measured if the code runs on this machine, else modelled or predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ellc.codegen.measure.profiling import Times, time_steps
from ellc.codegen.toolchain.system_root import runs_directly
from ellc.explain.cost_level import has_cycles
from ellc.explain.study import Study
from ellc.profile.bounds import CORTEX_A53, Bounds
from ellc.profile.figures import Measure

_NS_PER_US = 1e3


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs of the nodes and of a whole call, in the unit of `measure`.

    `by_node` has the name of a node's first result as its key.
    """

    measure: Measure
    by_node: Mapping[str, float]
    whole: float
    bounds: Bounds
    notes: tuple[str, ...] = ()


def costs(study: Study, limit_ms: int) -> Costs:
    """The most exact costs that this machine can provide for the target of the study.

    Layers are measured for `limit_ms`. Raises `EllcError` if the measuring program or the cycle
    tool fails.
    """
    if runs_directly(study.target):
        return _measured(study, limit_ms)
    if has_cycles(study):
        by_node = {node.value: study.node_cycles(node) for node in study.nodes}
        return Costs("cycles", by_node, study.modelled.whole_cycles, CORTEX_A53)
    lanes = study.target.lanes(4)
    return Costs(
        "slots",
        study.node_slots,
        study.all_slots,
        Bounds({"float": float(lanes)}),
        (study.modelled.missing,),
    )


def _measured(study: Study, limit_ms: int) -> Costs:
    study.progress("measuring layers", 0, 0)
    return measured(study, time_steps([(study.name, study.plan)], study.target, limit_ms))


def measured(study: Study, times: Times) -> Costs:
    """Add up the costs of the nodes from the measured times of the plan's steps."""
    (steps,), (whole_ns,) = times.plans, times.calm_ns
    by_step = {
        step.name: time.calm_ns / _NS_PER_US
        for step, time in zip(study.plan.steps, steps, strict=True)
    }
    return Costs(
        "time",
        {node.value: sum(by_step[step.name] for step in node.steps) for node in study.nodes},
        whole_ns / _NS_PER_US,
        Bounds(
            {
                "float": times.peak_macs_per_ns * _NS_PER_US,
                "byte": times.byte_macs_per_ns * _NS_PER_US,
            },
            times.stream_bytes_per_ns * _NS_PER_US,
        ),
    )
