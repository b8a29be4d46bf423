"""Reads the options of custom operators, stored as a map in the FlexBuffers format."""

from __future__ import annotations

import struct
from types import MappingProxyType
from typing import Any

from flatbuffers import flexbuffers

from ellc.frontends.tflite.model import NO_OPTIONS, NodeOptions, Option
from ellc.frontends.tflite.tables import EntryBudget

# No known operator has this many options. The limit bounds the time for finding the ends of keys.
_MOST_KEYS = 256
# The exceptions that the package raises for bytes that are not a map. It never reads beyond the
# bytes.
_NO_MAP = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error)


def custom_options(raw: bytes, budget: EntryBudget) -> NodeOptions:
    """Read the options by name. Bytes that are not a FlexBuffers map give no options.

    An operator may store its options in any format, so such bytes are no error. A map with more
    than 256 options, or a list that is longer than the bytes, gives no options either. Raises
    `Damaged` if all lists together exceed the budget of the file.
    """
    try:
        root = flexbuffers.GetRoot(raw)
        if not root.IsMap or len(root.AsMap) > _MOST_KEYS:
            return NO_OPTIONS
        pairs = zip(root.AsMap.Keys, root.AsMap.Values, strict=True)
        values = {key.AsKey: _option(value, len(raw), budget) for key, value in pairs}
    except _NO_MAP:
        return NO_OPTIONS
    return NodeOptions(MappingProxyType({k: v for k, v in values.items() if v is not None}))


def _option(value: Any, most_items: int, budget: EntryBudget) -> Option | None:
    """A scalar, a string or a list of integers; None for any other type."""
    if value.IsBool:
        return bool(value.AsBool)
    if value.IsInt:
        return int(value.AsInt)
    if value.IsFloat:
        return float(value.AsFloat)
    if value.IsString:
        return str(value.AsString)
    if value.IsTypedVector or value.IsFixedTypedVector:
        items = value.AsTypedVector if value.IsTypedVector else value.AsFixedTypedVector
    elif value.IsVector and not value.IsMap:
        items = value.AsVector
    else:
        return None
    if len(items) > most_items:
        raise ValueError("a list is longer than the options")
    budget.spend(len(items))
    return tuple(item.AsInt for item in items) if all(i.IsInt for i in items) else None
