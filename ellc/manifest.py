"""Reads manifests: the file `NAME.json` in the folder of a library.

Manifests are not trusted, so this module checks the types and ranges of all fields that it reads.
It also computes the hash of the name, inputs, outputs, metadata and memory, which must equal the
manifest's field `abi`.
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
from ellc.codegen.output.model import interface_hash
from ellc.codegen.output.package.manifest import FORMAT
from ellc.ir.errors import EllcError
from ellc.ir.json_values import values_of
from ellc.ir.limits import MOST_AXES
from ellc.ir.types import DType, Quant, TensorType

_LONGEST_BYTES = 64 << 20  # the longest manifest
_MOST_BYTES = 1 << 40  # the largest input or output
_MOST = sys.float_info.max  # the largest finite number
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")

Port = tuple[str, TensorType]


@dataclass(frozen=True)
class Manifest:
    """The facts of a library's manifest. `abi` is the hash of the library's interface."""

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: Mapping[str, str]
    macs: int
    target: Target
    arena_bytes: int
    abi: int


def read_manifest(path: Path, library: Path) -> Manifest:
    """Read the manifest of a library. Raises `EllcError` E705 if it is missing or invalid."""
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST_BYTES + 1)
        if len(data) > _LONGEST_BYTES:
            raise ValueError("the file is too long")
        return _manifest(values_of(data))
    except (OSError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise EllcError(
            f"{path.name}, which describes the library's interface, cannot be read: {reason[:200]}",
            code="E705",
            where=str(library),
            hint="keep the files of `ellc compile` together, or give the model itself",
        ) from None


def _manifest(document: object) -> Manifest:
    fields = _mapping(document)
    if (number := _whole(fields["format"])) != FORMAT:
        raise ValueError(
            f"its format is {number}, but this version of ellc reads {FORMAT}: "
            "compile the model again"
        )
    memory = _mapping(fields["memory"])
    name = _plain(fields["name"])
    inputs, outputs = (tuple(_port(p) for p in _list(fields[k])) for k in ("inputs", "outputs"))
    metadata = {_text(key): _text(value) for key, value in _mapping(fields["metadata"]).items()}
    arena_bytes = _whole(memory["arena_bytes"])
    abi = interface_hash(
        name,
        arena_bytes,
        _whole(memory["arena_align"]),
        inputs,
        outputs,
        metadata,
    )
    if abi != _whole(fields["abi"]):
        raise ValueError("its `abi` is not the hash of its inputs, outputs, metadata and memory")
    target = _target(_mapping(fields["target"]))
    macs = _whole(fields["macs"])
    return Manifest(name, inputs, outputs, metadata, macs, target, arena_bytes, abi)


def _target(fields: _Object) -> Target:
    name = _plain(fields["name"])
    if name == "host" or any(row.name == name for row in fixed_targets()):
        return resolve(name)
    return resolve("custom", Overrides(triple=_plain(fields["triple"]), cpu=_plain(fields["cpu"])))


def _port(value: object) -> Port:
    fields = _mapping(value)
    dtype = _dtype(fields["type"])
    shape = tuple(_whole(extent) for extent in _list(fields["shape"]))
    item_bytes = 1 if dtype is DType.BIT else dtype.item_bytes
    if len(shape) > MOST_AXES or math.prod(shape) * item_bytes > _MOST_BYTES:
        raise ValueError(
            f"one of its shapes is too large: axes {len(shape)}, elements {math.prod(shape)}"
        )
    if dtype is DType.BIT and not shape:
        raise ValueError("an input or output of type bit has no channel axis")
    quant = _quant(fields["quantisation"], len(shape)) if "quantisation" in fields else None
    return _text(fields["name"]), TensorType(dtype, shape, quant=quant)


def _quant(value: object, rank: int) -> Quant:
    fields = _mapping(value)
    scale = tuple(_number(x) for x in _list(fields["scale"]))
    zero = tuple(_whole(x, signed=True) for x in _list(fields["zero_point"]))
    axis = None if fields["axis"] is None else _whole(fields["axis"])
    if not scale or not zero or (axis is not None and axis >= rank):
        raise ValueError("a quantisation has no scale or no zero point, or its axis is invalid")
    return Quant(scale, zero, axis)


class _Object(dict[str, object]):
    """A JSON object of the file; reading a missing entry raises `ValueError` with the key."""

    def __missing__(self, key: str) -> object:
        raise ValueError(f"the entry '{key}' is missing")


def _mapping(value: object) -> _Object:
    if not isinstance(value, dict):
        raise ValueError(f"found {_short(value)} instead of an object")
    return _Object(value)


def _dtype(value: object) -> DType:
    match = next((dtype for dtype in DType if dtype.value == value), None)
    if match is None:
        raise ValueError(f"found {_short(value)} instead of an element type")
    return match


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError(f"found {_short(value)} instead of a list")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"found {_short(value)} instead of a text")
    return value


def _plain(value: object) -> str:
    """A name; only plain characters are allowed, because it becomes part of a command."""
    if not _PLAIN.fullmatch(_text(value)):
        raise ValueError(f"found {_short(value)} instead of a plain name")
    return _text(value)


def _whole(value: object, *, signed: bool = False) -> int:
    low, high = -(2**63) if signed else 0, 2**63 - 1
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"found {_short(value)} instead of an integer from {low} to {high}")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= _MOST:
        raise ValueError(f"found {_short(value)} instead of a finite number")
    return float(value)


def _short(value: object) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return repr(value)[:40]
