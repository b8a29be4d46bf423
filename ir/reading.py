"""Bounded reading of files and of members of zip files; every frontend uses these functions."""

from __future__ import annotations

import errno
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ellc.ir.errors import EllcError
from ellc.ir.limits import DEFAULT_LIMITS, Limits

ZIP_MAGIC = b"PK"
"""The first bytes of every zip file."""
ZIP_DAMAGE = (
    *(OSError, EOFError, LookupError, ValueError, OverflowError, struct.error),
    *(NotImplementedError, RuntimeError, zlib.error, zipfile.BadZipFile),
)
"""What `zipfile` raises for damaged files, for newer versions of the format (`NotImplementedError`)
and for files with a password (`RuntimeError`)."""
_PIECE_BYTES = 1 << 20
_SEGMENTS = 1000  # how many data segments of a file are measured; the rest counts as data
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_file(path: Path, limits: Limits = DEFAULT_LIMITS, *, code: str) -> bytes:
    """The bytes of a file. It is read in pieces, because the size of a pipe is unknown.

    Raises `EllcError`: `code` if the file cannot be read, E203 if it is larger than
    `limits.file_bytes` or consists almost entirely of holes.
    """
    try:
        with path.open("rb") as file:
            want_dense(file, limits, str(path))
            return read_stream(file, limits.file_bytes, str(path))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise EllcError(f"cannot be read: {reason}", code=code, where=str(path)) from None


def read_stream(file: IO[bytes], most_bytes: int, where: str) -> bytes:
    """The rest of a stream. Raises `EllcError` E203 if it is longer than `most_bytes`."""
    pieces: list[bytes] = []
    total = 0
    # A single read of `most_bytes` would reserve that much memory at once.
    while piece := file.read(_PIECE_BYTES):
        total += len(piece)
        if total > most_bytes:
            raise EllcError(f"has more than {most_bytes} bytes", code="E203", where=where)
        pieces.append(piece)
    return b"".join(pieces)


def want_dense(file: IO[bytes], limits: Limits, where: str) -> None:
    """Raise `EllcError` E203 if a file is too large or consists almost entirely of holes."""
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        return
    size = status.st_size
    if size > limits.file_bytes:
        raise EllcError(f"has more than {limits.file_bytes} bytes", code="E203", where=where)
    stored = size if size <= limits.small_bytes else _data_bytes(file, size)
    if size > limits.small_bytes + limits.growth_ratio * stored:
        raise EllcError(f"has {size} bytes, nearly all of them holes", code="E203", where=where)


def _data_bytes(file: IO[bytes], size: int) -> int:
    """Bytes of a file that are not holes; `size` if the system cannot tell."""
    if not hasattr(os, "SEEK_DATA"):
        return size
    stored = at = 0
    try:
        for _ in range(_SEGMENTS):
            if at >= size:
                return stored
            start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            stored += at - start
        return stored + size - at
    except OSError as error:  # ENXIO: no data from here on
        return stored if error.errno == errno.ENXIO else size
    finally:
        os.lseek(file.fileno(), 0, os.SEEK_SET)


@contextmanager
def opened_zip(source: Path | IO[bytes], limits: Limits, where: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip file for reading. Raises `EllcError` E203 beyond `limits.zip_members` members.

    A damaged file raises one of `ZIP_DAMAGE`, as `zipfile` does.
    """
    with zipfile.ZipFile(source) as archive:
        if len(archive.filelist) > limits.zip_members:
            raise EllcError(f"holds more than {limits.zip_members} files", code="E203", where=where)
        yield archive


def read_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, limits: Limits, where: str, most_bytes: int
) -> bytes:
    """The content of a member, decompressed in pieces.

    Raises `EllcError` E203 if it exceeds `most_bytes` or `limits.growth_ratio`. Decompressed bytes
    are counted, since the size in the zip directory may be wrong. Raises `ValueError` if the member
    is encrypted, or compressed by another method than deflate.
    """
    if member.flag_bits & 1:
        raise ValueError("the zip file is encrypted")
    if member.compress_type not in _METHODS:
        raise ValueError(
            f"zip compression method {member.compress_type} is not supported (stored or deflate)"
        )
    allowed = limits.small_bytes + limits.growth_ratio * min(
        member.compress_size, archive.start_dir
    )
    with archive.open(member) as file:
        return read_stream(file, min(most_bytes, allowed), f"{where}: {member.filename!r} in it")
