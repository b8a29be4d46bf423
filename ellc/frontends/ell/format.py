"""Describes ELL's archives as a format of model files."""

from __future__ import annotations

from pathlib import Path

from ellc.frontends.format import Evidence, Format, Writer
from ellc.frontends.options import ImportOptions
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.reading import ZIP_MAGIC

_BEFORE_TEXT = b"\xef\xbb\xbf \t\r\n"  # a byte order mark and white space


def _evidence(head: bytes, _: Path) -> Evidence:
    if head.startswith(ZIP_MAGIC):
        return Evidence.CONTAINER
    return Evidence.LOOKS if head.lstrip(_BEFORE_TEXT).startswith(b"{") else Evidence.NONE


def _read(path: Path, options: ImportOptions) -> Graph:
    from ellc.frontends.ell.options import EllOptions
    from ellc.frontends.ell.read import read_ell

    chosen = EllOptions(
        double_is="double" if options.keep_double else "float",
        outputs=options.outputs,
        limits=options.limits,
    )
    return read_ell(path, chosen)


def _write(graph: Graph, path: Path) -> None:
    from ellc.frontends.ell.write import write_ell

    try:
        write_ell(graph, path)
    except EllcError as error:
        if error.code == "E206":
            error.hint = (
                f"write an .eir file, which holds any network: -o {path.with_suffix('.eir')}"
            )
        raise


def _operators() -> dict[str, str]:
    from ellc.frontends.ell.layers import known_layers
    from ellc.frontends.ell.lower.driver import HANDLERS

    return dict.fromkeys((*HANDLERS, *known_layers()), "")


FORMAT = Format(
    name="ell",
    title="ELL",
    suffixes=(".ell", ".ell.zip", ".map", ".model", ".zip"),
    evidence=_evidence,
    read=_read,
    takes=frozenset({"outputs", "keep_double"}),
    writer=Writer(_write, only_pixels=True, only_constants=True),
    operators=_operators,
)
