"""Reads `.npz` files that have an array of samples and an array of labels with usual names."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TypeVar

import numpy as np

from ellc.evaluate.layouts.arrays import ArrayData, with_channel
from ellc.evaluate.layouts.options import DataOptions
from ellc.evaluate.samples import NO_LABEL
from ellc.ir.errors import EllcError
from ellc.ir.limits import DEFAULT_LIMITS
from ellc.ir.reading import ZIP_DAMAGE
from ellc.ir.types import Array
from ellc.npy import read_member, read_texts

_SAMPLES = ("x", "X", "images", "data", "input", "x_test")
_LABELS = ("y", "Y", "labels", "label", "target", "expected_class", "y_test")
_CLASSES = ("classes", "class_names", "names")
_SUFFIX = ".npy"
T = TypeVar("T")


def read(path: Path, options: DataOptions) -> ArrayData | None:
    """Read the arrays of an `.npz` file; returns `None` for a file with another suffix.

    The labels are integers of shape [n] or [n,1]; they may be missing if the data need no labels.
    """
    if path.suffix.lower() != ".npz":
        return None
    try:
        with zipfile.ZipFile(path) as packed:
            _check_size(path, packed)
            x = _found(path, packed, _SAMPLES, read_member)
            labelled = options.labelled or any(_member(packed, name) for name in _LABELS)
            y = _found(path, packed, _LABELS, read_member) if labelled else _no_labels(x)
            named = any(_member(packed, name) for name in _CLASSES)
            classes = _found(path, packed, _CLASSES, read_texts) if named else ()
    except ZIP_DAMAGE as error:
        raise EllcError(
            f"the .npz file is not readable: {error}", code="E771", where=str(path)
        ) from error
    if x.dtype == np.uint8:
        x = with_channel(x)
    return ArrayData(str(path), x, y.reshape(-1), classes, labelled)


def _no_labels(x: Array) -> Array:
    return np.full(x.shape[:1], NO_LABEL, np.int64)


def _check_size(path: Path, packed: zipfile.ZipFile) -> None:
    """Raise `EllcError` E771 if the arrays are too large for memory or for the file's size."""
    unpacked, limits = sum(member.file_size for member in packed.infolist()), DEFAULT_LIMITS
    grown = limits.small_bytes + limits.growth_ratio * path.stat().st_size
    if unpacked > (most := min(limits.unpacked_bytes, grown)):
        raise EllcError(
            f"the arrays have {unpacked} bytes; the limit is {most}", code="E771", where=str(path)
        )


def _found(
    path: Path,
    packed: zipfile.ZipFile,
    names: Sequence[str],
    read_array: Callable[[IO[bytes], int], T],
) -> T:
    """Read the array with the first of these names that the file has."""
    for member in filter(None, (_member(packed, name) for name in names)):
        with packed.open(member) as file:
            return read_array(file, member.file_size)
    raise EllcError(
        f"there is no array named {' or '.join(names)}",
        code="E771",
        where=str(path),
        problems=[f"the file has {name.removesuffix(_SUFFIX)}" for name in packed.namelist()[:20]],
    )


def _member(packed: zipfile.ZipFile, name: str) -> zipfile.ZipInfo | None:
    return packed.NameToInfo.get(name + _SUFFIX)
