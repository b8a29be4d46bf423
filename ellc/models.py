"""Model files of every kind that ellc reads, told apart by what is in them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from ir.container import load
from ir.errors import EllcError
from ir.graph import Graph

_HINT = "ellc reads .ell, .ell.zip and .eir"
_ZIP_MAGIC = b"PK"
_SNIFF_BYTES = 4096


def read_model(path: Path, *, keep_double: bool = False) -> Graph:
    """Read a model file as a verified graph.

    `keep_double` computes in double what an `.ell` model says is double, not in float32.

    Raises `EllcError` for a file that is missing, damaged, of an unknown kind, or holds something
    that is not supported; the report lists every problem.
    """
    if _kind(path) == "eir":
        return load(path)
    from ellc.frontends.ell.options import EllOptions
    from ellc.frontends.ell.read import read_ell

    return read_ell(path, EllOptions(double_is="double" if keep_double else "float"))


def _kind(path: Path) -> Literal["eir", "ell"]:
    try:
        with path.open("rb") as file:
            head = file.read(_SNIFF_BYTES)
    except OSError as error:
        reason = error.strerror or error
        raise EllcError(
            f"cannot be read: {reason}", code="E701", where=str(path), hint=_HINT
        ) from None
    if head.startswith(_ZIP_MAGIC):
        return "eir" if _is_eir(path) else "ell"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return "ell"
    raise EllcError("this is no model file", code="E702", where=str(path), hint=_HINT)


def _is_eir(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "graph.txt" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        # What is wrong with it is said by its reader; only .eir promises to be one.
        return path.suffix == ".eir"
