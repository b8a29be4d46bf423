"""Registries of the handlers of operators, and `import_nodes`, which calls a handler per node."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

import numpy as np

from ellc.frontends.graph_import.cuts import Cuts
from ellc.frontends.graph_import.values import (
    Emitter,
    Nonsense,
    SequenceValue,
    Unsupported,
    Value,
    cause_of_nonsense,
)
from ellc.frontends.problems import Problems
from ellc.ir.errors import EllcError, ShapeError
from ellc.ir.types import DType


class SourceNode(Protocol):
    """The properties of a format's node that `import_nodes` needs."""

    @property
    def label(self) -> str:
        """The name of the node in the file, or of its first output if it has no name."""

    @property
    def kind(self) -> str:
        """The name of the operator, with its domain if this is not the standard domain."""

    @property
    def written_kind(self) -> str:
        """The name of the operator in the file; `kind` differs if the reader replaced the node."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the operands; '' for an optional operand that is absent."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the results; '' for a result that is not used."""


# The search for a similar name takes time, and a damaged file may have any number of operators.
_MOST_SUGGESTIONS = 50
_SHOWN_OPERANDS = 8
_NOTHING: Mapping[str, str] = MappingProxyType({})

# Exceptions that Python and numpy raise for the numbers of a damaged node.
_NONSENSE = (ArithmeticError, LookupError, TypeError, ValueError)

NodeT = TypeVar("NodeT", bound=SourceNode)
Inputs = Sequence[Value | None]
Function = Callable[[Emitter, NodeT, Inputs], "Value | Sequence[Value]"]


@dataclass(frozen=True, slots=True)
class Handler(Generic[NodeT]):
    """How to import an operator. `limits` tells users what is not supported; it may be ''."""

    function: Function[NodeT]
    limits: str = ""


@dataclass(slots=True)
class Registry(Generic[NodeT]):
    """A format's operators by name; `format` is the format's name on the command line."""

    format: str
    handlers: dict[str, Handler[NodeT]] = field(default_factory=dict)
    advice: dict[str, str] = field(default_factory=dict)
    """Maps operators that are not supported to texts that tell users what they can do instead."""

    def imports(
        self, *kinds: str, limits: str = ""
    ) -> Callable[[Function[NodeT]], Function[NodeT]]:
        """Register the decorated function as the handler of these operators."""

        def add(function: Function[NodeT]) -> Function[NodeT]:
            for kind in kinds:
                if kind in self.handlers:
                    raise ValueError(f"two handlers for {kind}")
                self.handlers[kind] = Handler(function, limits)
            return function

        return add

    def close_to(self, kind: str) -> str:
        """The name of a supported operator that is similar to `kind`, or ''."""
        return next(iter(difflib.get_close_matches(kind, self.handlers, 1, 0.75)), "")


def needed_nodes(nodes: Sequence[NodeT], outputs: Iterable[str]) -> list[NodeT]:
    """The nodes on which the named values depend, in the file's order."""
    wanted = set(outputs)
    needed = []
    for node in reversed(nodes):
        if wanted.intersection(node.outputs):
            wanted.update(node.inputs)
            needed.append(node)
    return needed[::-1]


