"""Predicts which layers would be slower with integers than with floats on a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ellc.codegen.blocks.calls import Options
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.step_costs import step_costs
from ellc.codegen.planning.threads import plan_for_threads
from ellc.ir.graph import Graph
from ellc.ir.pipeline import run_pipeline
from ellc.quantise.layers import Layer, find_layers
from ellc.quantise.quantising import Calibration, assembled

_TAG = "layer of "


@dataclass(frozen=True, slots=True)
class Speed:
    """Predicted cycles of a call on one core of a target.

    `floats` are those of the float network, `integers` those with all layers in integers that can
    be, and `mixed` those of the network in which the layers `slower` stay float. `slower` has the
    cycles of each of these layers with floats and with integers, by the layer's result.
    """

    target: str
    floats: float
    integers: float
    mixed: float
    slower: Mapping[str, tuple[float, float]]

    @property
    def reasons(self) -> dict[str, str]:
        """Why each layer in `slower` stays float."""
        return {
            value: f"8 bits are slower on {self.target}: {after:,.0f} cycles instead of "
            f"{before:,.0f}, as predicted"
            for value, (before, after) in self.slower.items()
        }


def predicted(calibration: Calibration, target: Target) -> Speed:
    """Find the layers that are slower with integers, by plans of both networks for one core.

    Layers between others also cost conversions if they stay float. So the whole network is planned
    again, and no layer stays float if that does not make it faster.
    """
    tagged = _tagged(calibration)
    products = [layer for layer in tagged.layers if layer.kind == "product"]
    floats, before = _cycles(tagged.before, target, products)
    integers, after = _cycles(assembled(tagged).graph, target, products)
    slower = {v: (floats[v], taken) for v, taken in integers.items() if taken > floats[v]}
    if slower:
        _, mixed = _cycles(assembled(tagged, dict.fromkeys(slower, "")).graph, target, products)
        if mixed < after:
            return Speed(target.name, before, after, mixed, slower)
    return Speed(target.name, before, after, after, {})


def _tagged(calibration: Calibration) -> Calibration:
    """The same network, whose layers have the names of their results as sources."""
    tags = {
        node.outputs[0]: _TAG + layer.results[0]
        for layer in calibration.layers
        if layer.kind == "product"
        for node in layer.nodes
    }
    before = replace(
        calibration.before,
        nodes=tuple(
            replace(node, source=(tags[node.outputs[0]],) if node.outputs[0] in tags else ())
            for node in calibration.before.nodes
        ),
    )
    layers = find_layers(before, calibration.not_finite)
    return replace(calibration, before=before, layers=layers)


def _cycles(
    graph: Graph, target: Target, layers: Sequence[Layer]
) -> tuple[dict[str, float], float]:
    """The cycles of each layer, and of the whole graph.

    A kernel that computes several nodes counts for the first layer that it computes.
    """
    ready, _ = run_pipeline(graph)
    plan = plan_for_threads(ready, target, Options(), "speed", threads=1)
    steps = tuple(plan.steps)
    cycles = dict.fromkeys((layer.results[0] for layer in layers), 0.0)
    total = 0.0
    for step, cost in zip(steps, step_costs(steps, target), strict=True):
        trips = 1 if step.repeat is None else step.repeat.trips
        taken = cost.cycles(target.core) * trips
        total += taken
        value = next((s.removeprefix(_TAG) for s in step.source if s.startswith(_TAG)), None)
        if value is not None:
            cycles[value] += taken
    return cycles, total
