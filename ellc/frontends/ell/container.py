"""From a path or bytes to the text of an archive: plain files and `.ell.zip`."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

from ellc.frontends.limits import DEFAULT_LIMITS, Limits
from ir.errors import EllcError

_ZIP_MAGIC = b"PK\x03\x04"
_EMPTY_ZIP_MAGIC = b"PK\x05\x06"
_ARCHIVE_SUFFIXES = (".ell", ".model", ".map", ".json")
_SUPPORTED_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_PIECE = 1 << 20


def read_container(
    source: str | os.PathLike[str] | bytes, limits: Limits = DEFAULT_LIMITS
) -> tuple[bytes, str]:
    """The archive's text and a name for messages.

    `source` is a path, or the bytes of a file. Raises `EllcError` E201 for an unreadable file or a
    zip that does not hold exactly one archive, E203 beyond the limits.
    """
    if isinstance(source, bytes):
        name, data = "", source
    else:
        name, data = Path(source).name, _read_file(Path(source), limits)
    if len(data) > limits.file_bytes:
        raise EllcError(f"larger than {limits.file_bytes} bytes", code="E203", where=name)
    if data.startswith((_ZIP_MAGIC, _EMPTY_ZIP_MAGIC)):
        return _unzip(data, name, limits), name
    return data, name


def _read_file(path: Path, limits: Limits) -> bytes:
    try:
        with path.open("rb") as file:
            # The size is not asked for: it may be a pipe, or grow while we look.
            return file.read(limits.file_bytes + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise EllcError(f"cannot read the file: {reason}", code="E201", where=str(path)) from None


def _unzip(data: bytes, name: str, limits: Limits) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read_member(archive, _only_member(archive, name), name, limits)
    except EllcError:
        raise
    except (
        zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError,
        NotImplementedError, RuntimeError, ValueError, LookupError, OverflowError,
    ) as error:  # fmt: skip
        raise EllcError(f"damaged zip file: {error}", code="E201", where=name) from None


def _only_member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    members = [
        member
        for member in archive.infolist()
        if not member.is_dir() and not member.filename.startswith("__MACOSX/")
    ]
    named = [member for member in members if member.filename.lower().endswith(_ARCHIVE_SUFFIXES)]
    chosen = named if len(named) == 1 else members
    if len(chosen) != 1:
        raise EllcError(
            f"a zipped model holds one archive, this one holds {len(chosen)} files",
            code="E201",
            where=name,
            problems=[repr(member.filename) for member in chosen[:10]],
        )
    return chosen[0]


def _read_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, limits: Limits
) -> bytes:
    if member.flag_bits & 1:
        raise EllcError("the zip file is encrypted", code="E201", where=name)
    if member.compress_type not in _SUPPORTED_METHODS:
        raise EllcError(
            f"zip compression method {member.compress_type} is not supported (stored or deflate)",
            code="E201",
            where=name,
        )
    pieces: list[bytes] = []
    total = 0
    with archive.open(member) as file:
        # The size in the directory is not to be believed: count what really comes out.
        while piece := file.read(_PIECE):
            total += len(piece)
            if total > limits.unpacked_bytes:
                raise EllcError(
                    f"unpacks to more than {limits.unpacked_bytes} bytes", code="E203", where=name
                )
            pieces.append(piece)
    return b"".join(pieces)
