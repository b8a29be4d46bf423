"""How far outputs move because weights are stored in fewer bits than in the model file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ellc.check.calls import calls_of, references
from ellc.ir.graph import Graph
from ellc.ir.types import Array

Outputs = Sequence[Array]


@dataclass(frozen=True, slots=True)
class WeightsChange:
    """The outputs for the stored weights, compared with those for the weights in the file.

    `difference` is the largest difference of two numbers, and `largest` the largest magnitude of an
    output. In `same` of `calls` calls, the largest element of every output is the same.
    """

    difference: float
    largest: float
    same: int
    calls: int

    def __str__(self) -> str:
        calls = "1 random input" if self.calls == 1 else f"{self.calls} random inputs"
        return (
            f"weights: the outputs for {calls} change by at most {self.difference:.2g} "
            f"(largest output {self.largest:.3g}); their largest element stays in "
            f"{self.same} of {self.calls}"
        )


def change_of_weights(graph: Graph, rounded: Graph, seeds: int) -> WeightsChange:
    """How far outputs for random inputs move from `graph` to a plan's graph with rounded weights.

    The inputs are those of `check`.
    """
    calls = [calls_of(graph, seed) for seed in range(seeds)]
    return weights_change(
        pair
        for inputs in calls
        for pair in zip(references(rounded, inputs), references(graph, inputs), strict=True)
    )


def weights_change(pairs: Iterable[tuple[Outputs, Outputs]]) -> WeightsChange:
    """Compare the outputs of calls; a pair has those for the stored and for the file's weights."""
    difference = largest = 0.0
    same = calls = 0
    for stored, meant in pairs:
        calls += 1
        same += all(_winner(a) == _winner(b) for a, b in zip(stored, meant, strict=True))
        for a, b in zip(stored, meant, strict=True):
            difference = max(difference, _most(a.astype(np.float64) - b.astype(np.float64)))
            largest = max(largest, _most(b.astype(np.float64)))
    return WeightsChange(difference, largest, same, calls)


def _winner(output: Array) -> int:
    return int(np.argmax(output)) if output.size else 0


def _most(numbers: Array) -> float:
    """The largest magnitude; elements that are NaN or infinite are left out."""
    return float(np.abs(numbers[np.isfinite(numbers)]).max(initial=0.0))
