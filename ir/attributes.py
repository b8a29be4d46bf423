"""Create attribute objects from parsed values, and check every value against its annotation."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

_INTEGER_BITS = 64
"""Bits of an integer attribute, including its sign: numpy computes with int64."""


def build(cls: type, values: Mapping[str, object]) -> Any:
    """Make an object of the dataclass `cls` from its field values by name.

    Raises `TypeError` for an unknown or missing field, or a value that does not fit its annotation.
    A `float` field also accepts integers. Integers have at most 64 bits. A `bool` does not count as
    a number. A tuple must have the length in its annotation.
    """
    hints = field_types(cls)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise TypeError(f"has no attribute {' or '.join(unknown)}")
    for name, value in values.items():
        if not fits(value, hints[name]):
            raise TypeError(f"attribute {name} cannot be {value!r}")
    required = {f.name for f in dataclasses.fields(cls) if _is_required(f)}
    if missing := sorted(required - set(values)):
        raise TypeError(f"needs a value for {' and '.join(missing)}")
    return cls(**values)


def _is_required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


@cache
def field_types(cls: type) -> dict[str, Any]:
    """The annotations of a dataclass's fields by name, in order of declaration."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def fits(value: object, hint: Any) -> bool:
    """Whether a value fits the annotation `hint`: a union, a tuple or a plain class."""
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
