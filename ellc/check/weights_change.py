"""How far outputs move because weights or all values have fewer bits than in the model file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ellc.check.calls import calls_of, references
from ellc.ir.graph import ARITHMETIC_KEY, HALF, Graph
from ellc.ir.types import Array

Outputs = Sequence[Array]


@dataclass(frozen=True, slots=True)
class WeightsChange:
    """The outputs for the stored weights, compared with those for the weights in the file.

    `what` names the option: `weights`, or `fp16` for arithmetic in half precision.

    `difference` is the largest difference of two numbers, and `largest` the largest magnitude of an
    output. In `same` of `calls` calls, the largest element of every output is the same.
    """

    difference: float
    largest: float
    same: int
    calls: int
    what: str = "weights"

    def __str__(self) -> str:
        calls = "1 random input" if self.calls == 1 else f"{self.calls} random inputs"
        return (
            f"{self.what}: the outputs for {calls} change by at most {self.difference:.2g} "
            f"(largest output {self.largest:.3g}); their largest element stays in "
            f"{self.same} of {self.calls}"
        )


def change_of_weights(graph: Graph, rounded: Graph, seeds: int) -> WeightsChange:
    """How far outputs for random inputs move from `graph` to a plan's graph with rounded weights.

    The inputs are those of `check`. In half precision, values are rounded between layers, too.
    """
    calls = [calls_of(graph, seed) for seed in range(seeds)]
    pairs = (
        pair
        for inputs in calls
        for pair in zip(references(rounded, inputs), references(graph, inputs), strict=True)
    )
    return weights_change(pairs, what_changes(graph))


def what_changes(graph: Graph) -> str:
    """The option that changes the outputs of a graph."""
    return "fp16" if graph.metadata.get(ARITHMETIC_KEY) == HALF else "weights"


def weights_change(
    pairs: Iterable[tuple[Outputs, Outputs]], what: str = "weights"
) -> WeightsChange:
    """Compare the outputs of calls; a pair has those for the stored and for the file's weights."""
    difference = largest = 0.0
    same = calls = 0
    for stored, meant in pairs:
        calls += 1
        same += all(_winner(a) == _winner(b) for a, b in zip(stored, meant, strict=True))
        for a, b in zip(stored, meant, strict=True):
            difference = max(difference, _most(a.astype(np.float64) - b.astype(np.float64)))
            largest = max(largest, _most(b.astype(np.float64)))
    return WeightsChange(difference, largest, same, calls, what)


def _winner(output: Array) -> int:
    return int(np.argmax(output)) if output.size else 0


def _most(numbers: Array) -> float:
    """The largest magnitude; elements that are NaN or infinite are left out."""
    return float(np.abs(numbers[np.isfinite(numbers)]).max(initial=0.0))
