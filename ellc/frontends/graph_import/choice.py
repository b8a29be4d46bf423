"""A choice between the results of two graphs, made when the network runs."""

from __future__ import annotations

from ellc.frontends.graph_import.broadcast import pointwise
from ellc.frontends.graph_import.values import Emitter, Listed, Unsupported, Value
from ellc.ir.ops.pointwise import Select
from ellc.ir.ops.shape import Reshape


def either(emitter: Emitter, name: str, a: Value, b: Value, condition: Value) -> Value:
    """`a` if the single element of `condition` is true, else `b`; of sequences, item by item.

    The planner leaves out what only the other side needs (`ellc.ir.branches`). Raises `Unsupported`
    for sides of different shapes or element types; `name` is what the report calls the result.
    """
    if isinstance(a, Listed) and isinstance(b, Listed) and len(a.items) == len(b.items):
        pairs = zip(a.items, b.items, strict=True)
        return Listed.of(either(emitter, name, x, y, condition) for x, y in pairs)
    if isinstance(a, Listed) or isinstance(b, Listed) or (a.shape, a.dtype) != (b.shape, b.dtype):
        raise Unsupported(
            f"'{name}' is {_said(a)} in one branch and {_said(b)} in the other, and the network "
            "computes its condition; fix the inputs that decide with --set"
        )
    ones = (1,) * a.type.rank
    flag = condition if condition.shape == ones else emitter.add(Reshape(ones), condition)
    return pointwise(emitter, Select(), a, b, flag)


def _said(value: Value) -> str:
    if isinstance(value, Listed):
        return f"a sequence of {len(value.items)}"
    return f"{value.dtype.value}{list(value.shape)}"
