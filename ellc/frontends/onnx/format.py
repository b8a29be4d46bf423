"""Describes ONNX as a format of model files."""

from __future__ import annotations

from pathlib import Path

from ellc.frontends.format import Evidence, Format
from ellc.frontends.graph_import.colours import with_colours
from ellc.frontends.options import ImportOptions
from ellc.ir.file_interface import FileInterface
from ellc.ir.graph import LAYOUT_KEY, Graph

_SUFFIX = ".onnx"
# A file begins with the version of the format (field 1, a small number) and then another field.
_VERSION_TAG = 0x08
_VERSIONS = range(1, 64)
_NEXT_TAGS = b"\x12\x1a\x22\x28\x32\x3a\x42\x72\xa2"


def _evidence(head: bytes, path: Path) -> Evidence:
    if path.suffix.lower() == _SUFFIX:
        return Evidence.NAME
    begins = len(head) > 2 and head[0] == _VERSION_TAG and head[1] in _VERSIONS
    return Evidence.LOOKS if begins and head[2] in _NEXT_TAGS else Evidence.NONE


def _read(path: Path, options: ImportOptions) -> Graph:
    from ellc.frontends.onnx.read import read_onnx

    graph = with_colours(read_onnx(path, options))
    types = (*graph.input_types(), *graph.output_types())
    has_planes = options.layout == "file" and any(t.rank == 4 for t in types)
    return graph.with_metadata({LAYOUT_KEY: "NCHW"}) if has_planes else graph


def _interface(path: Path, options: ImportOptions) -> FileInterface:
    from ellc.frontends.onnx.parse import read_interface

    return read_interface(path, options.limits)


def _operators() -> dict[str, str]:
    from ellc.frontends.onnx.registry import all_operators

    return {kind: handler.limits for kind, handler in all_operators().handlers.items()}


FORMAT = Format(
    name="onnx",
    title="ONNX",
    suffixes=(_SUFFIX,),
    evidence=_evidence,
    read=_read,
    takes=frozenset({"shapes", "fixed", "outputs", "layout"}),
    is_exported=True,
    operators=_operators,
    interface=_interface,
)
