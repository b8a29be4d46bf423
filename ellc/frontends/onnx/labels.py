"""Reads class names from the metadata of an ONNX file.

ONNX has no standard for them. Exporters store a list, or a dict from numbers to names, as JSON or
as a Python literal.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping

_KEYS = ("labels", "names", "class_names", "classes")
_MOST_CHARACTERS = 1 << 20


def stated_labels(metadata: Mapping[str, str]) -> str:
    """The names of the classes, one on each line; '' if no entry has a list or a dict of them."""
    for key in _KEYS:
        names = _names(_value(metadata.get(key, "")))
        if names and not any(name.splitlines()[1:] for name in names):
            return "\n".join(names)
    return ""


def _value(text: str) -> object:
    """The value of a list or dict as text; None for other text."""
    text = text.strip()
    if len(text) > _MOST_CHARACTERS or text[:1] not in ("[", "{", "("):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            value: object = read(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        return value
    return None


def _names(value: object) -> list[str]:
    """Names in the order of their numbers; none unless all of them are there."""
    if isinstance(value, dict):
        by_number = {str(number): name for number, name in value.items()}
        value = [by_number.get(str(number)) for number in range(len(value))]
    if not isinstance(value, list | tuple):
        return []
    names = [name for name in value if isinstance(name, str) and name.strip()]
    return names if len(names) == len(value) else []
