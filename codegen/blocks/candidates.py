"""Kernel families, and the candidates they offer for a node: the registry of what can compute what.

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
    """A way to compute a node: family, schedule (`8x8`, empty if there is one only) and cost.

    `cycles` is modelled for one core, counting issue slots without the epilogue and cache misses,
    which all candidates have in common; None if there is no rival and nothing is predicted.
    """

    kernel: str
    schedule: str = ""
    cycles: float | None = None

    @property
    def name(self) -> str:
        """`family` or `family:schedule`, as a user asks for it."""
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
    """A prediction and how to make its kernels; `make` is called for the chosen candidate only."""

    prediction: Prediction
    make: Callable[[], Sequence[KernelCall]]


Offer = Callable[[PlacedNode], Iterable[Candidate]]


@dataclass(frozen=True, slots=True)
class Family:
    """What can compute an operator: `offer` gives candidates, none where it cannot serve a node.

    The first is the choice of the family's own rule; all its other schedules follow, computed on
    demand.
    """

    name: str
    offer: Offer


FAMILIES: dict[type[Op], tuple[Family, ...]] = {}

OfferT = TypeVar("OfferT", bound=Offer)
Lowering = Callable[[PlacedNode], Sequence[KernelCall]]
LowerT = TypeVar("LowerT", bound=Lowering)


def kernel(*ops: type[Op], name: str) -> Callable[[OfferT], OfferT]:
    """Decorator: this function offers candidates for these operators (also as a fused anchor)."""

    def add(function: OfferT) -> OfferT:
        for op in ops:
            _register(op, Family(name, function))
        return function

    return add


def lowers(*ops: type[Op], name: str = "") -> Callable[[LowerT], LowerT]:
    """Decorator: a family with one candidate for these operators, which computes every node.

    The default name is the function's name without `lower_`.
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
    """A family's own choice, then the others of `every` from the cheapest on.

    The rule of a family knows what predictions leave out, such as registers that must be spilled;
    `tests/benchmarks/predictions.py --schedules` prints both beside modelled cycles.
    """
    yield own
    others = [c for c in every if c.prediction.name != own.prediction.name]
    yield from sorted(others, key=lambda c: c.prediction.known_cycles)


def _register(op: type[Op], family: Family) -> None:
    there = FAMILIES.get(op, ())
    if any(family.name == other.name for other in there):
        raise ValueError(f"two kernel families '{family.name}' for {op.name}")
    FAMILIES[op] = (*there, family)
