"""Reads class names: some tools append a zip archive with text files to a `.tflite` file."""

from __future__ import annotations

import io
import zipfile
import zlib

_MOST_FILES = 64
_MOST_BYTES = 1 << 20


def appended_labels(data: bytes) -> str:
    """The contents of the first file with "label" in its name, one class on each line, or ''.

    Labels are optional: a damaged or too large file counts as missing.
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
