"""Temporary folders. Each is removed after use; the next process removes those of killed ones."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":  # Windows has no such locks, so leftovers are not removed there
    import fcntl


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """A private folder `ellc-PURPOSE-*` among the system's temporary files (TMPDIR).

    Raises `OSError` if it cannot be created.
    """
    parent, prefix = Path(tempfile.gettempdir()), f"ellc-{purpose}-"
    for folder, lock in abandoned(parent, prefix):
        remove(folder, lock)
    with work_folder(parent, prefix) as folder:
        yield folder


@contextmanager
def work_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A private folder `PREFIX*` in `parent`, locked while the `with` block runs."""
    # The name is chosen before the folder exists, so that Ctrl-C at any moment leaves no folder.
    folder, lock = parent / f"{prefix}{secrets.token_hex(8)}", None
    try:
        while lock is None:
            lock = _lock_of_new(folder)
        yield folder
    finally:
        remove(folder, -1 if lock is None else lock)


def abandoned(parent: Path, prefix: str) -> Iterator[tuple[Path, int]]:
    """The folders `PREFIX*` in `parent` whose process has ended, each locked by this process."""
    if sys.platform == "win32":
        return
    for folder in sorted(parent.glob(f"{prefix}*")):
        try:
            lock = _opened(folder)
        except OSError:  # another user's, or not a folder
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
        else:
            yield folder, lock


def remove(folder: Path, lock: int) -> None:
    """Remove a folder, then release its lock (-1: there is none)."""
    shutil.rmtree(folder, ignore_errors=True)
    if lock >= 0:
        os.close(lock)


def _lock_of_new(folder: Path) -> int | None:
    """Create a folder and lock it; returns the lock, -1 on systems without locks.

    None if another process took the folder for abandoned and removed it before it was locked.
    """
    folder.mkdir(0o700)
    if sys.platform == "win32":
        return -1
    try:
        lock = _opened(folder)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:  # a disk without locks; `abandoned` never yields its folders
        return lock
    if folder.exists():
        return lock
    os.close(lock)
    return None


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
