"""Writes quantised networks; the suffix of the file says in which format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.quantise.onnx_file import model_of, write_onnx
from ellc.quantise.quantising import Quantised
from ellc.quantise.tflite_file import content_of, write_tflite


def _write_eir(quantised: Quantised, path: Path) -> None:
    save(quantised.graph, path)


WRITERS: Mapping[str, Callable[[Quantised, Path], None]] = MappingProxyType(
    {".eir": _write_eir, ".onnx": write_onnx, ".tflite": write_tflite}
)
"""The writer for each suffix."""


def write(quantised: Quantised, path: Path) -> None:
    """Write a quantised network. Raises `EllcError` as `check_output`, E207, E211, E703, E742."""
    WRITERS[path.suffix.lower()](quantised, path)


def check_fits(quantised: Quantised, path: Path) -> None:
    """Raise `EllcError` E742 or E211 if the format of the path cannot hold the network."""
    match path.suffix.lower():
        case ".onnx":
            model_of(quantised)
        case ".tflite":
            content_of(quantised)


def check_output(path: Path, model: Path) -> None:
    """Check a path before the work begins.

    Raises `EllcError`: E742 for an unknown suffix, E703 if the folder does not exist or the file is
    the model itself.
    """
    if path.suffix.lower() not in WRITERS:
        raise EllcError(
            f"quantised networks cannot be written with the suffix '{path.suffix}'",
            code="E742",
            where=str(path),
            hint=f"give the file a name that ends in {' or '.join(WRITERS)}",
        )
    if not path.parent.is_dir():
        raise EllcError("the folder does not exist", code="E703", where=str(path.parent))
    if path.is_dir():
        raise EllcError("this is a folder, not a file", code="E703", where=str(path))
    if path.exists() and model.exists() and path.samefile(model):
        raise EllcError(
            "the quantised network would replace the model",
            code="E703",
            where=str(path),
            hint="name another file with -o",
        )
