"""Provides `read_onnx`, the public function that reads an ONNX file as a graph."""

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
    Raises only `EllcError`: E203 if the model exceeds the limits, E210 if the file is unreadable or
    damaged, E211 if the package `onnx` is missing, E212 if nodes are not supported (the message
    lists them all), E213 if the shape of an input is open, E214 if the options name an unknown
    input or output.
    """
    try:
        return convert(load_model(source, options.limits), options, str(source))
    except EllcError as error:
        if error.where:
            raise
        raise EllcError(
            error.message, code=error.code, where=str(source), hint=error.hint
        ) from error
