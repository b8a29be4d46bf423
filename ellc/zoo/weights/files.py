"""Reads the tensors of a file without executing any code from it."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.ops.arithmetic import Add
from ellc.ir.ops.conv import Conv2D
from ellc.ir.ops.dense import Dense
from ellc.npy import read_member
from ellc.zoo.weights.h5_file import read_h5
from ellc.zoo.weights.tensors import NamedArray, natural_key
from ellc.zoo.weights.torch_file import read_torch

_SAFETENSORS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
_MOST_EXPANSION = 64  # the most bytes of arrays for each byte of a compressed file
_MOST_HEADER_BYTES = 100 << 20


_UNREADABLE = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, RuntimeError),
    *(TypeError, ValueError, zipfile.BadZipFile, zlib.error),
)
"""The exceptions, besides `OSError`, that readers and their libraries raise for damaged files."""


def read_tensors(path: Path) -> list[NamedArray]:
    """Read all tensors of a file, in the order of the layers.

    In a safetensors file, tensors of other types than float64, float32 and float16 are skipped.

    Raises `EllcError`: E744 if the file cannot be read, E773 if a package for it is missing; for a
    model file also the errors of its frontend.
    """
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise unreadable(path, f"its suffix '{path.suffix}' is none of {', '.join(SUFFIXES)}")
    if reader is _model:
        return reader(path)  # raises `EllcError` for damaged files
    try:
        return reader(path)
    except OSError as error:
        raise unreadable(path, error.strerror or "it cannot be read") from None
    except _UNREADABLE as error:
        raise unreadable(path, str(error) or "it ends too early") from None


def unreadable(path: Path, why: str) -> EllcError:
    """The error for a file of weights that cannot be read."""
    hint = "give a PyTorch state dict, safetensors, .npz, .h5 of Keras, ONNX or TensorFlow Lite"
    return EllcError(f"not a file of weights: {why}", code="E744", where=str(path), hint=hint)


def _npz(path: Path) -> list[NamedArray]:
    with zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        if sum(info.file_size for info in members) > _MOST_EXPANSION * path.stat().st_size:
            raise ValueError("its arrays are too large for the size of the file")
        return [_member(archive, info) for info in members]


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NamedArray:
    with archive.open(info) as file:
        return NamedArray(info.filename.removesuffix(".npy"), read_member(file, info.file_size))


def _safetensors(path: Path) -> list[NamedArray]:
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= size <= min(len(data) - 8, _MOST_HEADER_BYTES):
        raise ValueError("the file does not have a safetensors header")
    header: dict[str, Any] = json.loads(data[8 : 8 + size])
    tensors, body = [], memoryview(data)[8 + size :]
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        if not 0 <= start <= end <= len(body):
            raise ValueError(f"'{name}' is outside of the file")
        kind = _SAFETENSORS.get(entry["dtype"])
        if kind:
            array = np.frombuffer(body[start:end], kind).reshape(entry["shape"])
            tensors.append(NamedArray(name, array))
    # The format sorts the names as text, so that layer 10 comes before layer 2.
    return sorted(tensors, key=lambda tensor: natural_key(tensor.name))


def _model(path: Path) -> list[NamedArray]:
    """The weights and biases of a model's convolutions and dense layers, in execution order."""
    from ellc.importing import tidied
    from ellc.models import read_model

    return list(_of_graph(tidied(read_model(path))))


def _of_graph(graph: Graph) -> list[NamedArray]:
    arrays, tensors = graph.constant_arrays(), []
    outputs = {node.outputs[0] for node in graph.nodes if isinstance(node.op, Conv2D | Dense)}
    for number, node in enumerate(graph.nodes):
        own = [arrays[value] for value in node.inputs if value in arrays]
        name = f"{number} {'+'.join(node.source)}"
        if isinstance(node.op, Conv2D | Dense) and own:
            tensors.append(NamedArray(f"{name}.weight", own[0]))
            tensors += [NamedArray(f"{name}.bias", bias) for bias in own[1:]]
        elif isinstance(node.op, Add) and own and outputs & set(node.inputs):
            tensors.append(NamedArray(f"{name}.bias", own[0].reshape(-1)))
    return tensors


_READERS: dict[str, Callable[[Path], list[NamedArray]]] = {
    ".pth": read_torch,
    ".pt": read_torch,
    ".bin": read_torch,
    ".safetensors": _safetensors,
    ".npz": _npz,
    ".h5": read_h5,
    ".onnx": _model,
    ".tflite": _model,
}
SUFFIXES = tuple(_READERS)
"""The suffixes of files that `read_tensors` reads."""
