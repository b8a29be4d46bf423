"""Build attribute objects from parsed values: every field is checked against its annotation."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

_INTEGER_BITS = 64
"""Integers of attributes fit into this many bits, sign included, since numpy computes with them."""


def build(cls: type, values: Mapping[str, object]) -> Any:
    """An object of a dataclass; raises `TypeError` for wrong names or values that do not fit.

    An integer also fits a `float` field and has at most 64 bits. A `bool` is not a number. A tuple
    must have the length that its annotation gives.
    """
    hints = field_types(cls)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise TypeError(f"has no attribute {', '.join(unknown)}")
    for name, value in values.items():
        if not fits(value, hints[name]):
            raise TypeError(f"attribute {name} cannot be {value!r}")
    required = {f.name for f in dataclasses.fields(cls) if _is_required(f)}
    if missing := sorted(required - set(values)):
        raise TypeError(f"needs the attribute {', '.join(missing)}")
    return cls(**values)


def _is_required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


@cache
def field_types(cls: type) -> dict[str, Any]:
    """The annotation of each field of a dataclass by its name, in order of declaration."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def fits(value: object, hint: Any) -> bool:
    """Whether a value has the annotated type: a union, a tuple or a plain class."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, h) for h in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return all(fits(v, arguments[0]) for v in value)
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if hint in (int, float):
        number = int if hint is int else (int, float)
        small = not isinstance(value, int) or value.bit_length() < _INTEGER_BITS
        return isinstance(value, number) and not isinstance(value, bool) and small
    return isinstance(value, hint)
