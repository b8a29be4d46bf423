"""The table of ONNX operators, and what every handler needs.

A handler is `(emitter, node, inputs) -> Value | list[Value]`, registered by
`@ONNX.imports("Conv", limits="...")`; operators of other domains are written `domain.Operator`.
`node.version` is the version of the node's operator set: what changed between versions is decided
in the handler. An attribute that a handler never asked for is reported, not passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps

from ellc.frontends.graph_import.handlers import Function, Inputs, Registry
from ellc.frontends.graph_import.values import Emitter, Unsupported, Value, known_ints
from ellc.frontends.onnx.model import OnnxNode
from ellc.frontends.onnx.tensors import MAX_RANK

MICROSOFT = "com.microsoft"
JOINED_DOMAIN = "ellc"
"""Of nodes that no file has: what the reader itself makes of groups of nodes."""


class OnnxRegistry(Registry[OnnxNode]):
    """A registry whose handlers are checked for attributes they did not read."""

    def imports(
        self, *kinds: str, limits: str = ""
    ) -> Callable[[Function[OnnxNode]], Function[OnnxNode]]:
        """Decorator: this function imports these operators."""
        register = super().imports(*kinds, limits=limits)

        def add(function: Function[OnnxNode]) -> Function[OnnxNode]:
            register(_checked(function))
            return function

        return add


ONNX = OnnxRegistry("onnx")
"""What files may hold."""
JOINED = OnnxRegistry("onnx")
"""What the reader itself makes of groups of nodes."""


def all_operators() -> OnnxRegistry:
    """The table of what files may hold, with every family in it."""
    import ellc.frontends.onnx.operators  # noqa: F401  (fills the table)

    return ONNX


def with_joined() -> OnnxRegistry:
    """All operators, and those of joined nodes."""
    return OnnxRegistry("onnx", {**all_operators().handlers, **JOINED.handlers})


def _checked(function: Function[OnnxNode]) -> Function[OnnxNode]:
    @wraps(function)
    def handler(emitter: Emitter, node: OnnxNode, inputs: Inputs) -> Value | Sequence[Value]:
        try:
            made = function(emitter, node, inputs)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            # Operands and attributes that no exporter writes; the walk goes on behind them.
            raise Unsupported(f"its operands or attributes make no sense ({error})") from error
        unasked = node.unasked()
        if unasked:
            raise Unsupported(f"its attribute '{unasked[0]}' is not supported")
        ranks = [v.type.rank for v in ([made] if isinstance(made, Value) else made)]
        if max(ranks, default=0) > MAX_RANK:
            raise Unsupported(f"a result of {max(ranks)} dimensions, {MAX_RANK} are supported")
        return made

    return handler


def operand(inputs: Inputs, index: int) -> Value:
    """An operand that must be there."""
    value = inputs[index] if index < len(inputs) else None
    if value is None:
        raise Unsupported(f"its operand {index} is missing")
    return value


def optional(inputs: Inputs, index: int) -> Value | None:
    """An operand that may be left out."""
    return inputs[index] if index < len(inputs) else None


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front; negative ones count from the end."""
    if not -rank <= axis < rank:
        raise Unsupported(f"axis {axis} of a tensor of rank {rank}")
    return axis % rank


def axes_of(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Different axes counted from the front."""
    counted = tuple(axis_of(a, rank) for a in axes)
    if len(set(counted)) != len(counted):
        raise Unsupported(f"the axes {tuple(axes)} name one twice")
    return counted


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
    """Raise `Unsupported` if somebody may want a result behind the first."""
    if any(node.outputs[1:]):
        raise Unsupported(why)
