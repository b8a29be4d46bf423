"""Numbers of 4 and 2 bits: held in bytes, and told apart from bytes by the type of their value.

What computes on bytes would let them grow out of their own range, so that operators which do not
ask for them never see one (`narrow` in `registry.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ellc.frontends.graph_import.values import Emitter, Value
from ellc.frontends.onnx.tensors import NARROW_TYPES, NarrowType, StoredTensor


@dataclass(frozen=True, slots=True, eq=False)
class Narrow(Value):
    """A tensor of such numbers, with ONNX's type."""

    kind: NarrowType = field(kw_only=True)

    @staticmethod
    def of(value: Value, kind: NarrowType) -> Narrow:
        """Bytes that stay within the range of the type."""
        return Narrow(value.type, value.array, value.ref, kind=kind)

    @property
    def wide(self) -> Value:
        """The same numbers as bytes."""
        return Value(self.type, self.array, self.ref)


def stored_value(emitter: Emitter, stored: StoredTensor) -> Value:
    """A stored tensor. Raises as `StoredTensor.array` does."""
    value, kind = emitter.constant(stored.array()), NARROW_TYPES.get(stored.element_type)
    return value if kind is None else Narrow.of(value, kind)


def same_kind(value: Value, like: Value) -> Value:
    """A value whose elements are some of another's."""
    return Narrow.of(value, like.kind) if isinstance(like, Narrow) else value
