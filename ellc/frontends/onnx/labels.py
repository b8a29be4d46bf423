"""Reads class names from the metadata of an ONNX file.

ONNX has no standard for class names. Exporters store a list, or a dict from class numbers to names,
as JSON or as a Python literal.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping

from ellc.ir.printable import lines_of

_KEYS = ("labels", "names", "class_names", "classes")
_MOST_CHARACTERS = 1 << 20


def stated_labels(metadata: Mapping[str, str]) -> str:
    """The class names, one on each line, from the first entry in `_KEYS` that has usable names.

    These are a list or a dict of names without line breaks. Returns '' if no entry has them.
    """
    for key in _KEYS:
        names = _names(_value(metadata.get(key, "")))
        if names and not any(lines_of(name)[1:] for name in names):
            return "\n".join(names)
    return ""


def _value(text: str) -> object:
    """Parse a text as a list or dict; None for any other text."""
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
    """The names in the order of their numbers; an empty list if any name is missing."""
    if isinstance(value, dict):
        by_number = {str(number): name for number, name in value.items()}
        value = [by_number.get(str(number)) for number in range(len(value))]
    if not isinstance(value, list | tuple):
        return []
    names = [name for name in value if isinstance(name, str) and name.strip()]
    return names if len(names) == len(value) else []
