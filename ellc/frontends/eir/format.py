"""ellc's own container as a format of model files (`ellc.ir.container` reads and writes it)."""

from __future__ import annotations

from pathlib import Path

from ellc.frontends.format import Evidence, Format, Writer
from ellc.frontends.options import ImportOptions
from ellc.ir.container import load, save
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.limits import DEFAULT_LIMITS
from ellc.ir.reading import ZIP_DAMAGE, ZIP_MAGIC, opened_zip

_SUFFIX = ".eir"


def _evidence(head: bytes, path: Path) -> Evidence:
    if not head.startswith(ZIP_MAGIC):
        return Evidence.NONE
    try:
        with opened_zip(path, DEFAULT_LIMITS, str(path)) as archive:
            has_graph = "graph.txt" in archive.namelist()
    except (*ZIP_DAMAGE, EllcError):
        # A damaged zip file whose name ends in .eir counts as this format, so that the reader
        # reports the damage.
        has_graph = path.suffix.lower() == _SUFFIX
    return Evidence.MARK if has_graph else Evidence.NONE


def _read(path: Path, options: ImportOptions) -> Graph:
    return load(path, limits=options.limits)


def _write(graph: Graph, path: Path) -> None:
    save(graph, path)


FORMAT = Format(
    name="eir",
    title="ellc",
    suffixes=(_SUFFIX,),
    evidence=_evidence,
    read=_read,
    writer=Writer(_write),
)
