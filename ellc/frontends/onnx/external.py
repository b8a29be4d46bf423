"""Tensors that lie in files of their own, beside the model and nowhere else."""

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
    """The files beside one model. `folder` is where the model lies, None if it is not in one.

    A range is read once, even if several tensors name it. The ranges of a file may have at most
    twice its length in all, and so may those that are named again, so that a small file cannot make
    ellc work much: the first `small_bytes` of what is read are not counted, and of what is named
    again the first `small_bytes` * `growth_ratio`.
    """

    folder: Path | None
    limits: Limits
    _read: dict[tuple[str, int, int], bytes] = field(default_factory=dict)
    _bytes: Counter[str] = field(default_factory=Counter)  # by location, of new ranges
    _stored: dict[str, int] = field(default_factory=dict)  # bytes of a file, by location
    _again: Counter[str] = field(default_factory=Counter)  # by location, of known ones

    def read(self, entries: Mapping[str, str], size: int, tensor: str) -> bytes:
        """`size` bytes of the file that a tensor's entries (location, offset, length) name.

        The file must lie in `folder` or below it; no link is followed on the way there. Raises
        `EllcError`: E210, or E203 for a file beyond the limits, nearly all of holes, or read too
        often.
        """
        location, offset = _range(self.folder, entries, size, tensor)
        key = (location, offset, size)
        if key not in self._read:
            self._read[key] = self._new_range(*key, tensor)
        else:
            # What is made of the bytes may be as large for every tensor, and larger.
            free = self.limits.small_bytes * self.limits.growth_ratio
            self._count(self._again, location, size, free)
        return self._read[key]

    def _count(self, counter: Counter[str], location: str, size: int, free: int) -> None:
        counter[location] += size
        if counter[location] > free + _READINGS * self._stored[location]:
            raise EllcError(
                f"tensors take more than {_READINGS} times what the file holds",
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
                    raise _refused(
                        tensor, f"{shown}, which does not hold bytes {offset} and {size} more"
                    )
                want_dense(file, self.limits, shown)
                self._stored[location] = stored
                self._count(self._bytes, location, size, self.limits.small_bytes)
                file.seek(offset)
                return file.read(size)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise _refused(tensor, f"{shown}: {reason}") from None


def _refused(tensor: str, what: str) -> EllcError:
    return EllcError(f"the tensor '{tensor}' lies in another file, {what}", code="E210")


def _range(
    folder: Path | None, entries: Mapping[str, str], size: int, tensor: str
) -> tuple[str, int]:
    """The location and the offset that a tensor's entries name."""

    def refuse(what: str) -> EllcError:
        return _refused(tensor, what)

    location = entries.get("location", "")
    if folder is None:
        raise refuse("and a model without a folder has none")
    if not _is_below(folder, location):
        raise refuse(f"'{location[:200]}', which is not below the model's own folder")
    offset, length = (_whole(entries.get(key, default)) for key, default in _RANGE)
    if offset is None or length is None:
        raise refuse("at an offset or of a length that is not a number")
    if entries.get("length") and length != size:
        raise refuse(f"of which it takes {length} bytes, its shape needs {size}")
    return location, offset


def _opened(path: Path) -> int:
    """A descriptor of a regular file that is not a link; raises `OSError` for anything else."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is not an ordinary file")


_RANGE = (("offset", "0"), ("length", "0"))
_READINGS = 2  # how often all of a file may be read, in other ranges


def _is_below(folder: Path, location: str) -> bool:
    """Whether a location names something below the folder, without a link on the way."""
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


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
