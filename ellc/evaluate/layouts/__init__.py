"""Contains readers of data sets, with one module for each layout on disk.

A reader is a function of a path and the options. It returns `None` if the data at the path have
another layout. The first reader that accepts a path reads it.
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
"""The reader of each layout; `open_data` tries the readers in this order."""

_EXPECTED = (
    "a folder that has a folder of pictures for each class",
    "a folder of pictures, with --truth FILE for their classes",
    "an .npz file with arrays x and y",
    "a batch file of CIFAR-10, in the binary or Python version, or a folder of such files",
    "an idx file with images as in MNIST, compressed by gzip or not, or a folder of such files",
    "the .csv file of FER2013",
)


def open_data(path: Path, options: DataOptions) -> Data:
    """Open the data set at a path.

    Raises `EllcError`: E713 if the path does not exist, E770 if no reader accepts it, E771 if the
    data are damaged or have no samples.
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
        "this is not a data set in a known layout",
        code="E770",
        where=str(path),
        hint="the known layouts are: " + "; ".join(_EXPECTED),
    )
