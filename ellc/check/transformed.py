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
from ellc.ir.types import DType

OUTPUT_OF_LARGEST = 1e-4
"""The error that an output may have, relative to its largest magnitude, if a layer before it has a
tolerance of its own."""
HALF_OF_LARGEST, HALF_OUTPUT_OF_LARGEST = 5e-3, 1e-2
"""The same for the result of a layer, and for an output, that are computed in half precision. The
reference rounds the results of layers, too, but not within a layer. Measured with random numbers:
layers of up to 4,608 products 0.0022, outputs of networks 0.0016."""


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
    """The values whose kernels have a tolerance of their own, relative to the largest magnitude.

    All values in half precision have one.
    """
    halves = (v for v, t in plan.graph.types.items() if t.dtype is DType.F16)
    return dict.fromkeys(halves, HALF_OF_LARGEST) | {
        value: step.sums.of_largest
        for step in plan.steps
        if step.sums.of_largest
        for value in step.values
    }


def output_tolerances(plan: Plan) -> tuple[float, ...]:
    """For each output, its tolerance relative to its largest magnitude; 0 for the usual one."""
    graph = flattened(plan.graph)
    transformed = _reached(graph, set(tolerances(plan)))
    halves = _reached(graph, {v for v, t in graph.types.items() if t.dtype is DType.F16})
    return tuple(
        HALF_OUTPUT_OF_LARGEST
        if port.value in halves
        else OUTPUT_OF_LARGEST
        if port.value in transformed
        else 0.0
        for port in plan.graph.outputs
    )


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
