"""Tensors of integers of 4 and 2 bits: values of the class `Narrow`, with one integer per byte.

Arithmetic on bytes could leave the range of the narrow type. So a handler gets `Narrow` values only
if it is registered for them (`narrow` in `registry.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ellc.frontends.graph_import.values import Emitter, Value
from ellc.frontends.onnx.tensors import NARROW_TYPES, NarrowType, StoredTensor


@dataclass(frozen=True, slots=True, eq=False)
class Narrow(Value):
    """A tensor of integers of 4 or 2 bits; `kind` is the type in the file."""

    kind: NarrowType = field(kw_only=True)

    @staticmethod
    def of(value: Value, kind: NarrowType) -> Narrow:
        """Make a narrow value from a value of bytes, which must be in the range of the type."""
        return Narrow(value.type, value.array, value.ref, kind=kind)

    @property
    def wide(self) -> Value:
        """The same integers as an ordinary value of bytes."""
        return Value(self.type, self.array, self.ref)


def stored_value(emitter: Emitter, stored: StoredTensor) -> Value:
    """The value of a stored tensor. Raises the same errors as `StoredTensor.array`."""
    value, kind = emitter.constant(stored.array()), NARROW_TYPES.get(stored.element_type)
    return value if kind is None else Narrow.of(value, kind)


def same_kind(value: Value, like: Value) -> Value:
    """Make the value narrow if `like` is narrow; all its elements must come from `like`."""
    return Narrow.of(value, like.kind) if isinstance(like, Narrow) else value
