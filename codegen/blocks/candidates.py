"""The registry of kernel families, and the candidates that they offer for a node.

A family is a function that offers candidates for a node. Its preferred candidate comes first, then
every other schedule that it can make. The planner compares the preferred candidates of all families
and takes the one with the lowest predicted cost (`planning.choice`), unless a user or a tuning file
names a candidate. Another kernel for an operator is therefore just another file with a family.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from ellc.codegen.blocks.calls import KernelCall
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.ir.op import Op


@dataclass(frozen=True, slots=True)
class Sums:
    """How a kernel adds products, and how exact its results are.

    `algorithm` is empty if the products of the definition are added, in any order. `of_largest` is
    the error that the kernel may have relative to the largest magnitude of its result, if that is
    more than the usual tolerance allows; 0 otherwise.
    """

    algorithm: str = ""
    of_largest: float = 0.0


DIRECT = Sums()
WINOGRAD = "winograd"
"""The algorithm of Winograd convolutions."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The name and the predicted cost of a candidate: family, schedule (such as `8x8`), cycles.

    `schedule` is empty if the family has only one. `cycles` is the predicted number of issue slots
    on one core. It leaves out fused stages and cache misses, which all candidates have in common.
    It is None if the family has only one candidate, and therefore predicts nothing. `sums` says how
    the kernel adds products; the text of a plan does not tell it.

    If parts of the result are computed separately, their first row and column must be multiples of
    `granule`, and candidates of a family give the same bits only if their `order` is the same.

    `unrolled` is the number of results that the code of a tile computes without a loop. Where the
    borders of an image have code of their own, the size of the code grows with it.

    `aliases` are further names of the schedule, for instance those that it has with another number
    of threads. A request may use them as well.
    """

    kernel: str
    schedule: str = ""
    cycles: float | None = None
    sums: Sums = field(default=DIRECT, compare=False)
    granule: int = field(default=1, compare=False)
    order: str = field(default="", compare=False)
    unrolled: int = field(default=1, compare=False)
    aliases: tuple[str, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """`family` or `family:schedule`, as a user writes it."""
        return f"{self.kernel}:{self.schedule}" if self.schedule else self.kernel

    def is_named(self, asked: str) -> bool:
        """Whether `asked`, written `family` or `family:schedule`, means this candidate."""
        others = (f"{self.kernel}:{alias}" for alias in self.aliases)
        return asked in (self.kernel, self.name, *others)

    @property
    def known_cycles(self) -> float:
        """The predicted cycles, or infinity if there is no prediction."""
        return math.inf if self.cycles is None else self.cycles


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prediction, and a function that makes the kernels.

    The function is called only if the candidate is chosen.
    """

    prediction: Prediction
    make: Callable[[], Sequence[KernelCall]]


Offer = Callable[[PlacedNode], Iterable[Candidate]]


@dataclass(frozen=True, slots=True)
class Family:
    """A kernel family: `offer` yields candidates for a node, or none if it cannot compute the node.

    The preferred candidate comes first. The others follow and are made on demand. A family that is
    `on_request` is considered only for nodes for which a user or an option names it. Only a family
    with `over_image` gets nodes whose result overwrites their image.
    """

    name: str
    offer: Offer
    on_request: bool = False
    over_image: bool = False


FAMILIES: dict[type[Op], tuple[Family, ...]] = {}

OfferT = TypeVar("OfferT", bound=Offer)
Lowering = Callable[[PlacedNode], Sequence[KernelCall]]
LowerT = TypeVar("LowerT", bound=Lowering)


def kernel(
    *ops: type[Op], name: str, on_request: bool = False, over_image: bool = False
) -> Callable[[OfferT], OfferT]:
    """Decorator: registers a function that offers candidates for nodes with these anchors."""

    def add(function: OfferT) -> OfferT:
        for op in ops:
            _register(op, Family(name, function, on_request, over_image))
        return function

    return add


def lowers(*ops: type[Op], name: str = "") -> Callable[[LowerT], LowerT]:
    """Decorator: registers a function that makes the kernels of all nodes with these anchors.

    The function becomes a family with one candidate. By default the family has the name of the
    function without `lower_`.
    """

    def add(function: LowerT) -> LowerT:
        for op in ops:
            family_name = name or function.__name__.removeprefix("lower_")
            _register(op, single_candidate(family_name, function))
        return function

    return add


def single_candidate(name: str, lowering: Lowering) -> Family:
    """A family that offers one candidate, without predicted cycles."""
    only = Prediction(name)
    return Family(name, lambda node: (Candidate(only, partial(lowering, node)),))


def preferred_first(preferred: Candidate, every: Iterable[Candidate]) -> Iterator[Candidate]:
    """A family's preferred candidate, then the others in `every`, in order of predicted cost.

    A family chooses its preferred candidate by a rule, not by predicted cost: a rule can account
    for effects that predictions leave out, such as spilled registers.
    `tests/benchmarks/predictions.py --schedules` prints both choices beside modelled cycles.
    """
    yield preferred
    others = [c for c in every if c.prediction.name != preferred.prediction.name]
    yield from sorted(others, key=lambda c: c.prediction.known_cycles)


def _register(op: type[Op], family: Family) -> None:
    others = FAMILIES.get(op, ())
    if any(family.name == other.name for other in others):
        raise ValueError(f"operator '{op.name}' already has a kernel family '{family.name}'")
    FAMILIES[op] = (*others, family)
