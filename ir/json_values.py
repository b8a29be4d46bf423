"""Read JSON of unknown origin, with a bound that is checked before objects are created."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

MOST_VALUES = 1_000_000
"""Most values: arrays, objects and their elements. A value may take only 2 bytes of the file, but
takes up to 70 bytes of memory."""


def values_of(
    data: bytes, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> object:
    """The document, as from `json.loads`.

    Raises `ValueError` if it is not JSON or has more than `MOST_VALUES` values, `RecursionError` if
    it is nested too deeply.
    """
    # One of these characters precedes every value but the outermost. Strings may contain more.
    if sum(map(data.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES:,} values")
    return json.loads(data, object_pairs_hook=pairs_hook)
