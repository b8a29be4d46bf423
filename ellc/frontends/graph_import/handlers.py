"""Handlers of a format's operators, and the walk that calls them in order with one report."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

import numpy as np

from ellc.frontends.graph_import.cuts import Cuts
from ellc.frontends.graph_import.values import (
    Emitter,
    Listed,
    Nonsense,
    Unsupported,
    Value,
    nonsense_before,
)
from ellc.frontends.problems import Problems
from ellc.ir.errors import EllcError, ShapeError
from ellc.ir.types import DType


class SourceNode(Protocol):
    """What the walk must know of a format's node. Empty input names are left-out operands."""

    @property
    def label(self) -> str:
        """How a user finds the node in the file: its name, or its first output."""

    @property
    def kind(self) -> str:
        """The operator, with its domain where that is not the format's own."""

    @property
    def said(self) -> str:
        """The operator as the file has it, if the reader made another of it; else its kind."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of operands; '' where one is left out."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of results; '' for one that is not used."""


# Looking for close names takes time, and a damaged file may have any number of them.
_CLOSE_NAMES = 50
_SHOWN_OPERANDS = 8

# What arithmetic on a damaged node's numbers raises.
_NONSENSE = (ArithmeticError, LookupError, TypeError, ValueError)

NodeT = TypeVar("NodeT", bound=SourceNode)
Inputs = Sequence[Value | None]
Function = Callable[[Emitter, NodeT, Inputs], "Value | Sequence[Value]"]


@dataclass(frozen=True, slots=True)
class Handler(Generic[NodeT]):
    """How one operator is imported. `limits` says in the support table what is not taken."""

    function: Function[NodeT]
    limits: str = ""


@dataclass(slots=True)
class Registry(Generic[NodeT]):
    """A format's operators by name; `format` is what the commands call it."""

    format: str
    handlers: dict[str, Handler[NodeT]] = field(default_factory=dict)
    advice: dict[str, str] = field(default_factory=dict)
    """Of operators that are not read: what a user can do instead."""

    def imports(
        self, *kinds: str, limits: str = ""
    ) -> Callable[[Function[NodeT]], Function[NodeT]]:
        """Decorator: this function imports these operators."""

        def add(function: Function[NodeT]) -> Function[NodeT]:
            for kind in kinds:
                if kind in self.handlers:
                    raise ValueError(f"two handlers for {kind}")
                self.handlers[kind] = Handler(function, limits)
            return function

        return add

    def close_to(self, kind: str) -> str:
        """The supported operator whose name is most like `kind`, or ''."""
        return next(iter(difflib.get_close_matches(kind, self.handlers, 1, 0.75)), "")


def needed_nodes(nodes: Sequence[NodeT], outputs: Iterable[str]) -> list[NodeT]:
    """The nodes on which the named values depend, in the file's order."""
    wanted = set(outputs)
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.outputs):
            wanted.update(node.inputs)
            kept.append(node)
    return kept[::-1]


