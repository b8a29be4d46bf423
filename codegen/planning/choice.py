"""Chooses the candidate that computes a node: the one that is asked for, tuned, or cheapest."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import ellc.codegen.kernels  # noqa: F401  (fills the registry)
from ellc.codegen.blocks.access import Buffer
from ellc.codegen.blocks.calls import CodeGoal, KernelCall, Options
from ellc.codegen.blocks.candidates import (
    DIRECT,
    FAMILIES,
    WINOGRAD,
    Candidate,
    Family,
    Prediction,
    Sums,
)
from ellc.codegen.blocks.emission import computes_in_double
from ellc.codegen.blocks.placed_node import PlacedNode
from ellc.codegen.machine.target import Target
from ellc.codegen.planning.scratch import ScratchBuffers
from ellc.codegen.planning.tuning import NOT_TUNED, TunedKernel
from ellc.ir.errors import EllcError, InternalError
from ellc.ir.graph import SUMS_KEY, Graph, Node
from ellc.ir.op import Op, Pointwise
from ellc.ir.ops.fused import anchor_of
from ellc.ir.types import DType

NO_SUCH_KERNEL = "E305"
ASK_THE_PLAN = "to list the candidates of all layers, run with ELLC_DEBUG=plan, without --kernel"


OFFERED = Options().listed
"""By default a plan lists at most this many schedules per family. `--kernel` accepts the others as
well."""


AllowedSums = Callable[[Sums], bool]
"""Whether kernels may compute their sums in this way."""


def every_sum(_: Sums) -> bool:
    """All kernels are allowed."""
    return True


SUMS: dict[str, AllowedSums] = {
    "exact": lambda sums: sums == DIRECT,
    "no-winograd": lambda sums: sums.algorithm != WINOGRAD,
}
"""The kernels that are allowed for each value of the metadata `SUMS_KEY`. `exact` allows only those
that add the products of the operator's definition, so that the usual tolerance for direct sums
holds for every layer; `no-winograd` also allows other algorithms."""


SLACK: dict[CodeGoal, float] = {"speed": 1.0, "balanced": 2.0, "size": 3.0}
"""How much slower than the fastest candidate of its family a candidate with shorter code may be
predicted to be. With `size`, several kernels also write shorter loops and read smaller tables.
Bytes of flash on imxrt1050 with `balanced` and `size`: VWW in int8 275,573, 241,261; YOLO for faces
276,093, 230,601. Million modelled cycles of a Cortex-M7: VWW 6.73, 10.47; ResNet8 9.70, 12.39."""
_MOST_COMPARED = 64
"""So many candidates of a family are compared by the length of their code."""


def code_goal(target: Target, asked: CodeGoal | None) -> CodeGoal:
    """What code is written for; by default a compromise where it shares flash with weights."""
    return asked or ("balanced" if target.os == "none" else "speed")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user and the graph ask of all choices."""

    listed: int = OFFERED
    allowed: AllowedSums = every_sum
    code: CodeGoal = "speed"

    @staticmethod
    def of(graph: Graph, target: Target, options: Options) -> Wishes:
        """The wishes in a graph's metadata and in options."""
        allowed = SUMS.get(graph.metadata.get(SUMS_KEY, ""), every_sum)
        return Wishes(options.listed, allowed, code_goal(target, options.code))


_NO_WISHES = Wishes()


_COPIES = "movement"
"""The only family of operators that move elements."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The kernel calls of the chosen candidate, the scratch memory they need, and predictions.

    The first prediction is that of the chosen candidate. The others follow in order of predicted
    cost, at most `Options.listed` per family.
    """

    calls: tuple[KernelCall, ...]
    scratch: tuple[Buffer, ...]
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, slots=True)
class _Offer:
    """The candidates of a family: first those that a plan lists, then the rest.

    The first one listed is the family's preferred candidate.
    """

    listed: tuple[Candidate, ...]
    rest: Iterator[Candidate]

    def named(self, asked: str) -> Candidate | None:
        """The candidate named `asked`, or None. A family's name means its preferred candidate."""
        if asked == self.listed[0].prediction.kernel:
            return self.listed[0]
        if asked.partition(":")[0] != self.listed[0].prediction.kernel:
            return None
        return next((c for c in self.all() if c.prediction.is_named(asked)), None)

    def all(self) -> Iterator[Candidate]:
        """Every candidate of the family. This iterator can be used only once."""
        yield from self.listed
        yield from self.rest


def families_of(op: Op) -> tuple[Family, ...]:
    """The kernel families of an operator; empty if no kernel computes it.

    A pointwise operator for which no family is registered has the families of `Pointwise`.
    """
    families = FAMILIES.get(type(op), ())
    return FAMILIES.get(Pointwise, ()) if not families and isinstance(op, Pointwise) else families


