"""Writes `NAME_litert.py` and `NAME_onnxruntime.py`, for programs that use these APIs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ellc.codegen.languages.render import render_python
from ellc.codegen.output.model import ApiPort, Model
from ellc.ir.file_interface import FileInterface, FilePort, Runtime
from ellc.ir.types import DType

_MOST_THREADS = 32
"""The value of ELLC_POOL_MAX_THREADS in runtime_c/ellc_pool.h."""

Extent = int | str | None


@dataclass(frozen=True, slots=True)
class AdapterPort:
    """An input or output as a program sees it. `dtype` is the name of a numpy type.

    `name` is the name of the network's port. `tensor` and `index` are the name and the index in the
    model file. `declared` is the shape in the model file, in which an open extent is None or a
    symbol.
    """

    name: str
    tensor: str
    index: int
    dtype: str
    shape: tuple[int, ...]
    declared: tuple[Extent, ...]
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int

    @property
    def signature(self) -> tuple[int, ...]:
        """The declared shape in LiteRT's form, in which an open extent is -1."""
        return tuple(extent if isinstance(extent, int) else -1 for extent in self.declared)


@dataclass(frozen=True, slots=True)
class Adapter:
    """What the templates of adapters need in addition to the model.

    `sha256` is the hash of the model file; empty if there is no such file.
    """

    sha256: str
    signature: str
    about: tuple[tuple[str, str], ...]
    metadata: tuple[tuple[str, str], ...]
    inputs: tuple[AdapterPort, ...]
    outputs: tuple[AdapterPort, ...]
    most_threads: int


def write_adapter(
    model: Model, file: FileInterface | None, runtime: Runtime, version: str, folder: Path
) -> Path:
    """Write the module for programs that use a runtime. Returns its path.

    `file` describes the model file. It is ignored unless it is a file of this runtime.
    """
    path = folder / adapter_name(model.name, runtime)
    known = file if file is not None and file.runtime == runtime else None
    adapter = _adapter(model, known)
    text = render_python(f"package/{runtime}.py.j2", m=model, a=adapter, version=version)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def adapter_name(name: str, runtime: Runtime) -> str:
    """The file name of an adapter."""
    return f"{name}_{runtime}.py"


def _adapter(model: Model, file: FileInterface | None) -> Adapter:
    ports = (*file.inputs, *file.outputs) if file else ()
    # Ports that the file does not have, such as a picture in place of an input, get new indices.
    free = 1 + max((port.index for port in ports), default=-1)
    inputs = _ports(model.inputs, file.inputs if file else (), free)
    outputs = _ports(model.outputs, file.outputs if file else (), free + len(inputs))
    most_threads = _MOST_THREADS if model.threads > 1 else 1
    if file is None:
        return Adapter("", "", (), (), inputs, outputs, most_threads)
    facts = file.sha256, file.signature, file.about, file.metadata
    return Adapter(*facts, inputs, outputs, most_threads)


def _ports(
    ports: tuple[ApiPort, ...], known: tuple[FilePort, ...], free: int
) -> tuple[AdapterPort, ...]:
    by_name = {port.name: port for port in known}
    return tuple(
        _port(port, by_name.get(port.name), free + number) for number, port in enumerate(ports)
    )


def _port(port: ApiPort, file: FilePort | None, number: int) -> AdapterPort:
    is_half = file is not None and file.is_half and port.dtype is DType.F32
    numbers = "bool" if port.packed or port.dtype is DType.BOOL else port.dtype.numpy.name
    quant = port.quantisation
    return AdapterPort(
        port.name,
        file.tensor if file else port.name,
        file.index if file else number,
        "float16" if is_half else numbers,
        port.shape,
        _declared(port.shape, file),
        tuple(map(float, quant.scale)) if quant else (),
        tuple(map(int, quant.zero_point)) if quant else (),
        (quant.axis or 0) if quant else 0,
    )


def _declared(shape: tuple[int, ...], file: FilePort | None) -> tuple[Extent, ...]:
    """The shape in the model file, with its open extents, if the network's shape agrees with it.

    If the shapes disagree or there is no file, it is the shape of the network.
    """
    declared = file.declared if file else None
    if declared is None or len(declared) != len(shape):
        return shape
    fits = all(not isinstance(d, int) or d == e for d, e in zip(declared, shape, strict=True))
    return declared if fits else shape
