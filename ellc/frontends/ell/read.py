"""`read_ell`, the public function that reads an `.ell` file as a graph."""

from __future__ import annotations

import os

from ellc.frontends.ell.archive import read_archive
from ellc.frontends.ell.lower.driver import lower_archive
from ellc.frontends.ell.options import EllOptions
from ellc.ir.graph import Graph

_DEFAULT = EllOptions()


def read_ell(source: str | os.PathLike[str] | bytes, options: EllOptions = _DEFAULT) -> Graph:
    """Read an `.ell` or `.ell.zip` file as a graph; `source` is a path or the bytes of the file.

    Inputs and outputs of three dimensions become images [1, rows, columns, channels]; others keep
    their shape. `Graph.metadata` has the archive's metadata as text, and the reader's notes under
    the keys `note.N`. Raises only `EllcError`: E201 if the file is unreadable, E202 if it is not
    JSON, E203 if it is beyond the limits, E204 if it is damaged, E205 with every node that is not
    supported.
    """
    return lower_archive(read_archive(source, options.limits), options)
