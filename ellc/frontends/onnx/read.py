"""`read_onnx`, the public function that reads an ONNX file as a graph."""

from __future__ import annotations

from pathlib import Path

from ellc.frontends.onnx.convert import convert
from ellc.frontends.onnx.parse import load_model
from ellc.frontends.options import ImportOptions
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph

_DEFAULT = ImportOptions()


def read_onnx(source: Path, options: ImportOptions = _DEFAULT) -> Graph:
    """Read an `.onnx` file as a graph.

    Inputs and outputs keep the file's names, element types and layout (`ImportOptions.layout`).
    Raises nothing but `EllcError`: E203 beyond the limits, E210 unreadable or damaged, E211 the
    package `onnx` is missing, E212 with every node that is not supported, E213 an input whose shape
    is open, E214 an unknown name in the options.
    """
    try:
        return convert(load_model(source, options.limits), options, str(source))
    except EllcError as error:
        if error.where:
            raise
        raise EllcError(
            error.message, code=error.code, where=str(source), hint=error.hint
        ) from error
