"""Reads tensors that are stored in separate files, in the folder of the model or below it."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path, PurePosixPath

from ellc.ir.errors import EllcError
from ellc.ir.limits import Limits
from ellc.ir.reading import want_dense


@dataclass(slots=True)
class ExternalFiles:
    """Reads the separate files of one model. `folder` is the folder with the model, or None.

    A range of bytes is read once, even if several tensors name it. A small file must not cause much
    work, so two totals are limited for each file. The sizes of all different ranges may add up to
    at most twice the size of the file, plus `small_bytes`. The sizes of ranges that are named again
    may add up to at most twice the size of the file, plus `small_bytes` * `growth_ratio`.
    """

    folder: Path | None
    limits: Limits
    _read: dict[tuple[str, int, int], bytes] = field(default_factory=dict)
    # For each location: the total size of different ranges, the size of the file, and the total
    # size of ranges that were named again.
    _bytes: Counter[str] = field(default_factory=Counter)
    _stored: dict[str, int] = field(default_factory=dict)
    _again: Counter[str] = field(default_factory=Counter)

    def read(self, entries: Mapping[str, str], size: int, tensor: str) -> bytes:
        """Read `size` bytes of the file that a tensor's entries (location, offset, length) name.

        The file must be in `folder` or below it, and no part of its path may be a link. Raises
        `EllcError`: E203 for a file that is beyond the limits, is sparse or is read too often; E210
        for other faults.
        """
        location, offset = _range(self.folder, entries, size, tensor)
        key = (location, offset, size)
        if key not in self._read:
            self._read[key] = self._new_range(*key, tensor)
        else:
            # No bytes are read here, but the tensor may become a constant of at least this size.
            free = self.limits.small_bytes * self.limits.growth_ratio
            self._count(self._again, location, size, free)
        return self._read[key]

    def _count(self, counter: Counter[str], location: str, size: int, free: int) -> None:
        counter[location] += size
        if counter[location] > free + _READINGS * self._stored[location]:
            raise EllcError(
                f"tensors refer to more than {_READINGS} times the bytes of the file",
                code="E203",
                where=f"'{location[:200]}'",
            )

    def _new_range(self, location: str, offset: int, size: int, tensor: str) -> bytes:
        assert self.folder is not None
        shown = f"'{location[:200]}'"
        try:
            with os.fdopen(_opened(self.folder / location), "rb") as file:
                stored = os.fstat(file.fileno()).st_size
                if offset + size > stored:
                    raise _refused(tensor, f"{shown}, which ends before byte {offset + size}")
                want_dense(file, self.limits, shown)
                self._stored[location] = stored
                self._count(self._bytes, location, size, self.limits.small_bytes)
                file.seek(offset)
                return file.read(size)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise _refused(tensor, f"{shown}: {reason}") from None


def _refused(tensor: str, what: str) -> EllcError:
    return EllcError(f"the tensor '{tensor}' is stored in another file, {what}", code="E210")


def _range(
    folder: Path | None, entries: Mapping[str, str], size: int, tensor: str
) -> tuple[str, int]:
    """The location and the offset in a tensor's entries; raises `EllcError` E210 if invalid."""

    def refuse(what: str) -> EllcError:
        return _refused(tensor, what)

    location = entries.get("location", "")
    if folder is None:
        raise refuse("but the model has no folder")
    if not _is_below(folder, location):
        raise refuse(f"'{location[:200]}', which is not below the model's own folder")
    offset, length = (_integer(entries.get(key, default)) for key, default in _RANGE)
    if offset is None or length is None:
        raise refuse("but its offset or length is not a number")
    if entries.get("length") and length != size:
        raise refuse(f"with a length of {length} bytes, but its shape needs {size}")
    return location, offset


def _opened(path: Path) -> int:
    """Open a regular file, not a link, and return its descriptor; raise `OSError` otherwise."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is not an ordinary file")


_RANGE = (("offset", "0"), ("length", "0"))
_READINGS = 2  # a file's ranges may add up to at most this many times the file's size


def _is_below(folder: Path, location: str) -> bool:
    """Whether a location is a path below the folder, and no part of the path is a link."""
    parts = PurePosixPath(location).parts
    if not parts or "\\" in location or "\0" in location or ":" in location:
        return False
    if location.startswith("/") or ".." in parts:
        return False
    steps = accumulate(parts, lambda path, part: path / part, initial=folder)
    try:
        return not any(path.is_symlink() for path in steps if path != folder)
    except OSError:  # a name that is too long
        return False


def _integer(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
