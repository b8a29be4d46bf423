"""Reads state dicts of PyTorch without PyTorch, and without trusting the file.

A state dict is a pickle. The reader (`ellc.pickles`) knows only the names that a state dict needs:
dictionaries, types of storages, and two functions that describe a tensor as a view of a storage. A
few bytes can describe thousands of large tensors, so tensors are never copied.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from ellc.ir.types import Array
from ellc.pickles import DataReader, checked_key
from ellc.zoo.weights.tensors import NamedArray

_MAGIC = 0x1950A86A20F9469CFC6C
_TYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


@dataclass(frozen=True, slots=True, eq=False)
class _Storage:
    key: str
    dtype: str


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A tensor as a strided view of a storage; offset and strides count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, storages: dict[str, bytes]) -> Array:
        """A view of the elements; raises `ValueError` if some elements are outside the storage."""
        flat = np.frombuffer(storages[self.storage.key], self.storage.dtype)
        if len(self.shape) != len(self.strides) or min((*self.shape, *self.strides, 0)) < 0:
            raise ValueError("the strides of a tensor do not fit its shape or are negative")
        last = sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        elements = prod(self.shape)
        if (
            self.offset < 0
            or elements > flat.size
            or (elements and self.offset + last >= flat.size)
        ):
            raise ValueError("a tensor is not inside its storage")
        steps = [step * flat.itemsize for step in self.strides]
        window = flat[self.offset :]
        return np.lib.stride_tricks.as_strided(window, self.shape, steps, writeable=False)


def read_torch(path: Path) -> list[NamedArray]:
    """Read the tensors of a state dict in its order.

    `torch.save` writes a zip file, or, before 2020, a series of pickles; both are read. Raises
    `ValueError` if the file is not a state dict.
    """
    try:
        if zipfile.is_zipfile(path):
            tree, storages = _read_archive(path)
        else:
            tree, storages = _read_stream(io.BytesIO(path.read_bytes()), path.stat().st_size)
    except pickle.UnpicklingError as error:
        raise ValueError(f"it is not a state dict of PyTorch: {error}") from None
    return [NamedArray(name, view.array(storages)) for name, view in _views(tree, "", set())]


def _read_archive(path: Path) -> tuple[Any, dict[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if sum(info.file_size for info in archive.infolist()) > path.stat().st_size:
            raise ValueError("the archive is compressed, which PyTorch never does")
        (main,) = [name for name in names if name.endswith("/data.pkl")] or [""]
        if not main:
            raise ValueError("the archive has no data.pkl")
        folder = main.removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in names and archive.read(order).strip() == b"big":
            raise ValueError("its numbers are big-endian")
        reader = _Reader(io.BytesIO(archive.read(main)))
        tree = reader.load()
        return tree, {key: archive.read(f"{folder}data/{key}") for key in reader.storages}


def _read_stream(file: IO[bytes], size: int) -> tuple[Any, dict[str, bytes]]:
    """Read the format from before 2020: several pickles, followed by the storages."""
    if _Reader(file).load() != _MAGIC:
        raise ValueError("it is not a state dict of PyTorch")
    _Reader(file).load()  # the version of the format
    if not _Reader(file).load().get("little_endian"):
        raise ValueError("its numbers are big-endian")
    reader = _Reader(file)
    tree = reader.load()
    storages = {}
    for key in map(checked_key, _Reader(file).load()):
        count = int.from_bytes(file.read(8), "little")
        wanted = count * np.dtype(reader.storages[str(key)]).itemsize
        if wanted > size:
            raise ValueError("the file ends before its storages do")
        storages[str(key)] = file.read(wanted)
    return tree, storages


class _Reader(DataReader):
    """Reads the pickles in a state dict, and records the storages to which they refer."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.storages: dict[str, str] = {}

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, *_ = pid
        if kind != "storage" or dtype not in _TYPES.values():
            raise pickle.UnpicklingError("it refers to an object that is not a storage")
        name = str(checked_key(key))
        self.storages[name] = dtype
        return _Storage(name, dtype)


def _ordered(items: Any = ()) -> dict[Any, Any]:
    """Make the dictionary for an `OrderedDict`; pickles of Python 2 pass its items."""
    return {checked_key(key): value for key, value in items}


def _tensor(storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> _View:
    return _View(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _parameter(view: _View, *_: Any) -> _View:
    return view


_Reader.known = {
    **{("torch", name): dtype for name, dtype in _TYPES.items()},
    ("collections", "OrderedDict"): _ordered,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}


def _views(tree: Any, prefix: str, visited: set[int]) -> Iterator[tuple[str, _View]]:
    """All tensors in nested dictionaries, each with its keys joined by dots.

    `visited` has the ids of the dictionaries that were read; each dictionary is read once.
    """
    if isinstance(tree, _View):
        yield prefix, tree
    elif isinstance(tree, dict) and id(tree) not in visited:
        visited.add(id(tree))
        for key, value in tree.items():
            yield from _views(value, f"{prefix}.{key}" if prefix else str(key), visited)
