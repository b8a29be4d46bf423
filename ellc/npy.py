"""Reads `.npy` files safely.

numpy's own reader evaluates the header as Python text and may raise any exception for a hostile
file. This reader accepts only the three entries that numpy writes, and reads no more bytes than the
caller expects.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ellc.ir.errors import EllcError
from ellc.ir.types import Array

_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}  # by major version of the format
_MOST_HEADER_BYTES = 10_000  # numpy's bound
_NUMBER = re.compile(r"[<>=|]?(\?|b1|[iu][1248]|f[248])")
_NUMBER_OR_TEXT = re.compile(_NUMBER.pattern + r"|[<>=|]?[SU][1-9]\d{0,5}")
_OLD_LONG = re.compile(r"(?<=\d)L\b")  # Python 2 wrote 3L


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a `.npy` file."""

    dtype: np.dtype[Any]
    is_fortran: bool
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """The number of elements of the array."""
        return math.prod(self.shape)


def read_npy(path: Path, elements: int) -> Array:
    """Read the array in a file, which must have exactly `elements` elements.

    Raises `EllcError`: E713 if there is no such file, E720 if it is not a `.npy` file with one
    array of numbers, E721 if the number of elements differs.
    """
    try:
        with path.open("rb") as file:
            header = _header(file)
            if header.elements != elements:
                raise EllcError(
                    f"the array has {header.elements} elements in the shape {header.shape}, but "
                    f"{elements} values are expected",
                    code="E721",
                    where=str(path),
                )
            return _array(file, header)
    except FileNotFoundError as error:
        raise EllcError("no such file", code="E713", where=str(path)) from error
    except (OSError, ValueError) as error:
        raise EllcError(
            f"not a readable .npy file: {error}", code="E720", where=str(path)
        ) from error


def read_member(file: IO[bytes], size: int) -> Array:
    """Read the array in an open `.npy` file of `size` bytes.

    Raises `ValueError` if the file is not a `.npy` file with one array of numbers.
    """
    header = _header(file)
    if header.elements * header.dtype.itemsize > size:
        raise ValueError("the file ends before its array does")
    return _array(file, header)


def read_texts(file: IO[bytes], size: int) -> tuple[str, ...]:
    """Read an array of texts in an open `.npy` file of `size` bytes; numbers are written as text.

    Raises `ValueError` if the array holds neither texts nor numbers. Bytes that are not valid
    characters become U+FFFD; numpy's own conversion would raise `SystemError`.
    """
    header = _header(file, _NUMBER_OR_TEXT)
    if header.elements * header.dtype.itemsize > size:
        raise ValueError("the file ends before its array does")
    array, step = _array(file, header), header.dtype.itemsize
    if header.dtype.kind not in "SU":
        return tuple(map(str, array.reshape(-1).tolist()))
    data = array.tobytes()
    codec = {"<U": "utf-32-le", ">U": "utf-32-be"}.get(header.dtype.str[:2], "utf-8")
    texts = (data[at : at + step].decode(codec, "replace") for at in range(0, len(data), step))
    return tuple(text.rstrip("\0") for text in texts)


def _array(file: IO[bytes], header: Header) -> Array:
    """Read the array after a header; raises `ValueError` if it is incomplete or invalid."""
    size = header.elements * header.dtype.itemsize
    data = file.read(size)
    if len(data) != size:
        raise ValueError("the file ends before its array does")
    if header.dtype.kind == "b" and max(data, default=0) > 1:
        raise ValueError(f"its array of booleans has a byte with the value {max(data)}")
    flat: Array = np.frombuffer(data, header.dtype)
    return flat.reshape(header.shape[::-1]).T if header.is_fortran else flat.reshape(header.shape)


def _header(file: IO[bytes], element: re.Pattern[str] = _NUMBER) -> Header:
    """Read the header; raises `ValueError` if it is invalid or its type does not fit `element`."""
    start = file.read(8)
    count = _LENGTH_BYTES.get(start[6]) if len(start) == 8 and start[:6] == _MAGIC else None
    if count is None:
        raise ValueError("it does not begin with the signature of a .npy file")
    size = int.from_bytes(file.read(count), "little")
    if size > _MOST_HEADER_BYTES:
        raise ValueError(f"its header has {size} bytes")
    entries = _entries(file.read(size).decode("utf-8" if start[6] == 3 else "latin-1"))
    match entries:
        case {"descr": str(kind), "fortran_order": bool(is_fortran), "shape": tuple(shape)}:
            if not element.fullmatch(kind):
                kinds = "numbers" if element is _NUMBER else "numbers or texts"
                raise ValueError(f"it does not hold one array of {kinds}")
            if len(shape) > 32 or not all(type(d) is int and d >= 0 for d in shape):
                raise ValueError("its shape is invalid")
            return Header(np.dtype(kind), is_fortran, shape)
    raise ValueError("it does not hold one array of numbers")


def _entries(text: str) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about invalid escape sequences in strings
            entries: object = ast.literal_eval(_OLD_LONG.sub("", text.strip()))
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        raise ValueError("its header cannot be read") from None
    return entries