def choose(
    node: PlacedNode,
    asked: str = "",
    tuned: TunedKernel = NOT_TUNED,
    wishes: Wishes = _NO_WISHES,
) -> Choice:
    """Choose one of the candidates of a node, list others of each family, and make kernels.

    `asked` and `tuned` name a candidate as `family` or `family:schedule`. `tuned` is ignored if
    `asked` is given, if the node does not have the candidate `tuned`, or if it is predicted to be
    too slow (`TunedKernel`). Raises `EllcError`: E301 if no kernel computes the node, E303 if the
    node needs float64 and the target has no hardware for it, E305 if the node does not have the
    candidate `asked`.
    """
    chosen, predictions = _selected(node, asked, tuned, wishes)
    scratch = ScratchBuffers(node)
    return Choice(scratch.surrounded(chosen.make()), scratch.buffers, predictions)


def predictions_of(
    node: PlacedNode,
    asked: str = "",
    tuned: TunedKernel = NOT_TUNED,
    wishes: Wishes = _NO_WISHES,
) -> tuple[Prediction, ...]:
    """The predictions of what `choose` would return. No kernel is made."""
    return _selected(node, asked, tuned, wishes)[1]


def choose_like(node: PlacedNode, whole: Prediction, *, same_schedule: bool) -> Choice:
    """Choose for a part of a node what was chosen for the whole node: `whole`.

    The part gets the same family, and adds in the same order. With `same_schedule` it gets the same
    schedule if it has it, otherwise the one that the family prefers. Raises `InternalError` if the
    family cannot compute the part.
    """
    every = [c for offer in _offers(node, whole.kernel) for c in offer.all()]
    alike = [c for c in every if _alike(c.prediction, whole)]
    if same_schedule:
        alike.sort(key=lambda c: c.prediction.name != whole.name)
    if not alike:
        raise InternalError(f"{node.name}: '{whole.name}' cannot compute a part of the result")
    scratch = ScratchBuffers(node)
    chosen = alike[0]
    return Choice(scratch.surrounded(chosen.make()), scratch.buffers, (chosen.prediction,))


def _alike(a: Prediction, b: Prediction) -> bool:
    return (a.kernel, a.granule, a.order) == (b.kernel, b.granule, b.order)


def _selected(
    node: PlacedNode, asked: str, tuned: TunedKernel, wishes: Wishes
) -> tuple[Candidate, tuple[Prediction, ...]]:
    """The chosen candidate, and the predictions of a `Choice`."""
    _check_double_precision(node)
    offers = _offers(node, asked, wishes.listed, wishes.allowed)
    if asked:
        chosen = _asked(node, offers, asked, wishes.allowed)
    else:
        orders = {_order(c.prediction) for o in offers for c in o.listed}
        alone = node.threads > 1 and len(orders) > 1
        chosen = _tuned(_as_alone(node, offers, tuned, wishes) if alone else offers, tuned)
        if wishes.code != "speed" and not chosen.prediction.is_named(tuned.name):
            chosen = _shorter(node, chosen, wishes)
    others = [c.prediction for o in offers for c in o.listed if c is not chosen]
    others.sort(key=lambda p: p.known_cycles)
    return chosen, (chosen.prediction, *others)


def _as_alone(
    node: PlacedNode, offers: Sequence[_Offer], tuned: TunedKernel, wishes: Wishes
) -> Sequence[_Offer]:
    """The offer that gives the bits of what is chosen for one thread; all, if none does."""
    alone, _ = _selected(replace(node, threads=1), "", tuned, wishes)
    wanted = _order(alone.prediction)
    for offer in offers:
        if offer.listed[0].prediction.kernel == alone.prediction.kernel:
            alike = (c for c in offer.all() if _order(c.prediction) == wanted)
            if first := tuple(islice(alike, len(offer.listed))):
                return [_Offer(first, alike)]
    return offers


def _order(prediction: Prediction) -> tuple[object, ...]:
    """What is the same for candidates that give the same bits."""
    return (prediction.kernel, prediction.sums, prediction.order)


def _offers(
    node: PlacedNode, asked: str, count: int = OFFERED, allowed: AllowedSums = every_sum
) -> list[_Offer]:
    """The allowed offers of all families; of those on request, only if `asked` names them.

    Raises `EllcError` E301 if no family can compute the node.
    """
    offers = []
    for family in families_of(node.anchor):
        if node.overwrites_image and not family.over_image:
            continue
        if family.on_request and asked.partition(":")[0] != family.name:
            continue
        candidates = (c for c in family.offer(node) if allowed(c.prediction.sums))
        if listed := tuple(islice(candidates, count)):
            offers.append(_Offer(listed, candidates))
    if not offers:
        raise EllcError(
            f"no kernel for operator '{node.anchor.name}'",
            code="E301",
            where=node.where,
            hint="`ellc ops` lists what can be compiled",
        )
    return offers


def _shorter(node: PlacedNode, fastest: Candidate, wishes: Wishes) -> Candidate:
    """The candidate with the shortest code of those that are not much slower than `fastest`."""
    whole = fastest.prediction
    if whole.unrolled == 1:
        return fastest
    limit = SLACK[wishes.code] * whole.known_cycles
    offers = _offers(node, whole.kernel, _MOST_COMPARED, wishes.allowed)
    alike = [c for o in offers for c in o.listed if _order(c.prediction) == _order(whole)]
    near = [c for c in alike if c.prediction.known_cycles <= limit]
    return min(near, key=lambda c: (c.prediction.unrolled, c.prediction.known_cycles))


