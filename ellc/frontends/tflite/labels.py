"""Class names: tools zip text files on to the end of a `.tflite` file."""

from __future__ import annotations

import io
import zipfile
import zlib

_MOST_FILES = 64
_MOST_BYTES = 1 << 20


def appended_labels(data: bytes) -> str:
    """The first file with "label" in its name, one class a line; '' if there is none.

    Labels are an extra: what is damaged or too large counts as missing.
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
