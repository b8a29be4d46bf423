"""Reads CIFAR-10, in its binary and its Python version.

The format is described at https://www.cs.toronto.edu/~kriz/cifar.html. The files are
`data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, with 10,000 records each: a class
byte and 3 planes of 32x32 bytes. `batches.meta.txt` has the names of the classes. In the Python
version the names have no suffix, and the files are pickles (`cifar_pickles`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ellc.evaluate.layouts.arrays import ArrayData
from ellc.evaluate.layouts.cifar_pickles import read_batch, read_names
from ellc.evaluate.layouts.options import DataOptions
from ellc.ir.errors import EllcError
from ellc.ir.reading import read_file
from ellc.ir.types import Array

_SIDE, _CHANNELS = 32, 3
_PICTURE_BYTES = _CHANNELS * _SIDE * _SIDE
_RECORD_BYTES = 1 + _PICTURE_BYTES
_NAMES, _PICKLED_NAMES = "batches.meta.txt", "batches.meta"
_PARTS = {"test": "test_batch", "train": "data_batch_*"}


def read(path: Path, options: DataOptions) -> ArrayData | None:
    """Read one file, or the files in a folder that belong to `options.split`.

    Returns `None` if there is no such file. If a folder has both versions, the binary version is
    read.
    """
    if path.is_dir():
        part = _PARTS[options.split]
        files = sorted(path.glob(f"{part}.bin")) or sorted(
            file for file in path.glob(part) if not file.suffix and file.is_file()
        )
    else:
        files = [path] if path.suffix.lower() == ".bin" or _is_pickle(path) else []
    if not files:
        return None
    parts = [_pickled(file) if _is_pickle(file) else _records(file) for file in files]
    planes = np.concatenate([rows for rows, _ in parts]).reshape(-1, _CHANNELS, _SIDE, _SIDE)
    labels = np.concatenate([labels for _, labels in parts])
    pictures = planes.transpose(0, 2, 3, 1)
    return ArrayData(str(path), pictures, labels, _names(files[0]))


def _is_pickle(file: Path) -> bool:
    return any(file.match(part) for part in _PARTS.values()) and not file.suffix


def _pickled(file: Path) -> tuple[Array, Array]:
    return read_batch(file, _PICTURE_BYTES)


def _records(file: Path) -> tuple[Array, Array]:
    content = np.frombuffer(read_file(file, code="E771"), np.uint8)
    if not content.size or content.size % _RECORD_BYTES:
        raise EllcError(
            f"its {content.size} bytes are not a multiple of a record's {_RECORD_BYTES} bytes",
            code="E771",
            where=str(file),
        )
    records = content.reshape(-1, _RECORD_BYTES)
    return records[:, 1:], records[:, 0].astype(np.int64)


def _names(batch: Path) -> tuple[str, ...]:
    """The names of the classes, from the names file of the version that was read."""
    pickled = _is_pickle(batch)
    file = batch.with_name(_PICKLED_NAMES if pickled else _NAMES)
    if not file.is_file():
        return ()
    if pickled:
        return read_names(file)
    return tuple(read_file(file, code="E771").decode("utf-8", "replace").split())