def import_nodes(
    emitter: Emitter,
    registry: Registry[NodeT],
    nodes: Sequence[NodeT],
    values: Mapping[str, Value],
    where: str,
    unmade: Mapping[str, str] = _NOTHING,
) -> dict[str, Value]:
    """Import nodes in order, and return all values by name.

    `values` has the inputs and the constants by name. `unmade` maps names of values to texts: if no
    node makes such a value, the text is reported as the problem of each node that reads it.
    Raises `EllcError` E212 with every node that cannot be imported; the hint says where to cut the
    network.
    """
    # None marks the result of a node that could not be imported.
    known: dict[str, Value | None] = {n: _named(v, n) for n, v in values.items()}
    problems = Problems()
    nonsense: Nonsense | None = None
    cuts = Cuts()
    for node in nodes:
        operands = [known.get(name) if name else None for name in node.inputs]
        missing = [n for n, v in zip(node.inputs, operands, strict=True) if n and v is None]
        if missing:
            for reason in _unmade_operands(missing, known, unmade):
                problems.add(_location(node), reason)
            known.update((name, None) for name in node.outputs if name)
            # An operand is missing because the import of an earlier node failed, or because no node
            # makes it. The network can be cut at the other operands.
            cuts.add_failed([n for n in node.inputs if known.get(n) is not None])
            continue
        before = emitter.work
        try:
            _want_known(registry, node, suggest=len(problems) < _MOST_SUGGESTIONS)
            results = _call(emitter, registry, node, operands)
        except (Unsupported, ShapeError) as error:
            problems.add(_location(node), _reason(error, node, operands))
            nonsense = cause_of_nonsense(error) or nonsense
            cuts.add_failed(node.inputs)
            results = [None] * len(node.outputs)
        computed = [v for v in results if v is not None and not v.is_constant]
        if computed:
            numbers = all(map(_is_number, computed))
            cuts.add_imported(node.inputs, node.outputs, emitter.work - before, numbers)
        known.update((n, _named(v, n)) for n, v in zip(node.outputs, results, strict=False) if n)
        for name in node.outputs[len(results) :]:
            if name:
                known[name] = None
                problems.add(_location(node), f"its result '{name}' is not supported")
    cut = ",".join(cuts.best())
    problems.raise_if_any(
        "cannot be imported",
        code="E212",
        where=where,
        hint=(f"--outputs {cut} reads only the part before them; " if cut else "")
        + f"`ellc ops --format {registry.format}` lists what is supported",
        cause=nonsense,
    )
    return {name: value for name, value in known.items() if value is not None}


def _unmade_operands(
    missing: Iterable[str], known: Mapping[str, Value | None], unmade: Mapping[str, str]
) -> Iterator[str]:
    """For each missing operand that no earlier node was to make, the problem."""
    for name in missing:
        if name not in known:
            yield unmade.get(name, f"reads '{name}', which no earlier node makes")


def _is_number(value: Value) -> bool:
    """Whether a value is a tensor of numbers: neither a sequence nor booleans."""
    return not isinstance(value, SequenceValue) and value.dtype is not DType.BOOL


def _reason(error: EllcError, node: SourceNode, operands: Inputs) -> str:
    """The text for the report that says why a node cannot be imported.

    A `ShapeError` is about an operator of the graph, which the user does not know. So the operands
    of the model's node are shown with its message.
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
    """Give a value a name for reports, unless it already has one."""
    return value if value is None or value.name else replace(value, name=name)


def wanted_values(known: Mapping[str, Value], names: Iterable[str]) -> list[Value]:
    """The outputs of a graph inside a node; raises `Unsupported` if no node makes an output."""
    wanted = list(names)
    if missing := [n for n in wanted if n not in known]:
        raise Unsupported(f"no node inside it makes its output '{missing[0]}'")
    return [known[n] for n in wanted]


def _want_known(registry: Registry[NodeT], node: NodeT, suggest: bool) -> None:
    """Raise `Unsupported` for an operator without a handler."""
    if node.kind not in registry.handlers:
        close = registry.close_to(node.kind) if suggest else ""
        advice = f" (similar: {close})" if close else ""
        if node.kind in registry.advice:
            advice = f"; {registry.advice[node.kind]}"
        raise Unsupported(f"operator {node.kind} is not supported{advice}")


def _call(
    emitter: Emitter, registry: Registry[NodeT], node: NodeT, operands: Inputs
) -> list[Value | None]:
    handler = registry.handlers[node.kind]
    emitter.begin(node.label)
    try:
        # The numbers of a damaged file may overflow anywhere. The user must not see numpy's
        # warnings about it.
        with np.errstate(all="ignore"):
            results = handler.function(emitter, node, operands)
    except EllcError as error:
        if isinstance(error, ShapeError):
            raise
        raise Unsupported(error.message) from error
    except _NONSENSE as error:
        # No exporter writes such operands or attributes. `import_nodes` reports the node and
        # continues with the next one.
        raise Nonsense(f"its operands or attributes make no sense ({error})") from error
    except MemoryError:
        raise Unsupported("its constants need more memory than there is") from None
    return [results] if isinstance(results, Value) else list(results)


def _location(node: SourceNode) -> str:
    return f"{node.label} ({node.written_kind})" if node.label else node.written_kind
