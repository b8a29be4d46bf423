"""`NAME.json` beside a library, read as what anybody may have written.

Everything that is used of it is looked at here: types, ranges, and that what it says of inputs,
outputs, pixels and memory hashes to its own number of the interface.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ellc.codegen.machine.resolve import Overrides, fixed_targets, resolve
from ellc.codegen.machine.target import Target
from ellc.codegen.output.glue import interface_hash
from ellc.codegen.output.package.manifest import FORMAT
from ellc.ir.errors import EllcError
from ellc.ir.json_values import values_of
from ellc.ir.limits import MOST_AXES
from ellc.ir.types import DType, Quant, TensorType

_LONGEST_BYTES = 64 << 20
_MOST_BYTES = 1 << 40
_MOST = sys.float_info.max
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")

Port = tuple[str, TensorType]


@dataclass(frozen=True)
class Manifest:
    """What a manifest says of a library. `abi` is the library's number of its interface."""

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: Mapping[str, str]
    macs: int
    target: Target
    arena_bytes: int
    abi: int


def read_manifest(path: Path, library: Path) -> Manifest:
    """The manifest of a library. Raises `EllcError` E705 for a file that is none, in any way."""
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST_BYTES + 1)
        if len(data) > _LONGEST_BYTES:
            raise ValueError("the file is too long")
        return _manifest(values_of(data))
    except (OSError, ValueError, RecursionError) as error:
        said = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise EllcError(
            f"what the library takes and gives stands in {path.name}, and that cannot be read: "
            f"{said[:200]}",
            code="E705",
            where=str(library),
            hint="keep the files of `ellc compile` together, or give the model itself",
        ) from None


def _manifest(document: object) -> Manifest:
    said = _mapping(document)
    if (number := _whole(said["format"])) != FORMAT:
        raise ValueError(
            f"it has the format {number}, this version of ellc reads {FORMAT}: "
            "compile the model again"
        )
    memory = _mapping(said["memory"])
    name = _plain(said["name"])
    inputs, outputs = (tuple(_port(p) for p in _list(said[k])) for k in ("inputs", "outputs"))
    metadata = {_text(key): _text(value) for key, value in _mapping(said["metadata"]).items()}
    arena_bytes = _whole(memory["arena_bytes"])
    abi = interface_hash(
        name,
        arena_bytes,
        _whole(memory["arena_align"]),
        inputs,
        outputs,
        metadata,
    )
    if abi != _whole(said["abi"]):
        raise ValueError("its inputs, outputs, pixels and memory are not those of its `abi`")
    target = _target(_mapping(said["target"]))
    macs = _whole(said["macs"])
    return Manifest(name, inputs, outputs, metadata, macs, target, arena_bytes, abi)


def _target(said: _Object) -> Target:
    name = _plain(said["name"])
    if name == "host" or any(row.name == name for row in fixed_targets()):
        return resolve(name)
    return resolve("custom", Overrides(triple=_plain(said["triple"]), cpu=_plain(said["cpu"])))


def _port(value: object) -> Port:
    said = _mapping(value)
    dtype = _dtype(said["type"])
    shape = tuple(_whole(extent) for extent in _list(said["shape"]))
    item_bytes = 1 if dtype is DType.BIT else dtype.item_bytes
    if len(shape) > MOST_AXES or math.prod(shape) * item_bytes > _MOST_BYTES:
        raise ValueError(f"a shape of {len(shape)} axes and {math.prod(shape)} elements")
    if dtype is DType.BIT and not shape:
        raise ValueError("a shape for signs without channels")
    quant = _quant(said["quantisation"], len(shape)) if "quantisation" in said else None
    return _text(said["name"]), TensorType(dtype, shape, quant=quant)


def _quant(value: object, rank: int) -> Quant:
    said = _mapping(value)
    scale = tuple(_number(x) for x in _list(said["scale"]))
    zero = tuple(_whole(x, signed=True) for x in _list(said["zero_point"]))
    axis = None if said["axis"] is None else _whole(said["axis"])
    if not scale or not zero or (axis is not None and axis >= rank):
        raise ValueError("a quantisation without scale, zero point or axis")
    return Quant(scale, zero, axis)


class _Object(dict[str, object]):
    """An object of the file, which says which of its entries is missing."""

    def __missing__(self, key: str) -> object:
        raise ValueError(f"it has no '{key}'")


def _mapping(value: object) -> _Object:
    if not isinstance(value, dict):
        raise ValueError(f"{_short(value)} where an object is wanted")
    return _Object(value)


def _dtype(value: object) -> DType:
    found = next((dtype for dtype in DType if dtype.value == value), None)
    if found is None:
        raise ValueError(f"{_short(value)} where an element type is wanted")
    return found


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError(f"{_short(value)} where a list is wanted")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_short(value)} where a text is wanted")
    return value


def _plain(value: object) -> str:
    """A name that is a part of a command."""
    if not _PLAIN.fullmatch(_text(value)):
        raise ValueError(f"{_short(value)} is not a name")
    return _text(value)


def _whole(value: object, *, signed: bool = False) -> int:
    if type(value) is not int or not (-(2**63) if signed else 0) <= value < 2**63:
        raise ValueError(f"{_short(value)} where a whole number is wanted")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= _MOST:
        raise ValueError(f"{_short(value)} where a number is wanted")
    return float(value)


def _short(value: object) -> str:
    return repr(value)[:40] if isinstance(value, str | int | float | None) else "something else"
