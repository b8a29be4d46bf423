"""A profile as data: the figures of layers, of kinds of operators, and of program phases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ellc.profile.bounds import Bounds

Measure = Literal["time", "cycles", "slots"]
UNITS: dict[Measure, str] = {"time": "µs", "cycles": "cycles", "slots": "slots"}
_HERE = "this machine"
LABELS: dict[Measure, str] = {
    "time": (
        f"measured: microseconds on {_HERE}, on one thread, mean of the fastest quarter of the "
        "calls"
    ),
    "cycles": "modelled: cycles of one call on one core, caches warm from an earlier call",
    "slots": "predicted: issue slots, counted in the kernels' text; stalls do not count",
}
"""Texts that say what kind of costs a profile has; every output shows one of them."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Cost and work of a layer, or of all layers of a kind. `cost` is in the unit of the profile.

    `share` is the fraction of the whole call's cost. `of_peak` is the fraction of `cost` that the
    multiply-adds would need at the core's peak rate. `of_memory` is the fraction of `cost` that
    moving `moved_bytes` from or to memory would need; it can be above 1 if bytes came from caches.
    Each of the two is None if the core's rate for it is not known.
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

    `value` is the name of the node's first result. `layers` are the names of the layers of the
    model that the node computes. `kind` is the operator of its last step, or `view` if the node has
    no steps because its result is its operand's memory. `live_bytes` is the largest number of live
    bytes in the arena during its steps. `first_step` is the index of its first step in the plan.
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
    """The number of layers of one kind of operator, and the sum of their figures."""

    kind: str
    layers: int
    figures: Figures


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase of a program: how often it was timed, and how long it took.

    `parts` are the names and milliseconds of the parts of one run; empty if they are not known.
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

    `whole` is the cost of one call. `between` is the part of `whole` that belongs to no layer: the
    cost of calling kernels and copying results. `live_bytes` has the number of live bytes in the
    arena for each step of the plan. `board` names the board on which costs and phases, except the
    phase `compile`, were measured; it is empty for this machine.
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
    board: str = ""

    @property
    def unit(self) -> str:
        """The unit of costs."""
        return UNITS[self.measure]

    @property
    def one(self) -> str:
        """The unit in the singular, as needed after `per`."""
        return self.unit.removesuffix("s") if self.measure != "time" else self.unit

    @property
    def label(self) -> str:
        """A text that says what kind of costs these are."""
        label = LABELS[self.measure]
        return label.replace(_HERE, self.board) if self.board else label

    @property
    def macs(self) -> int:
        """Multiply-adds of a call."""
        return sum(layer.figures.macs for layer in self.layers)
