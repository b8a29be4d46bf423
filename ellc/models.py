"""Model files of every kind that ellc reads, told apart by what is in them."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ir.container import load
from ir.errors import EllcError
from ir.graph import Graph

_HINT = "ellc reads .ell, .ell.zip and .eir"


def read_model(path: Path) -> Graph:
    """Read a model file as a verified graph.

    Raises `EllcError` for a file that is missing, damaged, of an unknown kind, or holds something
    that is not supported; the report lists every problem.
    """
    if path.is_dir():
        raise EllcError("this is a folder", code="model-missing", where=str(path), hint=_HINT)
    if not path.exists():
        raise EllcError("no such file", code="model-missing", where=str(path), hint=_HINT)
    if _is_eir(path):
        return load(path)
    raise EllcError("this is no model file", code="model-unknown", where=str(path), hint=_HINT)


def _is_eir(path: Path) -> bool:
    if path.suffix == ".eir":
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return "graph.txt" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False
