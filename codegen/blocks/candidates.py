"""The registry of kernel families, and the candidates that they offer for a node.

A family is a function that offers candidates for a node: its own choice first, then every other
schedule that it can make. The planner takes the family whose own choice has the lowest predicted
cost (`planning.choice`), or the candidate that a user or a tuning file names. So a second kernel
for an operator is one more file with one more family.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from ellc.codegen.blocks.calls import KernelCall
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.ir.op import Op


@dataclass(frozen=True, slots=True)
class Prediction:
    """A way to compute a node: family, schedule (such as `8x8`) and predicted cost.

    `schedule` is empty if the family has only one. `cycles` is modelled for one core: it counts
    issue slots without the epilogue and cache misses, which all candidates have in common. It is
    None if nothing is predicted, because the node has only one candidate.
    """

    kernel: str
    schedule: str = ""
    cycles: float | None = None

    @property
    def name(self) -> str:
        """`family` or `family:schedule`, as a user writes it."""
        return f"{self.kernel}:{self.schedule}" if self.schedule else self.kernel

    def is_named(self, asked: str) -> bool:
        """Whether `asked`, as `family` or `family:schedule`, names this prediction."""
        return asked in (self.kernel, self.name)

    @property
    def known_cycles(self) -> float:
        """The cycles, or infinity if none are predicted."""
        return math.inf if self.cycles is None else self.cycles


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prediction and a function that makes the kernels, called for the chosen candidate only."""

    prediction: Prediction
    make: Callable[[], Sequence[KernelCall]]


Offer = Callable[[PlacedNode], Iterable[Candidate]]


@dataclass(frozen=True, slots=True)
class Family:
    """A kernel family: `offer` yields candidates for a node, or none if it cannot compute it.

    The first candidate is the choice of the family's own rule; all other schedules follow, computed
    on demand.
    """

    name: str
    offer: Offer


FAMILIES: dict[type[Op], tuple[Family, ...]] = {}

OfferT = TypeVar("OfferT", bound=Offer)
Lowering = Callable[[PlacedNode], Sequence[KernelCall]]
LowerT = TypeVar("LowerT", bound=Lowering)


def kernel(*ops: type[Op], name: str) -> Callable[[OfferT], OfferT]:
    """Decorator: this function offers candidates for these operators, with or without stages."""

    def add(function: OfferT) -> OfferT:
        for op in ops:
            _register(op, Family(name, function))
        return function

    return add


def lowers(*ops: type[Op], name: str = "") -> Callable[[LowerT], LowerT]:
    """Decorator: this function makes the kernels of every node with one of these operators.

    It becomes a family with one candidate; its default name is the function's without `lower_`.
    """

    def add(function: LowerT) -> LowerT:
        for op in ops:
            _register(op, only_way(name or function.__name__.removeprefix("lower_"), function))
        return function

    return add


def only_way(name: str, lowering: Lowering) -> Family:
    """A family of one candidate without a prediction."""
    only = Prediction(name)
    return Family(name, lambda node: (Candidate(only, partial(lowering, node)),))


def own_first(own: Candidate, every: Iterable[Candidate]) -> Iterator[Candidate]:
    """A family's own choice, then the others of `every` in order of predicted cost.

    The rule of a family knows what predictions leave out, such as spilled registers;
    `tests/benchmarks/predictions.py --schedules` prints both beside modelled cycles.
    """
    yield own
    others = [c for c in every if c.prediction.name != own.prediction.name]
    yield from sorted(others, key=lambda c: c.prediction.known_cycles)


def _register(op: type[Op], family: Family) -> None:
    others = FAMILIES.get(op, ())
    if any(family.name == other.name for other in others):
        raise ValueError(f"two kernel families '{family.name}' for {op.name}")
    FAMILIES[op] = (*others, family)
