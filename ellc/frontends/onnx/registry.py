"""Holds the table of ONNX's operators, and functions with which handlers read operands.

A handler is a function `(emitter, node, inputs) -> Value | list[Value]`, which is registered with
`@ONNX.imports("Conv", limits="...")`. An operator of another domain has the name `domain.Operator`.
`node.version` is the version of the node's operator set; a handler reads it if the operator differs
between versions.

The limits of an operator are declared as data. `declines` lists the unsupported parts of the
operator, each with the reason that a report shows. `ignores` maps the attributes that have no
effect to the reasons. Any other attribute that the handler does not read is reported as not
supported, unless it has its default value.
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
"""The domain of joined nodes, which are in no file: the reader makes each from a group of nodes."""


@dataclass(frozen=True, slots=True)
class Declined:
    """A part of an operator's specification that is not supported.

    `name` is the specification's name of the attribute, operand or result, or describes element
    types in words. With `always`, the registry declines the part before it calls the handler: an
    attribute that differs from its default, or a first operand of integers. Without `always`, the
    handler raises `Unsupported` with the same reason, possibly for some values only.
    """

    part: Literal["attribute", "input", "output", "type"]
    name: str
    reason: str
    always: bool = False


def no_integers(reason: str) -> Declined:
    """A `Declined` for any first operand that is not floating point."""
    return Declined("type", "integers", reason, always=True)


def no_attribute(name: str, reason: str) -> Declined:
    """A `Declined` for every value of an attribute except its default."""
    return Declined("attribute", name, reason, always=True)


NOTHING: Mapping[str, str] = MappingProxyType({})


class OnnxRegistry(Registry[OnnxNode]):
    """A registry that also lists the declined parts and ignored attributes of each operator."""

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
        """Register the decorated function as the handler of these operators.

        With `sequences`, operands may be sequences of tensors. `narrow` says how operands of fewer
        than 8 bits are treated:

        * "refused": the node is reported as not supported.
        * "read": the handler gets them converted to bytes.
        * "kept": the same, and the results get the narrow type of the first such operand.
        * "unchanged": the handler gets them as `Narrow` values.
        """
        register = super().imports(*kinds, limits=limits)
        self.declined.update(dict.fromkeys(kinds, tuple(declines)))
        self.ignored.update(dict.fromkeys(kinds, ignores))

        def add(function: Function[OnnxNode]) -> Function[OnnxNode]:
            register(_checked(function, declines, ignores, sequences, narrow))
            return function

        return add


ONNX = OnnxRegistry()
"""The operators that can occur in files."""
JOINED = OnnxRegistry()
"""The operators of `JOINED_DOMAIN`."""


def all_operators() -> OnnxRegistry:
    """The table `ONNX`, filled by the modules of all families of operators."""
    import ellc.frontends.onnx.operators  # noqa: F401  (fills the table)

    return ONNX


def with_joined() -> OnnxRegistry:
    """A table with the operators that can occur in files and those of joined nodes."""
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
        narrow_operands = [v for v in inputs if isinstance(v, Narrow)]
        if narrow_operands and narrow == "refused":
            raise Unsupported(_no_narrow(narrow_operands[0]))
        if narrow_operands and narrow != "unchanged":
            inputs = [v.wide if isinstance(v, Narrow) else v for v in inputs]
        results = function(emitter, node, inputs)
        if narrow_operands and narrow == "kept":
            results = [
                same_kind(v, narrow_operands[0])
                for v in ([results] if isinstance(results, Value) else results)
            ]
        for name in node.unasked():
            if node.attributes[name] != default_value(node, name):
                raise Unsupported(f"its attribute '{name}' is not supported")
        ranks = [v.type.rank for v in ([results] if isinstance(results, Value) else results)]
        if max(ranks, default=0) > MAX_RANK:
            raise Unsupported(
                f"a result of {max(ranks)} dimensions; at most {MAX_RANK} are supported"
            )
        return results

    return handler


def _no_narrow(value: Narrow) -> str:
    name, bytes_ = value.kind.name, value.kind.dtype.numpy.name
    return (
        f"computation with {name} is not supported;"
        f" insert a DequantizeLinear or a Cast to {bytes_} before this node"
    )


def _refuse(declines: Sequence[Declined], node: OnnxNode, inputs: Inputs) -> None:
    """Raise `Unsupported` if the node has a part that is always declined."""
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
    """A required operand; raises `Unsupported` if it is missing."""
    value = inputs[index] if index < len(inputs) else None
    if value is None:
        raise Unsupported(f"its operand {index} is missing")
    return value


def optional(inputs: Inputs, index: int) -> Value | None:
    """An optional operand; None if it is absent."""
    return inputs[index] if index < len(inputs) else None


def integers_at(
    node: OnnxNode, inputs: Inputs, name: str, index: int, since: int
) -> tuple[int, ...] | None:
    """Read integers that are the attribute `name` before version `since`, then the operand `index`.

    The result is None if the node does not have this attribute or operand.
    """
    if node.version < since:
        return node.integers(name) if node.has(name) else None
    value = optional(inputs, index)
    return None if value is None else known_ints(value, f"its operand {index} ({name})")


def one_result(node: OnnxNode, why: str) -> None:
    """Raise `Unsupported` with the reason `why` if the node has more than one result."""
    if any(node.outputs[1:]):
        raise Unsupported(why)
