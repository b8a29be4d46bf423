"""Which candidate makes the kernels of a node: the cheapest, or the one a user names."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import ellc.codegen.kernels  # noqa: F401  (fills the registry)
from ellc.codegen.blocks.candidates import FAMILIES, Candidate, Family, Prediction
from ellc.codegen.blocks.emission import computes_in_double
from ellc.codegen.blocks.lowering import KernelCall, NodeContext
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph, Node
from ellc.ir.op import Op, Pointwise
from ellc.ir.types import DType

NO_SUCH_KERNEL = "E305"
ASK_THE_PLAN = "without --kernel, ELLC_DEBUG=plan lists the candidates of every layer"


@dataclass(frozen=True, slots=True)
class Choice:
    """The context in which the chosen kernels were made, their calls, and all predictions.

    The chosen prediction is the first; the others follow from the cheapest on.
    """

    context: NodeContext
    calls: tuple[KernelCall, ...]
    predictions: tuple[Prediction, ...]


def families_of(op: Op) -> tuple[Family, ...]:
    """The kernel families of an operator, none if nothing computes it.

    Every pointwise operator is served by those registered for `Pointwise`.
    """
    found = FAMILIES.get(type(op), ())
    return FAMILIES.get(Pointwise, ()) if not found and isinstance(op, Pointwise) else found


def choose(new_context: Callable[[], NodeContext], asked: str = "") -> Choice:
    """Choose among the candidates of a node, each made in a context of its own.

    `asked` is `family` or `family:schedule`. Raises `EllcError`: E301 if no kernel computes the
    node, E305 if what is asked for is no candidate.
    """
    ctx = new_context()
    _want_doubles(ctx)
    offers = [
        (candidate, own)
        for family in families_of(ctx.anchor)
        for own in (new_context(),)
        for candidate in family.offer(own)
    ]
    if not offers:
        raise EllcError(
            f"no kernel for operator '{ctx.anchor.name}'",
            code="E301",
            where=_where(ctx),
            hint="`ellc ops` lists what can be compiled",
        )
    offers.sort(key=lambda offer: _cycles(offer[0].prediction))
    (chosen, own), *others = _asked_first(ctx, offers, asked)
    calls = list(chosen.make())
    predictions = tuple(c.prediction for c in (chosen, *(c for c, _ in others)))
    return Choice(own, (*own.before, *calls, *own.after), predictions)


def _cycles(prediction: Prediction) -> float:
    return math.inf if prediction.cycles is None else prediction.cycles


def _asked_first(
    ctx: NodeContext, offers: Sequence[tuple[Candidate, NodeContext]], asked: str
) -> Iterator[tuple[Candidate, NodeContext]]:
    """The offers with the one that is asked for before the others."""
    names = [(c.prediction.kernel, c.prediction.name) for c, _ in offers]
    first = next((i for i, both in enumerate(names) if not asked or asked in both), None)
    if first is None:
        can = ", ".join(name for _, name in names)
        raise EllcError(
            f"kernel '{asked}' cannot compute '{ctx.anchor.name}' here; what can: {can}",
            code=NO_SUCH_KERNEL,
            where=_where(ctx),
            hint=ASK_THE_PLAN,
        )
    yield offers[first]
    yield from (offer for i, offer in enumerate(offers) if i != first)


def _where(ctx: NodeContext) -> str:
    return ", ".join(ctx.node.source) or ctx.name


def _want_doubles(ctx: NodeContext) -> None:
    """Raise E303 for a double on a machine whose doubles are library calls."""
    if ctx.target.scalar_f64:
        return
    types = [x.type for x in (*ctx.inputs, *ctx.extras)]
    types += [ctx.result_type(i) for i in range(len(ctx.node.outputs))]
    inside = [op for op in (ctx.anchor, *(s.op for s in ctx.stages)) if computes_in_double(op)]
    if inside or any(t.dtype is DType.F64 for t in types):
        needs = (inside or [ctx.anchor])[0].name
        raise EllcError(
            f"target {ctx.target.name} has no double precision, which '{needs}' needs",
            code="E303",
            where=_where(ctx),
        )


class AskedKernels:
    """The kernels that a user names, by a layer of the model or by a value; and which were met."""

    def __init__(self, by_name: Mapping[str, str]) -> None:
        self._by_name, self._met = by_name, set[str]()

    def of(self, node: Node) -> str:
        """What is asked for a node, empty if nothing is."""
        named = [n for n in (*node.outputs, *node.source) if n in self._by_name]
        self._met.update(named)
        return self._by_name[named[0]] if named else ""

    def unused(self, graph: Graph) -> Iterator[EllcError]:
        """An error (E305) for every name that no node has."""
        names = {name for node in graph.nodes for name in (*node.outputs, *node.source)}
        for name in sorted(self._by_name.keys() - self._met):
            close = difflib.get_close_matches(name, names, n=3)
            meant = f"; did you mean {' or '.join(close)}?" if close else ""
            yield EllcError(
                f"no layer with a kernel of its own is called so{meant}",
                code=NO_SUCH_KERNEL,
                where=name,
                hint=ASK_THE_PLAN,
            )
