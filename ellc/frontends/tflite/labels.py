"""Reads class names from the zip archive that some tools append to a `.tflite` file."""

from __future__ import annotations

import io
import zipfile
import zlib

_MOST_FILES = 64
_MOST_BYTES = 1 << 20


def appended_labels(data: bytes) -> str:
    """Return the text of the first file in the archive with "label" in its name, or ''.

    Only the first 64 files count. The text has one class name on each line. Class names are
    optional, so a damaged archive, or a file that is too large, counts as missing.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist()[:_MOST_FILES]:
                if "label" in entry.filename.lower() and entry.file_size <= _MOST_BYTES:
                    with archive.open(entry) as file:
                        return file.read(_MOST_BYTES).decode("utf-8").rstrip("\r\n")
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, RuntimeError):
        return ""
    return ""
