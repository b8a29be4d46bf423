"""Reads the HDF5 files in which Keras stores weights: `.h5` of Keras 1 and 2, `.weights.h5` of 3.

Keras 1 and 2 list the layers and their weights, in the order of the network, in attributes. Keras 3
stores the weights of a layer as `vars/0`, `vars/1` and so on; their roles follow from how many of
them are kernels and how many are vectors.
The names of the layers of each class are numbered in the order of the network (`conv2d`,
`conv2d_1`), but nothing says in which order layers of different classes are. A file in which that
order matters is refused.

An HDF5 file may refer to other files and to itself. Only data in the file itself are read, and each
group is read once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ellc.ir.errors import EllcError
from ellc.ir.types import Array
from ellc.zoo.weights.tensors import NamedArray, natural_key

_MOST_EXPANSION = 64  # the most bytes of arrays for each byte of the file
_MOST_ARRAYS = 100_000
_MOST_DEPTH = 50
_VARS = "vars"
_ROLES = {
    (1, 0): ("kernel",),
    (1, 1): ("kernel", "bias"),
    (0, 4): ("gamma", "beta", "moving_mean", "moving_variance"),
}
"""Names of the weights of a Keras 3 layer, by the number of kernels and of vectors among them."""


def read_h5(path: Path) -> list[NamedArray]:
    """Read the weights of a file that Keras has written.

    Raises `EllcError` E773 if h5py is not installed, and `ValueError` or `OSError` if the file is
    damaged, has links or arrays in other files, or leaves the order of its layers open.
    """
    h5py = _h5py(path)
    with path.open("rb") as stream, h5py.File(stream, "r") as file:
        reader = _Reader(h5py, _MOST_EXPANSION * path.stat().st_size)
        root = reader.member(file, "model_weights") if "model_weights" in file else file
        if "layer_names" in root.attrs:
            return list(reader.listed(root))
        tensors = list(reader.found(root, ""))
    _check_order(tensors)
    return tensors


def _check_order(tensors: list[NamedArray]) -> None:
    """Raise `ValueError` if arrays of one role and shape belong to layers of different classes."""
    known: dict[tuple[object, ...], NamedArray] = {}
    for tensor in tensors:
        kind = (tensor.role, tensor.array.shape)
        first = known.setdefault(kind, tensor)
        if _class_of(first.name) != _class_of(tensor.name):
            raise ValueError(
                f"it does not say whether {first.name} or {tensor.name} comes first; "
                "store the weights as .npz, or as .h5 by Keras 2"
            )


def _class_of(name: str) -> str:
    """The path of an array's layer, without the number that counts the layers of its class."""
    layer, _, _ = name.partition(f"/{_VARS}/")
    return re.sub(r"_\d+$", "", layer)


def _h5py(path: Path) -> Any:
    try:
        import h5py
    except ImportError:
        raise EllcError(
            "h5py, which reads files of Keras, is not installed",
            code="E773",
            where=str(path),
            hint="pip install 'ellc-compiler[keras]'",
        ) from None
    return h5py


class _Reader:
    """Reads groups and arrays; `most_bytes` is the most that all arrays together may take."""

    def __init__(self, h5py: Any, most_bytes: int) -> None:
        self._h5py, self._bytes_left = h5py, most_bytes
        self._arrays_left = _MOST_ARRAYS
        self._seen: set[int] = set()

    def listed(self, root: Any) -> Iterator[NamedArray]:
        """The weights that the attributes of Keras 1 and 2 list."""
        for layer in _texts(root, "layer_names"):
            group = self.member(root, layer)
            for name in _texts(group, "weight_names"):
                yield NamedArray(name, self._array(self.member(group, name)))

    def found(self, group: Any, path: str) -> Iterator[NamedArray]:
        """The weights in a group of Keras 3 and the groups within it, without the optimizer's."""
        place = self._h5py.h5o.get_info(group.id).addr
        if place in self._seen:
            return
        self._seen.add(place)
        names = sorted(group, key=natural_key)
        if not path:
            names = [name for name in names if name != "optimizer"]
        if path.count("/") > _MOST_DEPTH:
            raise ValueError("its groups are nested too deeply")
        members = {name: self.member(group, name) for name in names}
        arrays = {n: self._array(m) for n, m in members.items() if hasattr(m, "shape")}
        roles = _ROLES.get(_kinds(arrays)) if path.endswith(f"/{_VARS}") else None
        for number, (name, array) in enumerate(arrays.items()):
            yield NamedArray(f"{path}/{roles[number] if roles else name}", array)
        for name, inner in members.items():
            if name not in arrays:
                yield from self.found(inner, f"{path}/{name}")

    def member(self, group: Any, path: str) -> Any:
        """A group or data set within a group; raises `ValueError` if it is missing or linked."""
        for name in filter(None, path.split("/")):
            if not isinstance(group, self._h5py.Group):
                raise ValueError(f"'{path}' is not in the file")
            link = group.get(name, getlink=True)
            if link is None:
                raise ValueError(f"'{path}' is not in the file")
            if not isinstance(link, self._h5py.HardLink):
                raise ValueError(f"'{path}' is a link")
            group = group[name]
        return group

    def _array(self, dataset: Any) -> Array:
        if not isinstance(dataset, self._h5py.Dataset) or dataset.dtype.kind not in "fiub":
            raise ValueError("a weight is not an array of numbers")
        if dataset.external or dataset.is_virtual:
            raise ValueError("the data of an array are in another file")
        self._arrays_left -= 1
        self._bytes_left -= dataset.size * dataset.dtype.itemsize if dataset.size else 0
        if self._bytes_left < 0 or self._arrays_left < 0:
            raise ValueError("its arrays are too large for the size of the file")
        array: Array = dataset[()]
        return array


def _kinds(arrays: dict[str, Array]) -> tuple[int, int]:
    kernels = sum(array.ndim > 1 for array in arrays.values())
    return kernels, len(arrays) - kernels


def _texts(group: Any, attribute: str) -> list[str]:
    values = group.attrs.get(attribute, ())
    return [x.decode() if isinstance(x, bytes) else str(x) for x in values]
