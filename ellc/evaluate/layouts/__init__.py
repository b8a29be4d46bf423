"""Layouts of data sets on disk, each in a file of its own.

A layout is a function of a path and the options; it returns `None` for what is not its own. The
order matters only where two would take the same path.
"""

from __future__ import annotations

from pathlib import Path

from ellc.evaluate.layouts import cifar, fer2013, folders, idx, npz
from ellc.evaluate.layouts.options import DataOptions
from ellc.evaluate.samples import Data
from ellc.ir.errors import EllcError

LAYOUTS = {
    "arrays": npz.read,
    "CIFAR-10": cifar.read,
    "MNIST": idx.read,
    "FER2013": fer2013.read,
    "folders": folders.read,
}
"""Readers by the name of their layout."""

_EXPECTED = (
    "a folder with a folder of pictures for each class",
    "a folder of pictures, and --truth FILE with their classes",
    ".npz with arrays x and y",
    "CIFAR-10's .bin files, or the folder that holds them",
    "MNIST's idx files, packed or not, or their folder",
    "FER2013's .csv file",
)


def open_data(path: Path, options: DataOptions) -> Data:
    """The data set at a path.

    Raises `EllcError`: E770 for a path that no layout takes, E771 for data that are damaged or have
    no samples.
    """
    if not path.exists():
        raise EllcError("no such file or folder", code="E713", where=str(path))
    for read in LAYOUTS.values():
        data = read(path, options)
        if data is None:
            continue
        if not len(data):
            raise EllcError("the data have no samples", code="E771", where=str(path))
        return data
    raise EllcError(
        "this is no data set in a known layout",
        code="E770",
        where=str(path),
        hint="what is read: " + "; ".join(_EXPECTED),
    )
