"""Folders to work in that are gone afterwards, those of killed processes by the next one."""

from __future__ import annotations

import os
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
    """A private folder `PREFIX*` in `beside`, locked as long as the block runs."""
    folder, lock = _locked_folder(beside, prefix)
    try:
        yield folder
    finally:
        remove(folder, lock)


def abandoned(beside: Path, prefix: str) -> Iterator[tuple[Path, int]]:
    """The folders `PREFIX*` in `beside` whose process is dead, each with our lock on it."""
    if sys.platform == "win32":
        return
    for folder in sorted(beside.glob(f"{prefix}*")):
        try:
            lock = _opened(folder)
        except OSError:  # another user's, or no folder
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


def _locked_folder(beside: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=beside))
        if sys.platform == "win32":
            return folder, -1
        try:
            lock = _opened(folder)
        except FileNotFoundError:  # taken for abandoned at once
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:  # a disk without locks, where none is ever found abandoned
            return folder, lock
        if folder.exists():  # else taken for abandoned before it had its lock
            return folder, lock
        os.close(lock)


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
