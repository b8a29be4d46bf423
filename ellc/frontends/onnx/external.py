"""Tensors that lie in files of their own, beside the model and nowhere else."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ir.errors import EllcError


def read_external(folder: Path | None, entries: Mapping[str, str], size: int, tensor: str) -> bytes:
    """`size` bytes of the file that a tensor's entries (location, offset, length) name.

    The file must lie in `folder` or below it; no link is followed on the way there. Raises
    `EllcError` E210.
    """

    def refuse(what: str) -> EllcError:
        return EllcError(f"the tensor '{tensor}' lies in another file, {what}", code="E210")

    location = entries.get("location", "")
    if folder is None:
        raise refuse("and a model without a folder has none")
    path = _path(folder, location)
    if path is None:
        raise refuse(f"'{location[:200]}', which is not below the model's own folder")
    offset, length = (_whole(entries.get(key, default)) for key, default in _RANGE)
    if offset is None or length is None:
        raise refuse("at an offset or of a length that is no number")
    if entries.get("length") and length != size:
        raise refuse(f"of which it takes {length} bytes, its shape needs {size}")
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise refuse(f"'{location[:200]}': {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or offset + size > status.st_size:
            raise refuse(f"'{location[:200]}', which does not hold bytes {offset} and {size} more")
        file.seek(offset)
        return file.read(size)


_RANGE = (("offset", "0"), ("length", "0"))


def _path(folder: Path, location: str) -> Path | None:
    """The file, or None if the location leads out of the folder or over a link."""
    parts = PurePosixPath(location).parts
    if not parts or "\\" in location or "\0" in location or ":" in location:
        return None
    if location.startswith("/") or ".." in parts:
        return None
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink():
            return None
    return path


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
