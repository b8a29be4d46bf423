"""JSON of unknown origin, with a bound that is kept before anything is made of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

MOST_VALUES = 1_000_000
"""Arrays, objects and what they hold. A value takes two bytes of a file and up to 70 of memory."""


def values_of(
    data: bytes, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> object:
    """A document of JSON, read as `json.loads` does.

    Raises `ValueError` for what is no JSON or has more than `MOST_VALUES` values, and
    `RecursionError` for what is nested too deeply.
    """
    # Every value but the outermost follows one of these. Those in texts are counted, too.
    if sum(map(data.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES:,} values")
    return json.loads(data, object_pairs_hook=pairs_hook)
