"""Reads the text of an archive from a plain file, an `.ell.zip` file, or bytes."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

from ellc.ir.errors import EllcError
from ellc.ir.limits import DEFAULT_LIMITS, Limits
from ellc.ir.reading import ZIP_DAMAGE, opened_zip, read_file, read_member

_ZIP_MAGIC = b"PK\x03\x04"
_EMPTY_ZIP_MAGIC = b"PK\x05\x06"
_ARCHIVE_SUFFIXES = (".ell", ".model", ".map", ".json")


def read_container(
    source: str | os.PathLike[str] | bytes, limits: Limits = DEFAULT_LIMITS
) -> tuple[bytes, str]:
    """Return the archive's text, not yet decoded, and the file's name for messages.

    `source` is a path or the bytes of a file; the name of bytes is "". Raises `EllcError`: E201 for
    an unreadable file or a zip file that does not have exactly one archive, E203 for a file beyond
    the limits.
    """
    if isinstance(source, bytes):
        name, data = "", source
    else:
        name, data = Path(source).name, read_file(Path(source), limits, code="E201")
    if len(data) > limits.file_bytes:
        raise EllcError(
            f"the file has more than {limits.file_bytes} bytes", code="E203", where=name
        )
    if data.startswith((_ZIP_MAGIC, _EMPTY_ZIP_MAGIC)):
        return _unzip(data, name, limits), name
    return data, name


def _unzip(data: bytes, name: str, limits: Limits) -> bytes:
    try:
        with opened_zip(io.BytesIO(data), limits, name) as archive:
            member = _only_member(archive, name)
            return read_member(archive, member, limits, name, limits.unpacked_bytes)
    except ZIP_DAMAGE as error:
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
            f"a zipped model must contain 1 archive, but the number of files here is {len(chosen)}",
            code="E201",
            where=name,
            problems=[repr(member.filename) for member in chosen[:10]],
        )
    return chosen[0]
