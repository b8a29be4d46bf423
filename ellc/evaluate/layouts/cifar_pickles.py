"""Reads the Python version of CIFAR-10: one pickled dictionary for each batch.

The files are `data_batch_1` to `data_batch_5` and `test_batch`; `batches.meta` has the names of the
classes. The pictures of a batch are a numpy array, and its labels are a list. `ellc.pickles` reads
these files without executing anything in them.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ellc.ir.errors import EllcError
from ellc.ir.reading import read_file
from ellc.ir.types import Array
from ellc.pickles import DataReader

_UNREADABLE = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, RuntimeError),
    *(TypeError, ValueError, pickle.UnpicklingError, struct.error),
)
"""The exceptions that Python's unpickler raises for damaged files."""


@dataclass(eq=False)
class _Unfinished:
    """Stands for a numpy array or element type; only keeps the state that the pickle gives it."""

    kind: str
    state: Any = None


class _Reader(DataReader):
    """Reads dictionaries with numpy arrays, written by any version of numpy."""

    known: ClassVar = {
        **{
            (f"numpy.{core}.multiarray", "_reconstruct"): lambda *_: _Unfinished("array")
            for core in ("core", "_core")
        },
        ("numpy", "ndarray"): "ndarray",
        ("numpy", "dtype"): lambda kind, *_: _Unfinished(_text(kind)),
        ("_codecs", "encode"): lambda text, _encoding: text.encode("latin-1"),
    }
    dispatch: ClassVar = dict(DataReader.dispatch)


def _with_state(reader: Any) -> None:
    """Keep the state of an `_Unfinished`; ignore the state of any other object."""
    state = reader.stack.pop()
    if isinstance(reader.stack[-1], _Unfinished):
        reader.stack[-1].state = state


_Reader.dispatch[pickle.BUILD[0]] = _with_state


def read_batch(file: Path, row: int) -> tuple[Array, Array]:
    """Return the pictures, each as `row` bytes, and the labels; raise `EllcError` E771."""
    content = _dictionary(file)
    try:
        labels = content["labels"]
        if not isinstance(labels, list) or not all(type(x) is int for x in labels):
            raise ValueError("its labels are not a list of integers")
        pictures = _bytes_of(content["data"])
        if pictures.size != (needed := len(labels) * row):
            raise ValueError(
                f"its pictures have {pictures.size} bytes, but its labels need {needed}"
            )
        return pictures.reshape(-1, row), np.asarray(labels, np.int64)
    except KeyError as error:
        raise _damaged(file, f"it has no {error}") from None
    except (OverflowError, TypeError, ValueError) as error:
        raise _damaged(file, str(error)) from None


def read_names(file: Path) -> tuple[str, ...]:
    """Return the class names in `batches.meta`; raise `EllcError` E771 if it is damaged."""
    names = _dictionary(file).get("label_names")
    if not isinstance(names, list) or not all(isinstance(name, str | bytes) for name in names):
        raise _damaged(file, "it has no 'label_names'")
    return tuple(map(_text, names))


def _dictionary(file: Path) -> dict[str, Any]:
    content = read_file(file, code="E771")
    try:
        loaded = _Reader(io.BytesIO(content), "bytes").load()
        if not isinstance(loaded, dict):
            raise ValueError(f"it holds data of type {type(loaded).__name__}, not a dictionary")
        return {_text(key): value for key, value in loaded.items()}
    except _UNREADABLE as error:
        raise _damaged(file, str(error) or "it ends too early") from None


def _bytes_of(array: Any) -> Array:
    """The bytes of an array; numpy pickles a version, the shape, the type, the order, the bytes."""
    if not isinstance(array, _Unfinished) or array.kind != "array" or array.state is None:
        raise ValueError("its data are not an array")
    _, shape, kind, columns_first, content = array.state
    if not isinstance(kind, _Unfinished) or kind.kind not in ("u1", "|u1", "B"):
        raise ValueError("its data are not bytes")
    if columns_first or not isinstance(content, bytes) or math.prod(shape) != len(content):
        raise ValueError("its data do not fit their shape")
    return np.frombuffer(content, np.uint8)


def _text(key: Any) -> str:
    return key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key)


def _damaged(file: Path, why: str) -> EllcError:
    return EllcError(f"it is not a batch of CIFAR-10: {why}", code="E771", where=str(file))
