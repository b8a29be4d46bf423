"""What a model file says about its inputs and outputs beyond their types in the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Runtime = Literal["litert", "onnxruntime"]
"""The runtime that programs use for files of a format."""


@dataclass(frozen=True, slots=True)
class FilePort:
    """An input or output in the file. `name` is the name of the graph's port.

    `tensor` is the tensor's own name and `index` its number among the file's tensors. `declared` is
    the tensor's shape, or None if the file does not state it; an open extent is None, or a symbol.
    `is_half` says that the file has floats of 16 bits for it, which have 32 bits in the graph.
    """

    name: str
    tensor: str
    index: int
    declared: tuple[int | str | None, ...] | None
    is_half: bool = False


@dataclass(frozen=True, slots=True)
class FileInterface:
    """The interface of a model's file, for programs that know the runtime of its format.

    `sha256` is the hash of the file, and `signature` the name of the signature that was read.
    `about` holds facts such as the producer, under their names in the runtime; `metadata` holds the
    file's own entries.
    """

    runtime: Runtime
    sha256: str
    inputs: tuple[FilePort, ...]
    outputs: tuple[FilePort, ...]
    signature: str = ""
    about: tuple[tuple[str, str], ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
