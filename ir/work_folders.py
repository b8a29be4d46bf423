"""Folders to work in that are gone afterwards, those of killed processes by the next one."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":  # which has no such locks: there leftovers stay
    import fcntl


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """A private folder `ellc-PURPOSE-*` among the system's temporary files (TMPDIR).

    Raises OSError if there can be none.
    """
    beside, prefix = Path(tempfile.gettempdir()), f"ellc-{purpose}-"
    for folder, lock in abandoned(beside, prefix):
        remove(folder, lock)
    with work_folder(beside, prefix) as folder:
        yield folder


@contextmanager
def work_folder(beside: Path, prefix: str) -> Iterator[Path]:
    """A private folder `PREFIX*` in `beside`, locked while the `with` block runs."""
    # Its name is known before it is there, so that Ctrl-C at any moment leaves none.
    folder, lock = beside / f"{prefix}{secrets.token_hex(8)}", None
    try:
        while lock is None:
            lock = _lock_of_new(folder)
        yield folder
    finally:
        remove(folder, -1 if lock is None else lock)


def abandoned(beside: Path, prefix: str) -> Iterator[tuple[Path, int]]:
    """The folders `PREFIX*` in `beside` whose process has ended, each locked by this one."""
    if sys.platform == "win32":
        return
    for folder in sorted(beside.glob(f"{prefix}*")):
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
    """Remove a folder, then give up its lock."""
    shutil.rmtree(folder, ignore_errors=True)
    if lock >= 0:
        os.close(lock)


def _lock_of_new(folder: Path) -> int | None:
    """Make a folder and lock it: the lock, -1 where there is none.

    None if the folder is gone, because it was taken for abandoned before it had its lock.
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
    except OSError:  # a disk without locks, where none is ever found abandoned
        return lock
    if folder.exists():
        return lock
    os.close(lock)
    return None


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
