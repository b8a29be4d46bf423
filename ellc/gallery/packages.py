"""Makes downloads for the site: compiled packages, and models as `.ell.zip`."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ellc.driver import compile_model
from ellc.gallery.names import package_name
from ellc.importing import import_file
from ellc.ir.errors import EllcError
from ellc.models import default_name

_EPOCH = (1980, 1, 1, 0, 0, 0)
_TOO_MUCH_FOR_ELL = "E206"


@dataclass(frozen=True, slots=True)
class Package:
    """A file that a model's page offers for download."""

    title: str
    file: str
    bytes: int


def write_packages(
    model: str, precision: str, network: Path, targets: Sequence[str], folder: Path
) -> list[Package]:
    """Write a model's packages for some targets, and the model as `.ell.zip`, into a folder.

    The `.ell.zip` is left out if that format cannot hold the model. Raises `EllcError` if the model
    cannot be read or compiled.
    """
    packages = []
    with tempfile.TemporaryDirectory(prefix="ellc-") as name:
        work = Path(name)
        ell = work / f"{default_name(network)}.ell"
        try:
            import_file(network, ell)
        except EllcError as error:
            if error.code != _TOO_MUCH_FOR_ELL:
                raise
        else:
            title = f"model for ELL's tools, {precision} (.ell.zip)"
            file = package_name(model, precision, "ell")
            packages.append(_zipped(title, {ell.name: ell}, folder / file))
        for target in targets:
            out = work / target
            files = compile_model(network, target, out_dir=out).files
            title = f"compiled for {target}, {precision} (.zip)"
            file = package_name(model, precision, target)
            inside = {f"{model}-{target}/{x.relative_to(out).as_posix()}": x for x in files}
            packages.append(_zipped(title, inside, folder / file))
    return packages


def _zipped(title: str, files: Mapping[str, Path], path: Path) -> Package:
    """Write an archive; `files` maps names in it to files. The same files give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3  # with the permissions of Unix
            entry.external_attr = (0o100755 if file.suffix == ".so" else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())
    return Package(title, path.name, path.stat().st_size)
