"""Temporary folders, removed after use; if a process is killed, a later one removes its folders."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":  # Windows has no `flock`: there, folders of killed processes stay
    import fcntl


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """Create a private folder `ellc-PURPOSE-*` in the system's folder of temporary files (TMPDIR).

    Raises `OSError` if it cannot be created.
    """
    parent, prefix = Path(tempfile.gettempdir()), f"ellc-{purpose}-"
    for folder, lock in abandoned(parent, prefix):
        remove(folder, lock)
    with work_folder(parent, prefix) as folder:
        yield folder


@contextmanager
def work_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Create a private folder `PREFIX*` in `parent`; it is locked during use, then removed."""
    # The name is chosen before the folder exists, so that Ctrl-C at any moment leaves no folder.
    folder, lock = parent / f"{prefix}{secrets.token_hex(8)}", None
    try:
        while lock is None:
            lock = _lock_of_new(folder)
        yield folder
    finally:
        remove(folder, -1 if lock is None else lock)


def abandoned(parent: Path, prefix: str) -> Iterator[tuple[Path, int]]:
    """Lock folders `PREFIX*` in `parent` whose processes have ended; yields (folder, lock)."""
    if sys.platform == "win32":
        return
    for folder in sorted(parent.glob(f"{prefix}*")):
        try:
            lock = _opened(folder)
        except OSError:  # the folder of another user, or not a folder
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
        else:
            yield folder, lock


def remove(folder: Path, lock: int) -> None:
    """Remove a folder, then release its lock; -1 stands for no lock."""
    shutil.rmtree(folder, ignore_errors=True)
    if lock >= 0:
        os.close(lock)


def _lock_of_new(folder: Path) -> int | None:
    """Create a folder and lock it; returns the lock, or -1 on a system without locks.

    Returns None if another process removed the folder as abandoned before it was locked.
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
    except OSError:  # the disk has no locks, so `abandoned` never yields folders on it
        return lock
    if folder.exists():
        return lock
    os.close(lock)
    return None


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
