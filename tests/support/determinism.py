"""Check that a command writes the same bytes in any folder and with any hash seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from shared_schedules import nothing_kept


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in a folder and its subfolders, by relative path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def assert_same_bytes_twice(run: Callable[[Path, str], object], scratch: Path) -> dict[str, str]:
    """Call `run(folder, hash_seed)` for two new folders, and compare all files in them.

    The names of the folders have different lengths, so that a path in an output is found. Returns
    the digests, so that a test can check which files there are.
    """
    results = []
    for folder, seed in ((scratch / "a", "1"), (scratch / "another folder, deeper" / "b", "42")):
        folder.mkdir(parents=True)
        with nothing_kept():  # the second run must not read what the first has found
            run(folder, seed)
        results.append(digests(folder))
    first, second = results
    assert first, "nothing was written"
    assert sorted(first) == sorted(second)
    differing = [name for name in first if first[name] != second[name]]
    assert not differing, f"bytes differ: {differing}"
    return first
