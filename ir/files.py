"""Write files so that a failure never leaves half a file in place of a good one."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ellc.ir.errors import EllcError

FULL_DISK_HINT = "free some space, or write to another disk (TMPDIR for temporary files)"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSING = (*_FULL, errno.EFBIG, errno.EROFS, errno.EIO)


@contextmanager
def whole_file(path: Path, *, code: str = "E703", needed_bytes: int = 0) -> Iterator[Path]:
    """Yield a path to write to. If the `with` block raises no error, this file replaces `path`.

    At any moment `path` has its complete old content or its complete new content. If the process is
    killed, the incomplete file stays until the next write to the same path overwrites it. Links
    are followed. A path that is not a plain file (`/dev/stdout`) is written directly. Raises
    `EllcError` with `code` if the system refuses the write. The message about a full disk contains
    `needed_bytes`, if that is not 0.
    """
    try:
        target = real_path(path)
        direct = target.exists() and not target.is_file()
    except OSError as error:
        raise cannot_write(path, error, code=code) from error
    written = target if direct else target.with_name(f"{target.name}.part")
    try:
        yield written
        if not direct:
            written.replace(target)
    except OSError as error:
        raise cannot_write(path, error, code=code, needed_bytes=needed_bytes) from error
    finally:
        if not direct:
            with suppress(OSError):
                written.unlink(missing_ok=True)


def real_path(path: Path) -> Path:
    """The path with every link followed; raises `OSError` for text that is not a valid path."""
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error)) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file completely or not at all; raises `EllcError` (E703) if that fails."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def check_folder(path: Path) -> None:
    """Raise `EllcError` E703 if the folder of a file that is written later does not exist.

    Long work is then not lost.
    """
    if not path.parent.is_dir():
        missing = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        raise cannot_write(path, missing)


def cannot_write(
    path: Path, error: OSError, *, code: str = "E703", needed_bytes: int = 0, hint: str = ""
) -> EllcError:
    """The error for a file or folder that the system refuses to write."""
    if not is_full(error):
        reason = error.strerror or str(error)
        return EllcError(f"cannot be written: {reason}", code=code, where=str(path), hint=hint)
    needs = f": at least {needed_bytes:,} bytes are needed" if needed_bytes else ""
    return EllcError(
        f"no space left on the disk{needs}",
        code=code,
        where=str(_fuller(path)),
        hint=FULL_DISK_HINT,
    )


def is_full(error: OSError) -> bool:
    """Whether the error says that a disk, or the user's quota on it, is full."""
    return error.errno in _FULL


def refuses_to_write(error: OSError) -> bool:
    """Whether an error means a full, read-only or broken disk, or a file too large for the disk.

    Any write, also to a temporary file, can fail like this in spite of earlier checks.
    """
    return error.errno in _REFUSING


def _fuller(path: Path) -> Path:
    """Of `path` and the folder of temporary files, the one whose disk has less free space."""

    def free_bytes(folder: Path) -> int:
        try:
            return shutil.disk_usage(folder).free
        except OSError:
            return 0

    temporary = Path(tempfile.gettempdir())
    existing = next((p for p in (path, *path.absolute().parents) if p.exists()), path)
    return temporary if free_bytes(temporary) < free_bytes(existing) else path
