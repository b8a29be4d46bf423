"""Chooses between the results of two branches when the network runs."""

from __future__ import annotations

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.values import Emitter, SequenceValue, Unsupported, Value
from ellc.ir.ops.pointwise import Select
from ellc.ir.ops.shape import Reshape


def either(emitter: Emitter, name: str, a: Value, b: Value, condition: Value) -> Value:
    """Add a select: `a` if the single element of `condition` is true, else `b`.

    Sequences are selected item by item. A call of the network skips the nodes that only the branch
    not taken needs (`ellc.ir.branches`). Raises `Unsupported` if the shapes or element types
    differ; `name` is the name of the result in the message.
    """
    if (
        isinstance(a, SequenceValue)
        and isinstance(b, SequenceValue)
        and len(a.items) == len(b.items)
    ):
        pairs = zip(a.items, b.items, strict=True)
        return SequenceValue.of(either(emitter, name, x, y, condition) for x, y in pairs)
    if (
        isinstance(a, SequenceValue)
        or isinstance(b, SequenceValue)
        or (a.shape, a.dtype) != (b.shape, b.dtype)
    ):
        raise Unsupported(
            f"'{name}' is {_described(a)} in one branch and {_described(b)} in the other, and the "
            "network computes the condition; use --set to fix the inputs that it depends on"
        )
    ones = (1,) * a.type.rank
    flag = condition if condition.shape == ones else emitter.add(Reshape(ones), condition)
    return pointwise(emitter, Select(), a, b, flag)


def _described(value: Value) -> str:
    if isinstance(value, SequenceValue):
        return f"a sequence of {len(value.items)}"
    return f"{value.dtype.value}{list(value.shape)}"