def import_nodes(
    emitter: Emitter,
    registry: Registry[NodeT],
    nodes: Sequence[NodeT],
    values: Mapping[str, Value],
    where: str,
) -> dict[str, Value]:
    """Import nodes in order; every value by name. `values` holds inputs and constants.

    Raises `EllcError` E212 with every node that cannot be imported, and where to cut.
    """
    known: dict[str, Value | None] = {n: _named(v, n) for n, v in values.items()}
    problems = Problems()
    nonsense: Nonsense | None = None
    cuts = Cuts()
    for node in nodes:
        operands = [known.get(name) if name else None for name in node.inputs]
        missing = [n for n, v in zip(node.inputs, operands, strict=True) if n and v is None]
        if missing:
            undefined = [n for n in missing if n not in known]
            for name in undefined:
                problems.add(_place(node), f"reads '{name}', which nothing before it makes")
            known.update((name, None) for name in node.outputs if name)
            # After a node that failed: what is already known here may be an output, too.
            cuts.ended([n for n in node.inputs if known.get(n) is not None])
            continue
        before = emitter.work
        try:
            _want_known(registry, node, say_close=len(problems) < _CLOSE_NAMES)
            results = _call(emitter, registry, node, operands)
        except (Unsupported, ShapeError) as error:
            problems.add(_place(node), _said(error, node, operands))
            nonsense = nonsense_before(error) or nonsense
            cuts.ended(node.inputs)
            results = [None] * len(node.outputs)
        computed = [v for v in results if v is not None and not v.is_constant]
        if computed:
            numbers = all(not isinstance(v, Listed) and v.dtype is not DType.BOOL for v in computed)
            cuts.made(node.inputs, node.outputs, emitter.work - before, numbers)
        known.update((n, _named(v, n)) for n, v in zip(node.outputs, results, strict=False) if n)
        for name in node.outputs[len(results) :]:
            if name:
                known[name] = None
                problems.add(_place(node), f"its result '{name}' is not supported")
    cut = ",".join(cuts.best())
    problems.raise_if_any(
        "cannot be imported",
        code="E212",
        where=where,
        hint=(f"--outputs {cut} takes the part before; " if cut else "")
        + f"`ellc ops --format {registry.format}` lists what is supported",
        cause=nonsense,
    )
    return {name: value for name, value in known.items() if value is not None}


def _said(error: EllcError, node: SourceNode, operands: Inputs) -> str:
    """What a report says of a node that cannot be imported.

    Where an operator of the graph does not take its operands, a user knows neither that operator
    nor those operands: the model's own are named instead.
    """
    if not isinstance(error, ShapeError):
        return error.message
    shown = [
        f"'{name}' {value.dtype.value} {list(value.shape)}"
        for name, value in zip(node.inputs, operands, strict=True)
        if isinstance(value, Value)
    ]
    more = f" and {len(shown) - _SHOWN_OPERANDS} more" if len(shown) > _SHOWN_OPERANDS else ""
    of = f" (operands {', '.join(shown[:_SHOWN_OPERANDS])}{more})" if shown else ""
    return error.reason + of


def _named(value: Value | None, name: str) -> Value | None:
    """The value under the name that reports shall use: the first that the model gave it."""
    return value if value is None or value.name else replace(value, name=name)


def wanted_values(known: Mapping[str, Value], names: Iterable[str]) -> list[Value]:
    """The outputs of a graph inside a node; raises `Unsupported` for one that nothing makes."""
    wanted = list(names)
    if missing := [n for n in wanted if n not in known]:
        raise Unsupported(f"nothing inside it makes its output '{missing[0]}'")
    return [known[n] for n in wanted]


def _want_known(registry: Registry[NodeT], node: NodeT, say_close: bool) -> None:
    """Raise `Unsupported` for an operator that no handler knows."""
    if node.kind not in registry.handlers:
        close = registry.close_to(node.kind) if say_close else ""
        said = f" (close to it: {close})" if close else ""
        if node.kind in registry.advice:
            said = f"; {registry.advice[node.kind]}"
        raise Unsupported(f"operator {node.kind} is not supported{said}")


def _call(
    emitter: Emitter, registry: Registry[NodeT], node: NodeT, operands: Inputs
) -> list[Value | None]:
    handler = registry.handlers[node.kind]
    emitter.begin(node.label)
    try:
        # Numbers of a damaged file may overflow in any product; that is no fault of the reader.
        with np.errstate(all="ignore"):
            made = handler.function(emitter, node, operands)
    except EllcError as error:
        if isinstance(error, ShapeError):
            raise
        raise Unsupported(error.message) from error
    except _NONSENSE as error:
        # Operands and attributes that no exporter writes; the walk goes on after them.
        raise Nonsense(f"its operands or attributes make no sense ({error})") from error
    except MemoryError:
        raise Unsupported("its constants need more memory than there is") from None
    return [made] if isinstance(made, Value) else list(made)


def _place(node: SourceNode) -> str:
    return f"{node.label} ({node.said})" if node.label else node.said
