"""Converts a model of any format to `.ell` or `.eir`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ellc.frontends.format import Writer, writers
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.nested import parameters
from ellc.ir.pipeline import parse_passes, run_pipeline
from ellc.models import DEFAULT_OPTIONS, ModelOptions, format_of, read_model
from ellc.progress import Progress, silent

_TIDYING = (
    "eliminate_common, eliminate_dead, simplify, sink_reshape, move_transposes, binary_products, "
    "simplify, absorb_padding, absorb_order, eliminate_common, eliminate_dead"
)
"""Passes whose results `.ell` can express: none fuses operators or splits batch norms. Products of
signs, which exporters write as comparisons and float convolutions, become binary layers."""
_ALL_CONSTANTS = "fold_constants(growth_bytes=2147483647)"
"""For files without operators on constants. Signs of weights, which frameworks may export as a
choice between 1 and -1, take several times as many bytes as the choice."""


@dataclass(frozen=True, slots=True)
class Imported:
    """The graph that was written, and the size of the file."""

    graph: Graph
    file_bytes: int

    @property
    def parameters(self) -> int:
        """The number of elements of all constants."""
        return parameters(self.graph)


def tidied(graph: Graph, folding: str = "fold_constants") -> Graph:
    """Remove shape arithmetic, transposes and duplicates that the exporter left in a graph."""
    after, _ = run_pipeline(graph, parse_passes(f"{folding}, {_TIDYING}"))
    return after


def import_file(
    source: Path,
    path: Path,
    options: ModelOptions = DEFAULT_OPTIONS,
    progress: Progress = silent,
) -> Imported:
    """Read a model, simplify it, and write it in the format of `path`'s suffix, `.ell` or `.eir`.

    Images in `.ell` are always NHWC, regardless of the layout in `options`. Raises `EllcError` as
    `read_model`; E742 for another suffix; E206 with everything that `.ell` cannot express; E207 or
    E703 if the file cannot be written.
    """
    writer = _writer(path)
    if not path.parent.is_dir():
        raise EllcError("the folder does not exist", code="E703", where=str(path.parent))
    progress("reading the model", 0, 0)
    graph = _read(source, writer, options)
    progress("tidying", 0, 0)
    graph = tidied(graph, _ALL_CONSTANTS) if writer.only_constants else tidied(graph)
    progress(f"writing {path.name}", 0, 0)
    writer.write(graph, path)
    return Imported(graph, path.stat().st_size)


def _writer(path: Path) -> Writer:
    """The writer for the file's suffix."""
    writer = writers().get(path.suffix.lower())
    if writer is None:
        raise EllcError(
            f"models cannot be written with the suffix '{path.suffix}'",
            code="E742",
            where=str(path),
            hint=f"give the file a name that ends in {' or '.join(writers())}",
        )
    return writer


def _read(source: Path, writer: Writer, options: ModelOptions) -> Graph:
    if writer.only_pixels and "layout" in format_of(source).takes:
        options = replace(options, imports=replace(options.imports, layout="nhwc"))
    return read_model(source, options)
