"""The layers whose kernels do not add products directly, and what follows them.

A kernel may have a tolerance of its own (`codegen.blocks.candidates.Sums`), relative to the largest
result of its layer. An output that depends on such a layer may differ by `OUTPUT_OF_LARGEST` of its
largest magnitude. Everything else keeps the usual tolerance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ellc.codegen.planning.loops import flattened
from ellc.codegen.planning.plan import Plan
from ellc.ir.graph import Graph

OUTPUT_OF_LARGEST = 1e-4
"""The error that an output may have, relative to its largest magnitude, if a layer before it has a
tolerance of its own."""


@dataclass(frozen=True, slots=True)
class Transformed:
    """A layer whose kernel does not add products directly.

    `kernel` is the name of its candidate. `of_largest` is its own tolerance, 0 if it has none.
    """

    layer: str
    kernel: str
    of_largest: float


def transformed_layers(plan: Plan) -> tuple[Transformed, ...]:
    """The layers of a plan whose kernels do not add products directly."""
    return tuple(
        Transformed(
            ", ".join(step.source) or step.name, step.predictions[0].name, step.sums.of_largest
        )
        for step in plan.steps
        if step.sums.algorithm
    )


def tolerances(plan: Plan) -> dict[str, float]:
    """The values whose kernels have a tolerance of their own, relative to the largest magnitude."""
    return {
        value: step.sums.of_largest
        for step in plan.steps
        if step.sums.of_largest
        for value in step.values
    }


def output_tolerances(plan: Plan) -> tuple[float, ...]:
    """For each output, its tolerance relative to its largest magnitude; 0 for the usual one."""
    reached = _reached(flattened(plan.graph), set(tolerances(plan)))
    return tuple(OUTPUT_OF_LARGEST if p.value in reached else 0.0 for p in plan.graph.outputs)


def _reached(graph: Graph, sources: set[str]) -> set[str]:
    """The sources, and all values that depend on them, also through states."""
    reached = set(sources)
    while True:
        for node in graph.nodes:
            if reached.intersection(node.inputs):
                reached.update(node.outputs)
        states = {s.current for s in graph.states if s.next in reached}
        if states <= reached:
            return reached
        reached |= states


def lines(layers: tuple[Transformed, ...]) -> Iterator[str]:
    """A line for each kernel: how many layers it computes, and their tolerance."""
    for kernel in sorted({x.kernel for x in layers}):
        found = [x for x in layers if x.kernel == kernel]
        count = "1 layer is" if len(found) == 1 else f"{len(found)} layers are"
        tolerance = max(x.of_largest for x in found)
        allowed = f"may differ by {tolerance:g} of the largest result"
        own = f"; it {allowed}" if len(found) == 1 else f"; each {allowed}"
        yield f"{count} computed by {kernel}{own if tolerance else ''}"
