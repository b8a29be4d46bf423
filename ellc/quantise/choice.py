"""Chooses the range of every stored value: by one method, or by the measured damage of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ellc.frontends.onnx.quantisation import Quantisation
from ellc.progress import Progress
from ellc.quantise.calibration import METHODS, Range
from ellc.quantise.observers import Histogram
from ellc.quantise.ranges import quantisation_of
from ellc.quantise.simulation import Simulation

AUTO = "auto"
"""The name of the choice by measured damage."""
_GAIN = 0.998
"""Another method must lower the damage to this fraction; less may be chance."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The range of a value, and the method that it comes from."""

    method: str
    ends: Range

    @property
    def quantisation(self) -> Quantisation:
        """The scale and zero point for the range."""
        return quantisation_of(*self.ends)


def by_method(method: str, histograms: Mapping[str, Histogram]) -> dict[str, Chosen]:
    """The ranges that one method gives."""
    return {v: Chosen(method, METHODS[method](seen)) for v, seen in histograms.items()}


def by_damage(
    histograms: Mapping[str, Histogram], simulation: Simulation, report: Progress
) -> dict[str, Chosen]:
    """The ranges with the least damage.

    The search begins with the best single method. Then it tries every other method for one value
    after the other, and keeps what lowers the damage.
    """
    options = {method: by_method(method, histograms) for method in METHODS}
    damages = {method: _damage(simulation, ranges) for method, ranges in options.items()}
    best = min(damages, key=lambda method: damages[method])
    chosen, damage = dict(options[best]), damages[best]
    for done, value in enumerate(simulation.representatives, 1):
        report("choosing ranges", done, len(simulation.representatives))
        tried = {chosen[value].ends}
        for method in METHODS:
            other = options[method][value]
            if other.ends in tried:
                continue
            tried.add(other.ends)
            trial = {**chosen, value: other}
            if (got := _damage(simulation, trial)) < damage * _GAIN:
                chosen, damage = trial, got
    return chosen


def _damage(simulation: Simulation, chosen: Mapping[str, Chosen]) -> float:
    return simulation.damage({value: c.quantisation for value, c in chosen.items()})