def _cheapest(offers: Sequence[_Offer]) -> Candidate:
    """Of the families' preferred candidates, the one with the lowest predicted cost."""
    return min((o.listed[0] for o in offers), key=lambda c: c.prediction.known_cycles)


def _tuned(offers: Sequence[_Offer], tuned: TunedKernel) -> Candidate:
    """The tuned candidate, or the cheapest if there is none or if it is predicted to be slow."""
    cheapest = _cheapest(offers)
    found = _named(offers, tuned.name) if tuned.name else None
    if found is None:
        return cheapest
    limit = tuned.most * cheapest.prediction.known_cycles
    return found if found.prediction.known_cycles <= limit else cheapest


def _named(offers: Sequence[_Offer], name: str) -> Candidate | None:
    candidates = (offer.named(name) for offer in offers)
    return next((c for c in candidates if c is not None), None)


def _asked(
    node: PlacedNode, offers: Sequence[_Offer], asked: str, allowed: AllowedSums
) -> Candidate:
    """The candidate named `asked`. If there is none, raises E305, which lists the candidates."""
    if candidate := _named(offers, asked):
        return candidate
    if _named(_offers(node, asked), asked):
        raise EllcError(
            f"kernel '{asked}' does not add the products of '{node.anchor.name}' directly, and an "
            "option forbids that",
            code=NO_SUCH_KERNEL,
            where=node.where,
            hint="leave out --exact and --no-winograd, or the request for this kernel",
        )
    every = _offers(node, asked, allowed=allowed)
    names = [c.prediction.name for offer in every for c in offer.all()]
    close = difflib.get_close_matches(asked, names, n=3)
    meant = f"; did you mean {' or '.join(close)}?" if close else ""
    listed = ", ".join(c.prediction.name for offer in offers for c in offer.listed)
    raise EllcError(
        f"kernel '{asked}' cannot compute '{node.anchor.name}' here; candidates: {listed}{meant}",
        code=NO_SUCH_KERNEL,
        where=node.where,
        hint=ASK_THE_PLAN,
    )


def _check_double_precision(node: PlacedNode) -> None:
    """Raise E303 if the node needs float64 and the target has no hardware for float64."""
    if node.target.scalar_f64:
        return
    types = [x.type for x in (*node.inputs, *node.extras)]
    types += [x.type for x in node.results]
    inside = [op for op in node.operators if computes_in_double(op)]
    if inside or any(t.dtype is DType.F64 for t in types):
        needs = (inside or [node.anchor])[0].name
        raise EllcError(
            f"target {node.target.name} has no double precision, which '{needs}' needs",
            code="E303",
            where=node.where,
        )


class AskedKernels:
    """The kernels that a user has named for layers or values, and which of them are used.

    `by_value` has the kernels of nodes that some option determines, by the node's first result.
    """

    def __init__(self, by_name: Mapping[str, str], by_value: Mapping[str, str]) -> None:
        self._by_name, self._by_value, self._used = by_name, by_value, set[str]()

    def of(self, node: Node) -> str:
        """The kernel that is named for a node, or an empty string.

        The name of a layer does not mean the copies that import has put around it.
        """
        layers = [n for n in node.source if not self._is_copy(node, self._by_name.get(n, ""))]
        named = [n for n in (*node.outputs, *layers) if n in self._by_name]
        self._used.update(named)
        return self._by_name[named[0]] if named else self._by_value.get(node.outputs[0], "")

    @staticmethod
    def _is_copy(node: Node, asked: str) -> bool:
        """Whether the node only moves elements, which the named family does not."""
        names = [family.name for family in families_of(anchor_of(node.op))]
        return names == [_COPIES] and asked.partition(":")[0] != _COPIES

    def spare_images(self, graph: Graph) -> frozenset[str]:
        """The results for which families are named that cannot overwrite an image."""
        names = {**self._by_value, **self._by_name}
        spared = set[str]()
        for node in graph.nodes:
            asked = next((names[n] for n in (*node.outputs, *node.source) if n in names), "")
            family = asked.partition(":")[0]
            able = [f.name for f in families_of(anchor_of(node.op)) if f.over_image]
            if asked and family not in able:
                spared.update(node.outputs)
        return frozenset(spared)

    def unused(self, graph: Graph) -> Iterator[EllcError]:
        """An error (E305) for every layer or value that the user named, but no kernel computes."""
        names = {name for node in graph.nodes for name in (*node.outputs, *node.source)}
        for name in sorted(self._by_name.keys() - self._used):
            close = difflib.get_close_matches(name, names, n=3)
            meant = f"; did you mean {' or '.join(close)}?" if close else ""
            yield EllcError(
                f"no kernel computes a layer or value with this name{meant}",
                code=NO_SUCH_KERNEL,
                where=name,
                hint=ASK_THE_PLAN,
            )
