"""Read JSON from an untrusted file; the number of values is bounded before objects are created."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

MOST_VALUES = 1_000_000
"""The maximum number of values in a document. A value of 2 bytes in the file can take 70 bytes of
memory."""


def values_of(
    data: bytes, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> object:
    """The JSON document, parsed as by `json.loads`.

    Raises `ValueError` if it is not JSON or has more than `MOST_VALUES` values, `RecursionError` if
    it is nested too deeply.
    """
    # A comma or bracket precedes every value but the outermost, so this is an upper bound.
    if sum(map(data.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES:,} values")
    return json.loads(data, object_pairs_hook=pairs_hook)
