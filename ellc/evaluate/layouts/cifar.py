"""Reads the binary version of CIFAR-10: a record is a class byte and 3 planes of 32x32 bytes.

The format is described at https://www.cs.toronto.edu/~kriz/cifar.html. The files are
`data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, with 10,000 records each.
`batches.meta.txt` has the names of the classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ellc.evaluate.layouts.arrays import ArrayData
from ellc.evaluate.layouts.options import DataOptions
from ellc.ir.errors import EllcError
from ellc.ir.reading import read_file

_SIDE, _CHANNELS = 32, 3
_RECORD_BYTES = 1 + _CHANNELS * _SIDE * _SIDE
_NAMES = "batches.meta.txt"
_PARTS = {"test": "test_batch.bin", "train": "data_batch_*.bin"}


def read(path: Path, options: DataOptions) -> ArrayData | None:
    """Read one `.bin` file, or the files in a folder that belong to `options.split`.

    Returns `None` if there is no such file.
    """
    if path.is_dir():
        files = sorted(path.glob(_PARTS[options.split]))
    else:
        files = [path] if path.suffix.lower() == ".bin" else []
    if not files:
        return None
    records = np.concatenate([_records(file) for file in files])
    planes = records[:, 1:].reshape(-1, _CHANNELS, _SIDE, _SIDE)
    pictures, labels = planes.transpose(0, 2, 3, 1), records[:, 0].astype(np.int64)
    return ArrayData(str(path), pictures, labels, _names(files[0].parent))


def _records(file: Path) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    content = np.frombuffer(read_file(file, code="E771"), np.uint8)
    if not content.size or content.size % _RECORD_BYTES:
        raise EllcError(
            f"its {content.size} bytes are not a multiple of a record's {_RECORD_BYTES} bytes",
            code="E771",
            where=str(file),
        )
    return content.reshape(-1, _RECORD_BYTES)


def _names(folder: Path) -> tuple[str, ...]:
    file = folder / _NAMES
    if not file.is_file():
        return ()
    return tuple(read_file(file, code="E771").decode("utf-8", "replace").split())
