"""What a profile says, as data: the figures of layers, of kinds of operators, and of phases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ellc.profile.bounds import Bounds

Measure = Literal["time", "cycles", "slots"]
UNITS: dict[Measure, str] = {"time": "µs", "cycles": "cycles", "slots": "slots"}
LABELS: dict[Measure, str] = {
    "time": "measured: microseconds here, on one thread, mean of the fastest quarter of calls",
    "cycles": "modelled: cycles of one call on one core, caches warm from an earlier call",
    "slots": "predicted: issue slots, counted in the kernels' text; waiting does not count",
}
"""What the costs of a profile are; every output shows it."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Cost and work of a layer or of a kind, in the unit of the profile.

    `of_peak` is the fraction of the cost that the multiply-adds need at the core's peak.
    `of_memory` is the fraction that moving all bytes once between core and memory needs; above 1,
    bytes came from caches. None: not known.
    """

    cost: float
    share: float
    macs: int
    of_peak: float | None
    moved_bytes: int
    of_memory: float | None


@dataclass(frozen=True, slots=True)
class Layer:
    """A node of the graph after the passes, in order of execution.

    `value` names its first result, `layers` are those of the model that it stands for, `kind` is
    its operator, `view` if its result is its operand's memory. `live_bytes` is the most that is
    live in the arena during its steps. `first_step` is the number of the first one in the plan.
    """

    value: str
    name: str
    layers: tuple[str, ...]
    kind: str
    operator: str
    result: str
    kernel: str
    first_step: int
    steps: int
    live_bytes: int
    figures: Figures


@dataclass(frozen=True, slots=True)
class Kind:
    """All layers of a kind of operator."""

    kind: str
    layers: int
    figures: Figures


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase of a program on this machine: how often it was timed, and how long it took.

    `parts` divide one run of the phase, where that is known.
    """

    name: str
    samples: int
    fastest_ms: float
    median_ms: float
    p90_ms: float
    parts: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """The profile of a network for a target.

    `whole` is the cost of one call. It is more than the sum of the layers: `between` is the cost
    of calling kernels and copying results. `live_bytes` are those of the arena at each
    step of the plan.
    """

    name: str
    target: str
    measure: Measure
    whole: float
    between: float
    layers: tuple[Layer, ...]
    kinds: tuple[Kind, ...]
    bounds: Bounds
    arena_bytes: int
    constant_bytes: int
    live_bytes: tuple[int, ...]
    phases: tuple[Phase, ...]
    notes: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """The unit of costs."""
        return UNITS[self.measure]

    @property
    def one(self) -> str:
        """The unit in the singular, as after `per`."""
        return self.unit.removesuffix("s") if self.measure != "time" else self.unit

    @property
    def label(self) -> str:
        """What the costs are, in a sentence."""
        return LABELS[self.measure]

    @property
    def macs(self) -> int:
        """Multiply-adds of a call."""
        return sum(layer.figures.macs for layer in self.layers)
