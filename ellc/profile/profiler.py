"""Makes a profile from the study of a compilation, the costs of its nodes, and timed phases."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from ellc.codegen.planning.plan import Plan
from ellc.explain.cost_level import result_text
from ellc.explain.names import short_name
from ellc.explain.study import PlannedNode, Study
from ellc.ir.types import DType
from ellc.profile.bounds import Bounds, numbers_of
from ellc.profile.costs import Costs
from ellc.profile.figures import Figures, Kind, Layer, Phase, Profile

VIEW = "view"
"""The kind of the layers without steps, whose results are in the memory of their operands."""


def profile(study: Study, costs: Costs, phases: Sequence[Phase] = (), board: str = "") -> Profile:
    """The profile of a network; `costs` must have been made from `study`."""
    live = live_bytes(study.plan)
    numbers = {step.name: number for number, step in enumerate(study.plan.steps)}
    layers: list[Layer] = []
    for node in study.nodes:
        own = [numbers[step.name] for step in node.steps] or [_next_step(layers)]
        layers.append(_layer(study, costs, node, own, live))
    spent = sum(layer.figures.cost for layer in layers)
    return Profile(
        study.name,
        study.target.name,
        costs.measure,
        costs.whole,
        max(0.0, costs.whole - spent),
        tuple(layers),
        _kinds(layers),
        costs.bounds,
        study.plan.arena.arena_bytes,
        study.plan.weight_bytes,
        live,
        tuple(phases),
        (*study.plan.notes, *costs.notes),
        board,
    )


def live_bytes(plan: Plan) -> tuple[int, ...]:
    """The number of live bytes in the arena at each step of a plan."""
    changes = [0] * (len(plan.steps) + 1)
    for life in plan.arena.lifetimes:
        changes[min(max(0, life.first), len(plan.steps))] += life.bytes
        if life.last < len(plan.steps):
            changes[life.last + 1] -= life.bytes
    return tuple(accumulate(changes[: len(plan.steps)]))


def _next_step(layers: Sequence[Layer]) -> int:
    return layers[-1].first_step + layers[-1].steps if layers else 0


def _layer(
    study: Study, costs: Costs, node: PlannedNode, own: Sequence[int], live: Sequence[int]
) -> Layer:
    """The layer of a node; `own` are the numbers of its steps, or of the step that follows it."""
    kind = node.steps[-1].op if node.steps else VIEW
    cost = costs.by_node[node.value]
    rate = _peak(costs.bounds, kind, study.graph.types[node.value].dtype)
    return Layer(
        node.value,
        short_name(node),
        node.node.source,
        kind,
        node.operator,
        result_text(study, node),
        node.predictions[0].name if node.predictions else "",
        own[0],
        len(node.steps),
        max(
            (live[number] for number in own if number < len(live)),
            default=max(live[-1:], default=0),
        ),
        Figures(
            cost,
            cost / costs.whole if costs.whole else 0.0,
            node.macs,
            node.macs / rate / cost if node.macs and rate and cost else None,
            node.moved_bytes,
            _of_memory(costs.bounds, node.moved_bytes, cost),
        ),
    )


def _peak(bounds: Bounds, op: str, result: DType) -> float | None:
    """The most multiply-adds per unit of cost for a step; None if this is not known."""
    return None if result in (DType.F64, DType.F16) else bounds.macs.get(numbers_of(op))


def _of_memory(bounds: Bounds, moved: int, cost: float) -> float | None:
    return moved / bounds.bytes / cost if moved and bounds.bytes and cost else None


def _kinds(layers: Sequence[Layer]) -> tuple[Kind, ...]:
    """The kinds of the layers with summed figures, the most expensive kind first."""
    names = dict.fromkeys(layer.kind for layer in layers)
    kinds = [_kind(name, [layer for layer in layers if layer.kind == name]) for name in names]
    return tuple(sorted(kinds, key=lambda kind: -kind.figures.cost))


def _kind(name: str, layers: Sequence[Layer]) -> Kind:
    every = [layer.figures for layer in layers]
    cost = sum(f.cost for f in every)
    return Kind(
        name,
        len(layers),
        Figures(
            cost,
            sum(f.share for f in every),
            sum(f.macs for f in every),
            _joined([(f.of_peak, f.cost) for f in every if f.macs and f.cost], cost),
            sum(f.moved_bytes for f in every),
            _joined([(f.of_memory, f.cost) for f in every if f.moved_bytes and f.cost], cost),
        ),
    )


def _joined(parts: Sequence[tuple[float | None, float]], cost: float) -> float | None:
    """The mean of fractions, weighted by cost; None if there is none or any is not known.

    `parts` are pairs of a fraction and a cost; `cost` is the sum by which to divide.
    """
    known = [fraction * part for fraction, part in parts if fraction is not None]
    return sum(known) / cost if cost and known and len(known) == len(parts) else None
