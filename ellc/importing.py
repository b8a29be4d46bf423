"""A model of any kind, tidied and written as one of ellc's own kinds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.nested import parameters
from ellc.ir.pipeline import parse_passes, run_pipeline
from ellc.models import DEFAULT_OPTIONS, ModelOptions, model_kind, read_model
from ellc.progress import Progress, silent

_TIDYING = (
    "fold_constants, eliminate_common, eliminate_dead, simplify, sink_reshape, move_transposes, "
    "simplify, absorb_padding, absorb_order, eliminate_common, eliminate_dead"
)
"""Passes whose results `.ell` can still say: nothing is fused, no batch norm taken apart."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What was written: the graph, and the file's size."""

    graph: Graph
    file_bytes: int

    @property
    def parameters(self) -> int:
        """Numbers in constants."""
        return parameters(self.graph)


def tidied(graph: Graph) -> Graph:
    """The graph without what only its exporter needed: shape arithmetic, transposes, twins."""
    after, _ = run_pipeline(graph, parse_passes(_TIDYING))
    return after


def import_file(
    source: Path,
    path: Path,
    options: ModelOptions = DEFAULT_OPTIONS,
    progress: Progress = silent,
) -> Imported:
    """Read a model, tidy it, and write it as the suffix of `path` says, `.ell` or `.eir`.

    `.ell` has its pictures pixel by pixel, whatever `options` say of the layout. Raises
    `EllcError`: what reading raises; E742 for another suffix; E206 with everything that `.ell`
    cannot say; E207 or E703 if the file cannot be written.
    """
    kind = _kind(path)
    if not path.parent.is_dir():
        raise EllcError("the folder does not exist", code="E703", where=str(path.parent))
    progress("reading the model", 0, 0)
    graph = _read(source, kind, options)
    progress("tidying", 0, 0)
    graph = tidied(graph)
    progress(f"writing {path.name}", 0, 0)
    if kind == "ell":
        _write_ell(graph, path)
    else:
        save(graph, path)
    return Imported(graph, path.stat().st_size)


def _kind(path: Path) -> Literal["ell", "eir"]:
    match path.suffix.lower():
        case ".ell":
            return "ell"
        case ".eir":
            return "eir"
    raise EllcError(
        f"models are not written as '{path.suffix}'",
        code="E742",
        where=str(path),
        hint="give the file a name that ends in .ell or .eir",
    )


def _read(source: Path, kind: Literal["ell", "eir"], options: ModelOptions) -> Graph:
    if kind == "ell" and model_kind(source) in ("onnx", "tflite"):
        imports = replace(options.imports, layout="nhwc")
        options = replace(options, imports=imports)
    return read_model(source, options)


def _write_ell(graph: Graph, path: Path) -> None:
    from ellc.frontends.ell.write import write_ell

    try:
        write_ell(graph, path)
    except EllcError as error:
        if error.code == "E206":
            error.hint = f"an .eir file holds any network: -o {path.with_suffix('.eir')}"
        raise
