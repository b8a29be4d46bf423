"""Options of custom operators: a map of scalars and lists in the format FlexBuffers."""

from __future__ import annotations

import struct
from types import MappingProxyType
from typing import Any

from flatbuffers import flexbuffers

from ellc.frontends.tflite.model import NO_OPTIONS, Option, Options
from ellc.frontends.tflite.tables import Budget

# More than any operator has; a key costs a search for its end.
_MOST_KEYS = 256
# What the package raises of bytes that are no map; it cannot read beyond them.
_NO_MAP = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error)


def custom_options(raw: bytes, budget: Budget) -> Options:
    """The options by their names; none of bytes that are no such map.

    An operator may keep its options in any format, so that other bytes are no damage. Raises
    `Damaged` for lists that are longer than the file.
    """
    try:
        found = flexbuffers.GetRoot(raw)
        if not found.IsMap or len(found.AsMap) > _MOST_KEYS:
            return NO_OPTIONS
        pairs = zip(found.AsMap.Keys, found.AsMap.Values, strict=True)
        values = {key.AsKey: _option(value, len(raw), budget) for key, value in pairs}
    except _NO_MAP:
        return NO_OPTIONS
    return Options(MappingProxyType({k: v for k, v in values.items() if v is not None}))


def _option(value: Any, most: int, budget: Budget) -> Option | None:
    """A scalar, a text or a list of whole numbers; None for what no operator has."""
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
    if len(items) > most:
        raise ValueError("a list beyond its options")
    budget.spend(len(items))
    return tuple(item.AsInt for item in items) if all(i.IsInt for i in items) else None
