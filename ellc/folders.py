"""Replaces an output folder as a whole or not at all, if the folder can be renamed.

A new folder is created next to the old folder. Files of the old folder that have no new version are
hard-linked into the new one. Then the two folders exchange their names, in one step if the system
supports this. If the old folder cannot be renamed, the new files are moved into it one by one. A
writer that is killed leaves a work folder `.ellc-HASH-*`, which the next writer of the same folder
removes.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ellc.ir.files import cannot_write, real_path
from ellc.ir.work_folders import abandoned, remove, work_folder

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EMLINK)
_NEW, _OLD = "new", "old"


@contextmanager
def replaced_folder(folder: Path, last: str, *, needed_bytes: int = 0) -> Iterator[Path]:
    """Yield a new folder, which replaces `folder` if the `with` block succeeds.

    If the block raises, the new folder is removed. Files in `folder` whose names no new file has
    are kept. If `folder` is a symbolic link, the folder to which it points is replaced. Some
    folders cannot be renamed: a folder that is or contains the current folder or a mount point, a
    folder of another owner, and a folder whose parent is not writable. Then the new files are moved
    into `folder` one by one. In this case the file called `last` is removed first and written last,
    so that its presence shows that all files belong together. Raises `EllcError` (E703) if the
    system refuses an operation. `needed_bytes` is shown in the error about a full disk.
    """
    try:
        target = real_path(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        _want_writable(target)
        _tidy(target)
        renamed = _can_be_renamed(target)
        with work_folder(target.parent if renamed else target, _prefix(target)) as work:
            new = work / _NEW
            new.mkdir()
            yield new
            _want_no_folders(target, new)
            if renamed:
                _replace(target, work)
            else:
                _move_into(target, new, last)
    except OSError as error:
        hint = "-o names another folder"
        raise cannot_write(folder, error, needed_bytes=needed_bytes, hint=hint) from error


def _want_writable(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "this is a file, not a folder")
    if target.exists() and not os.access(target, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _want_no_folders(target: Path, new: Path) -> None:
    """Raise `OSError` if a file and a folder with the same name would meet in `target`."""
    for path in sorted(new.iterdir()):
        there = target / path.name
        if path.is_dir() and os.path.lexists(there) and not _is_folder(there):
            raise NotADirectoryError(errno.ENOTDIR, f"it contains a file called {path.name}")
        if path.is_dir() and there.exists():
            _want_no_folders(there, path)
        elif there.is_dir():
            raise IsADirectoryError(errno.EISDIR, f"it contains a folder called {path.name}")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _can_be_renamed(target: Path) -> bool:
    """Whether a folder can be renamed.

    The current folder and mount points must not be inside it, it must have the same owner as this
    process, and its parent must be writable.
    """
    if not target.exists():
        return True
    if _is_entered(target) or any(os.path.ismount(p) for p in _folders(target)):
        return False
    same_owner = target.stat().st_uid == getattr(os, "geteuid", lambda: 0)()
    return same_owner and os.access(target.parent, os.W_OK | os.X_OK)


def _is_entered(folder: Path) -> bool:
    """Whether the current folder is `folder` or below it; False if the current one was removed."""
    try:
        return Path.cwd().is_relative_to(folder)
    except FileNotFoundError:
        return False


def _folders(folder: Path) -> Iterator[Path]:
    """The folder itself and all folders below it."""
    return (Path(path) for path, _, _ in os.walk(folder))


# --- the folder for new files ---------------------------------------------------------------------


def _prefix(target: Path) -> str:
    """The prefix of a target's work folders: a hash, because the target's name may be too long."""
    return f".ellc-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]}-"


def _tidy(target: Path) -> None:
    """Remove the work folders of killed writers.

    If a writer was killed between moving the old folder away and moving the new one in, the old
    folder is restored.
    """
    for folder in (target.parent, target):
        for work, lock in abandoned(folder, _prefix(target)):
            if (work / _OLD).exists() and not target.exists():
                (work / _OLD).rename(target)
            remove(work, lock)


# --- from the old folder to the new one -----------------------------------------------------------


def _replace(target: Path, work: Path) -> None:
    new, old = work / _NEW, work / _OLD
    if not target.exists():
        new.rename(target)
        return
    _keep(target, new)
    if _exchange(new, target):
        old = new
    else:
        target.rename(old)
        new.rename(target)
    for path in sorted(old.iterdir()):  # files that other programs have created meanwhile
        if not os.path.lexists(target / path.name):
            path.rename(target / path.name)


def _keep(old: Path, new: Path) -> None:
    """Copy to `new` everything that only `old` has: files as hard links, folders recursively."""
    for path in sorted(old.iterdir()):
        copy = new / path.name
        if _is_folder(path):
            copy.mkdir(exist_ok=True)
            _keep(path, copy)
        elif not os.path.lexists(copy):
            _link(path, copy)
    shutil.copystat(old, new)


def _link(path: Path, copy: Path) -> None:
    try:
        os.link(path, copy, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy2(path, copy, follow_symlinks=False)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False if the system or the disk does not support it."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # not Linux, or an old C library
        return False
    names = os.fsencode(one), os.fsencode(other)
    if rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code))


def _move_into(target: Path, new: Path, last: str) -> None:
    if last:
        (target / last).unlink(missing_ok=True)
    for path in sorted(new.iterdir(), key=lambda p: (p.name == last, p.name)):
        if path.is_dir():
            (target / path.name).mkdir(exist_ok=True)
            _move_into(target / path.name, path, "")
        else:
            path.replace(target / path.name)
