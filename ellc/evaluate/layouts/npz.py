"""`.npz` files with an array of samples and an array of labels, under usual names."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ellc.evaluate.layouts.arrays import ArrayData, with_channel
from ellc.evaluate.layouts.options import DataOptions
from ellc.ir.errors import EllcError
from ellc.ir.limits import DEFAULT_LIMITS
from ellc.ir.types import Array

_SAMPLES = ("x", "X", "images", "data", "input", "x_test")
_LABELS = ("y", "Y", "labels", "label", "target", "expected_class", "y_test")
_CLASSES = ("classes", "class_names", "names")
_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


def read(path: Path, options: DataOptions) -> ArrayData | None:
    """Read the arrays of a file whose name ends in `.npz`; integer labels [n] or [n,1]."""
    if path.suffix.lower() != ".npz":
        return None
    try:
        _check_size(path)
        with np.load(path, allow_pickle=False) as stored:
            x, y = _array(path, stored, _SAMPLES), _array(path, stored, _LABELS)
            names = next((stored[n] for n in _CLASSES if n in stored), np.array([], str))
    except _DAMAGE as error:
        raise EllcError(
            f"the .npz file is not readable: {error}", code="E771", where=str(path)
        ) from error
    if x.dtype == np.uint8:
        x = with_channel(x)
    return ArrayData(str(path), x, y.reshape(-1), tuple(map(str, names.reshape(-1))))


def _check_size(path: Path) -> None:
    with zipfile.ZipFile(path) as packed:
        unpacked = sum(member.file_size for member in packed.infolist())
    if unpacked > DEFAULT_LIMITS.unpacked_bytes:
        raise EllcError(
            f"the arrays have {unpacked} bytes; the limit is {DEFAULT_LIMITS.unpacked_bytes}",
            code="E771",
            where=str(path),
        )


def _array(path: Path, stored: Any, names: Sequence[str]) -> Array:
    for name in names:
        if name in stored:
            array: Array = stored[name]
            return array
    raise EllcError(
        f"there is no array named {' or '.join(names)}",
        code="E771",
        where=str(path),
        problems=[f"the file has {name}" for name in stored.files],
    )
