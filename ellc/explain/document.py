"""Makes a JSON document of the figures of `ellc explain`, for scripts."""

from __future__ import annotations

from collections.abc import Sequence

from ellc.codegen.planning.plan import Step
from ellc.explain.cost_level import has_cycles
from ellc.explain.study import PlannedNode, Study


def document(study: Study, nodes: Sequence[PlannedNode]) -> dict[str, object]:
    """The costs of the network, and the costs and kernels of the given nodes.

    Slots and cycles are for one call of the network. If cycles are not modelled, they are None and
    `cycles_missing` has the reason. A node without a choice of kernels has no candidates, and a
    view has no steps.
    """
    modelled = study.modelled
    return {
        "name": study.name,
        "target": study.target.name,
        "threads": study.plan.options.threads,
        "macs": sum(node.macs for node in study.nodes),
        "slots": round(study.all_slots),
        "cycles": modelled.all_cycles if has_cycles(study) else None,
        "cycles_missing": modelled.missing,
        "arena_bytes": study.plan.arena.arena_bytes,
        "constant_bytes": study.plan.weight_bytes,
        "changed_by": [change.name for change in study.changes],
        "nodes": [_node(study, node) for node in nodes],
    }


def _node(study: Study, node: PlannedNode) -> dict[str, object]:
    type_ = study.graph.types[node.value]
    return {
        "value": node.value,
        "layers": list(node.node.source),
        "operator": node.operator,
        "shape": list(type_.shape),
        "element": type_.dtype.value,
        "macs": node.macs,
        "moved_bytes": node.moved_bytes,
        "slots": round(study.node_slots[node.value]),
        "cycles": study.node_cycles(node) if has_cycles(study) else None,
        "kernel": node.predictions[0].name if node.predictions else None,
        "candidates": [{"kernel": p.name, "predicted": p.cycles} for p in node.predictions],
        "steps": [_step(study, step) for step in node.steps],
    }


def _step(study: Study, step: Step) -> dict[str, object]:
    return {
        "name": step.name,
        "kernel": step.call.kernel.name,
        "variant": step.call.note,
        "slots": round(study.slots(step)),
    }
