"""Writes the text of an archive in the format of ELL's own archiver, so that ELL can read it.

Objects begin with `_type` and `_version`. Fields keep their order, and duplicate keys are kept.
Floats have 9 significant digits and doubles have 17, which is enough to read the same value again.
(ELL itself writes one digit less.)
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ellc.frontends.ell.typenames import is_single_precision
from ellc.frontends.ell.values import ArchiveObject, ArchiveValue, NumberArray
from ellc.ir.files import whole_file

_CHUNK = 4096
_ESCAPED = re.compile(r"""['"\\/\x00-\x1f]""")
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


def write_archive(root: ArchiveObject, path: str | os.PathLike[str]) -> None:
    """Write an archive to a file. An existing file is replaced after everything has been written.

    The text is written in pieces, so that it is never in memory as a whole. Raises `EllcError` E207
    if the file cannot be written.
    """
    with whole_file(Path(path), code="E207") as partial, partial.open("wb") as file:
        for piece in archive_pieces(root):
            file.write(piece.encode("utf-8"))


def archive_bytes(root: ArchiveObject) -> bytes:
    """The text of an archive as UTF-8 bytes."""
    return "".join(archive_pieces(root)).encode("utf-8")


def archive_pieces(root: ArchiveObject) -> Iterator[str]:
    """The text of an archive in pieces; an array is split after every 4096 numbers."""
    yield from _object(root, "")
    yield "\n"


def _object(value: ArchiveObject, indent: str) -> Iterator[str]:
    inner = indent + "  "
    single = is_single_precision(value.type)
    separator = "{\n"
    if value.type is not None:
        yield f'{separator}{inner}"_type": {_string(value.type)}'
        separator = ",\n"
    if value.version is not None:
        yield f'{separator}{inner}"_version": {_string(value.version)}'
        separator = ",\n"
    for key, item in value.fields:
        yield f"{separator}{inner}{_string(key)}: "
        yield from _value(item, inner, single)
        separator = ",\n"
    yield "{}" if separator == "{\n" else f"\n{indent}}}"


def _value(value: ArchiveValue, indent: str, single: bool) -> Iterator[str]:
    match value:
        case ArchiveObject():
            yield from _object(value, indent)
        case np.ndarray():
            yield from _numbers(value)
        case tuple():
            yield from _array(value, indent, single)
        case None:
            yield "null"
        case bool():
            yield "true" if value else "false"
        case int():
            yield str(value)
        case float():
            yield _float_format(single) % value
        case str():
            yield _string(value)


def _array(items: Iterable[ArchiveValue], indent: str, single: bool) -> Iterator[str]:
    separator = "["
    for item in items:
        yield separator
        yield from _value(item, indent + "  ", single)
        separator = ", "
    yield "[]" if separator == "[" else "]"


def _numbers(array: NumberArray) -> Iterator[str]:
    if not array.size:
        yield "[]"
        return
    form = "%d" if array.dtype.kind in "iu" else _float_format(array.dtype == np.float32)
    separator = "["
    for start in range(0, array.size, _CHUNK):
        numbers = tuple(array[start : start + _CHUNK].tolist())
        yield separator
        yield ", ".join([form] * len(numbers)) % numbers
        separator = ", "
    yield "]"


def _float_format(single: bool) -> str:
    return "%.9g" if single else "%.17g"


def _string(text: str) -> str:
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    if character in "'\"\\/":
        return "\\" + character
    return _ESCAPES.get(character) or f"\\u{ord(character):04x}"
