"""Registers TensorFlow Lite as a format of model files."""

from __future__ import annotations

from pathlib import Path

from ellc.frontends.format import Evidence, Format
from ellc.frontends.graph_import.colours import with_colours
from ellc.frontends.options import ImportOptions
from ellc.ir.file_interface import FileInterface
from ellc.ir.graph import Graph

_SUFFIXES = (".tflite", ".lite")
_MARK_AT, _MARK = slice(4, 8), b"TFL3"


def _evidence(head: bytes, path: Path) -> Evidence:
    if head[_MARK_AT] == _MARK:
        return Evidence.MARK
    return Evidence.NAME if path.suffix.lower() in _SUFFIXES else Evidence.NONE


def _read(path: Path, options: ImportOptions) -> Graph:
    from ellc.frontends.tflite.read import read_tflite

    return with_colours(read_tflite(path, options))


def _interface(path: Path, options: ImportOptions) -> FileInterface:
    from ellc.frontends.tflite.read import read_interface

    return read_interface(path, options)


def _operators() -> dict[str, str]:
    from ellc.frontends.tflite.checks import operators

    return {kind: handler.limits for kind, handler in operators().handlers.items()}


FORMAT = Format(
    name="tflite",
    title="TensorFlow Lite",
    suffixes=_SUFFIXES,
    evidence=_evidence,
    read=_read,
    takes=frozenset({"shapes", "fixed", "outputs", "signature", "layout"}),
    is_exported=True,
    operators=_operators,
    interface=_interface,
)
