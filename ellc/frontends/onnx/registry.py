"""The table of ONNX operators, and what every handler needs.

A handler is `(emitter, node, inputs) -> Value | list[Value]`, registered by
`@ONNX.imports("Conv", limits="...")`; operators of other domains are written `domain.Operator`.
`node.version` is the version of the node's operator set: what changed between versions is decided
in the handler. What is not supported of an operator is given as data: `declines` says why, and is
what the report says; `ignores` are attributes without effect here, and why. An attribute in neither
that the handler never asked for is reported unless it has its default value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from types import MappingProxyType
from typing import Literal

from ellc.frontends.graph_import.handlers import Function, Handler, Inputs, Registry
from ellc.frontends.graph_import.values import (
    Emitter,
    SequenceValue,
    Unsupported,
    Value,
    known_ints,
)
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.narrow import Narrow, same_kind
from ellc.frontends.onnx.schemas import default_value
from ellc.frontends.onnx.tensors import MAX_RANK

MICROSOFT = "com.microsoft"
Narrowness = Literal["refused", "read", "kept", "unchanged"]
JOINED_DOMAIN = "ellc"
"""Of nodes that no file has: what the reader itself makes of groups of nodes."""


@dataclass(frozen=True, slots=True)
class Declined:
    """A part of an operator's specification that is not taken.

    `name` is an attribute other than its default (of which some values may be taken), or an operand
    or result by the specification's name, or what is special about element types. `always` is
    False where the handler decides: it raises `Unsupported` with the same reason.
    """

    part: Literal["attribute", "input", "output", "type"]
    name: str
    reason: str
    always: bool = False


def no_integers(reason: str) -> Declined:
    """Whole numbers as the first operand are declined."""
    return Declined("type", "integers", reason, always=True)


def no_attribute(name: str, reason: str) -> Declined:
    """Every value of an attribute but its default is declined."""
    return Declined("attribute", name, reason, always=True)


NOTHING: Mapping[str, str] = MappingProxyType({})


class OnnxRegistry(Registry[OnnxNode]):
    """A registry that also knows what of each operator is declined, and what has no effect."""

    def __init__(
        self,
        handlers: dict[str, Handler[OnnxNode]] | None = None,
        advice: dict[str, str] | None = None,
    ) -> None:
        super().__init__("onnx", handlers or {}, advice or {})
        self.declined: dict[str, tuple[Declined, ...]] = {}
        self.ignored: dict[str, Mapping[str, str]] = {}

    def imports(
        self,
        *kinds: str,
        limits: str = "",
        declines: Sequence[Declined] = (),
        ignores: Mapping[str, str] = NOTHING,
        sequences: bool = False,
        narrow: Narrowness = "refused",
    ) -> Callable[[Function[OnnxNode]], Function[OnnxNode]]:
        """Decorator: this function imports these operators.

        `sequences`: operands may be sequences of tensors. `narrow`: operands may be of fewer than
        8 bits; they are `read` as bytes, `kept` (results hold elements of the first operand) or
        given to the function as they are (`unchanged`).
        """
        register = super().imports(*kinds, limits=limits)
        self.declined.update(dict.fromkeys(kinds, tuple(declines)))
        self.ignored.update(dict.fromkeys(kinds, ignores))

        def add(function: Function[OnnxNode]) -> Function[OnnxNode]:
            register(_checked(function, declines, ignores, sequences, narrow))
            return function

        return add


ONNX = OnnxRegistry()
"""What files may hold."""
JOINED = OnnxRegistry()
"""What the reader itself makes of groups of nodes."""


def all_operators() -> OnnxRegistry:
    """The table of what files may hold, with every family in it."""
    import ellc.frontends.onnx.operators  # noqa: F401  (fills the table)

    return ONNX


def with_joined() -> OnnxRegistry:
    """All operators, and those of joined nodes."""
    of_files = all_operators()
    return OnnxRegistry({**of_files.handlers, **JOINED.handlers}, of_files.advice)


def _checked(
    function: Function[OnnxNode],
    declines: Sequence[Declined],
    ignores: Mapping[str, str],
    sequences: bool,
    narrow: Narrowness,
) -> Function[OnnxNode]:
    @wraps(function)
    def handler(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value | Sequence[Value]:
        if not sequences and any(isinstance(v, SequenceValue) for v in inputs):
            raise Unsupported("a sequence where a tensor is expected")
        _refuse(declines, node, inputs)
        node.ignore(*ignores)
        held = [v for v in inputs if isinstance(v, Narrow)]
        if held and narrow == "refused":
            raise Unsupported(_no_narrow(held[0]))
        if held and narrow != "unchanged":
            inputs = [v.wide if isinstance(v, Narrow) else v for v in inputs]
        made = function(emitter, node, inputs)
        if held and narrow == "kept":
            made = [same_kind(v, held[0]) for v in ([made] if isinstance(made, Value) else made)]
        for name in node.unasked():
            if node.attributes[name] != default_value(node, name):
                raise Unsupported(f"its attribute '{name}' is not supported")
        ranks = [v.type.rank for v in ([made] if isinstance(made, Value) else made)]
        if max(ranks, default=0) > MAX_RANK:
            raise Unsupported(f"a result of {max(ranks)} dimensions, {MAX_RANK} are supported")
        return made

    return handler


def _no_narrow(value: Narrow) -> str:
    name, bytes_ = value.kind.name, value.kind.dtype.numpy.name
    return f"it computes with {name}; DequantizeLinear, or Cast to {bytes_}, must stand before it"


def _refuse(declines: Sequence[Declined], node: OnnxNode, inputs: Inputs) -> None:
    """Raise `Unsupported` with the reason of the first part that is always declined."""
    for declined in declines:
        match declined.always and declined.part:
            case "attribute":
                given = node.attributes.get(declined.name)
                if given is not None and given != default_value(node, declined.name):
                    raise Unsupported(declined.reason)
                node.ignore(declined.name)
            case "type":
                first = inputs[0] if inputs else None
                if first is not None and not first.dtype.is_float:
                    raise Unsupported(declined.reason)


def operand(inputs: Inputs, index: int) -> Value:
    """An operand that must be there."""
    value = inputs[index] if index < len(inputs) else None
    if value is None:
        raise Unsupported(f"its operand {index} is missing")
    return value


def optional(inputs: Inputs, index: int) -> Value | None:
    """An operand that may be left out."""
    return inputs[index] if index < len(inputs) else None


def integers_at(
    node: OnnxNode, inputs: Inputs, name: str, index: int, since: int
) -> tuple[int, ...] | None:
    """Whole numbers that are attribute `name` before version `since` and operand `index` from then.

    None where the node gives none.
    """
    if node.version < since:
        return node.integers(name) if node.has(name) else None
    value = optional(inputs, index)
    return None if value is None else known_ints(value, f"its operand {index} ({name})")


def one_result(node: OnnxNode, why: str) -> None:
    """Raise `Unsupported` if somebody may want a result after the first."""
    if any(node.outputs[1:]):
        raise Unsupported(why)
