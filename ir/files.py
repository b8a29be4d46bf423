"""Writing files so that a failure never leaves a half-written one in place of a good one."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ellc.ir.errors import EllcError

FULL_DISK_HINT = "make room, or name a place on another disk (TMPDIR for temporary files)"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSING = (*_FULL, errno.EFBIG, errno.EROFS, errno.EIO)


@contextmanager
def whole_file(path: Path, *, code: str = "E703", needed_bytes: int = 0) -> Iterator[Path]:
    """A path to write to, whose file takes the place of `path` when the block ends well.

    At any moment `path` holds its old content or the new one, never a part. What a killed writer
    left is overwritten by the next one of that file. Links are followed, and what is not a plain
    file (`/dev/stdout`) is written directly. Raises `EllcError` with `code` where the system does
    not let it be written; `needed_bytes`, if known, goes into the message of a full disk.
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
    """The path with every link followed; `OSError` for a text that no system takes as one."""
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error)) from error


def write_text(path: Path, text: str) -> None:
    """Write a whole text file at once; raises `EllcError` (E703) where that is not possible."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def cannot_write(
    path: Path, error: OSError, *, code: str = "E703", needed_bytes: int = 0, hint: str = ""
) -> EllcError:
    """The report of a file or folder that the system does not let be written."""
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
    """Whether it says that a disk, or the user's share of it, is full."""
    return error.errno in _FULL


def refuses_to_write(error: OSError) -> bool:
    """Whether it says that a disk is full, read-only or broken, or a file as large as it may be.

    This can happen to any file at any time, temporary ones too, despite all earlier checks.
    """
    return error.errno in _REFUSING


def _fuller(path: Path) -> Path:
    """The place that is full: that of the result, or that of temporary files."""

    def free_bytes(place: Path) -> int:
        try:
            return shutil.disk_usage(place).free
        except OSError:
            return 0

    temporary = Path(tempfile.gettempdir())
    existing = next((p for p in (path, *path.absolute().parents) if p.exists()), path)
    return temporary if free_bytes(temporary) < free_bytes(existing) else path
