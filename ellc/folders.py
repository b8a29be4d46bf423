"""An output folder that is replaced whole or not at all.

The new folder is made next to the old one, gets hard links to the files of other names in it, and
takes its place by one exchange of names. A writer that is killed leaves a folder `.ellc-HASH-*`,
which the next one for the same folder removes.
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
    """A new folder that takes the place of `folder` when the block ends well, else vanishes.

    Files of other names in `folder` are kept. A link is followed. A folder that cannot be renamed -
    the current one, a mount point, one of another owner or in a folder that may not be written -
    gets the files one by one, that called `last` first removed and written last: where it is, all
    belong together. Raises `EllcError` (E703) for what the system does not allow; `needed_bytes`,
    if known, goes into the message of a full disk.
    """
    try:
        place = real_path(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        _want_writable(place)
        _tidy(place)
        renamed = _can_be_renamed(place)
        with work_folder(place.parent if renamed else place, _prefix(place)) as work:
            new = work / _NEW
            new.mkdir()
            yield new
            _want_no_folders(place, new)
            if renamed:
                _replace(place, work)
            else:
                _move_into(place, new, last)
    except OSError as error:
        hint = "-o names another folder"
        raise cannot_write(folder, error, needed_bytes=needed_bytes, hint=hint) from error


def _want_writable(place: Path) -> None:
    if place.exists() and not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "it is a file, not a folder")
    if place.exists() and not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _want_no_folders(place: Path, new: Path) -> None:
    """A folder of the user's is not replaced by a file."""
    for path in sorted(new.iterdir()):
        if (place / path.name).is_dir():
            raise IsADirectoryError(errno.EISDIR, f"there is a folder called {path.name} in it")


def _can_be_renamed(place: Path) -> bool:
    """Whether nobody is in the folder's way, or in it."""
    if not place.exists():
        return True
    if _is_entered(place) or any(os.path.ismount(p) for p in _folders(place)):
        return False
    same_owner = place.stat().st_uid == getattr(os, "geteuid", lambda: 0)()
    return same_owner and os.access(place.parent, os.W_OK | os.X_OK)


def _is_entered(place: Path) -> bool:
    """Whether the current folder is this one or below it; one that was removed is nowhere."""
    try:
        return Path.cwd().is_relative_to(place)
    except FileNotFoundError:
        return False


def _folders(place: Path) -> Iterator[Path]:
    """The folder and all below."""
    return (Path(path) for path, _, _ in os.walk(place))


# --- where new files are made ---------------------------------------------------------------------


def _prefix(place: Path) -> str:
    """Other folders' leftovers are called otherwise, and no name of a folder is too long."""
    return f".ellc-{hashlib.sha256(os.fsencode(place.name)).hexdigest()[:12]}-"


def _tidy(place: Path) -> None:
    """Remove what killed writers left; an old folder whose new one never came goes back."""
    for beside in (place.parent, place):
        for work, lock in abandoned(beside, _prefix(place)):
            if (work / _OLD).exists() and not place.exists():
                (work / _OLD).rename(place)
            remove(work, lock)


# --- from the old folder to the new one -----------------------------------------------------------


def _replace(place: Path, work: Path) -> None:
    new, old = work / _NEW, work / _OLD
    if not place.exists():
        new.rename(place)
        return
    _keep(place, new)
    if _exchange(new, place):
        old = new
    else:
        place.rename(old)
        new.rename(place)
    for path in sorted(old.iterdir()):  # what came in meanwhile
        if not os.path.lexists(place / path.name):
            path.rename(place / path.name)


def _keep(old: Path, new: Path) -> None:
    """Put what `old` holds and `new` does not into `new`: files are linked, folders made."""
    for path in sorted(old.iterdir()):
        kept = new / path.name
        if path.is_dir() and not path.is_symlink():
            kept.mkdir()
            _keep(path, kept)
        elif not os.path.lexists(kept):
            _link(path, kept)
    shutil.copystat(old, new)


def _link(path: Path, kept: Path) -> None:
    try:
        os.link(path, kept, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy2(path, kept, follow_symlinks=False)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system or the disk cannot."""
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


def _move_into(place: Path, new: Path, last: str) -> None:
    (place / last).unlink(missing_ok=True)
    for path in sorted(new.iterdir(), key=lambda p: (p.name == last, p.name)):
        path.replace(place / path.name)
