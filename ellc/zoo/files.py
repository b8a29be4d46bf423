"""Writes networks of the zoo as model files."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ellc.frontends.format import writers
from ellc.ir.errors import EllcError
from ellc.ir.nested import parameters
from ellc.progress import Progress, silent
from ellc.zoo.catalogue import build, find


@dataclass(frozen=True, slots=True)
class Built:
    """Facts about a written file: the number of elements of all constants, and the file's size."""

    parameters: int
    file_bytes: int


def build_file(
    name: str,
    path: Path,
    seed: int = 0,
    width: Fraction = Fraction(1),
    progress: Progress = silent,
    *,
    keep_batch_norm: bool = False,
    weights: Path | None = None,
) -> Built:
    """Build a network and write it in the format of the file's suffix, `.ell` or `.eir`.

    Raises `EllcError`: E740 for an unknown name, E742 for a suffix in whose format the network
    cannot be written, E207 or E703 if the file cannot be written, and the errors of `build` for
    `weights`.
    """
    network = find(name)
    if path.suffix not in network.formats:
        wanted = " or ".join(network.formats)
        raise EllcError(
            f"{name} cannot be written with the suffix '{path.suffix}'",
            code="E742",
            where=str(path),
            hint=f"give the file a name that ends in {wanted}",
        )
    if not path.parent.is_dir():
        # This is checked first, because building may take minutes.
        raise EllcError("the folder does not exist", code="E703", where=str(path.parent))
    graph = build(name, seed, width, progress, keep_batch_norm=keep_batch_norm, weights=weights)
    progress(f"writing {path.name}", 0, 0)
    writers()[path.suffix].write(graph, path)
    return Built(parameters(graph), path.stat().st_size)
