"""The weight pool: read-only arrays, keyed by their content hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from ellc.ir.types import Array

KEY_BYTES = 16


def content_key(array: Array) -> str:
    """A 128-bit hash (32 hex digits) of an array's element type, shape and bytes."""
    data = np.asarray(array, order="C")
    digest = hashlib.blake2b(digest_size=KEY_BYTES)
    digest.update(f"{data.dtype.str}{data.shape}".encode())
    digest.update(data.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


class WeightPool:
    """Arrays, keyed by their content. No array is ever removed, so graphs may share a pool."""

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}

    def add(self, array: Array) -> str:
        """Add a read-only view of an array, or of a copy in C order; returns its key."""
        data = np.asarray(array, order="C")
        key = content_key(data)
        if key not in self._arrays:
            view = data.view()
            view.flags.writeable = False
            self._arrays[key] = view
        return key

    def keep(self, key: str, array: Array) -> None:
        """Add a read-only array in C order whose `content_key` is known: `key`."""
        self._arrays.setdefault(key, array)

    def __getitem__(self, key: str) -> Array:
        return self._arrays[key]

    def __contains__(self, key: object) -> bool:
        return key in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)
