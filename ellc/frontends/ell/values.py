"""The exact contents of an archive: ordered objects that keep duplicate keys.

An `ArchiveObject` has everything that was in the text, including unknown fields. The typed views in
`archive.py` and `layers.py` are made from it. If an object is read, written and read again, the
result is an equal object.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ellc.frontends.ell.typenames import is_single_precision

NumberArray: TypeAlias = NDArray[Any]
"""A one-dimensional read-only array of int64, uint64, float32 or float64."""

ArchiveValue: TypeAlias = (
    "bool | int | float | str | NumberArray | tuple[ArchiveValue, ...] | ArchiveObject | None"
)


@dataclass(frozen=True, slots=True, eq=False)
class ArchiveObject:
    """A JSON object: its `_type`, its `_version`, and the other fields in the order of the file.

    * A flat array of numbers is a one-dimensional read-only numpy array; any other array is a
      tuple.
    * In an object of a type such as `BiasLayer<float>` every fractional number is a C++ float, so
      it is rounded to single precision (a scalar stays a Python float).
    * Equality is by value: the array `[1, 2]` equals `[1.0, 2.0]`, and NaN equals NaN.
    """

    type: str | None
    version: str | None
    fields: tuple[tuple[str, ArchiveValue], ...] = ()

    def __post_init__(self) -> None:
        single = is_single_precision(self.type)
        fields = tuple((key, _normal(value, single)) for key, value in self.fields)
        object.__setattr__(self, "fields", fields)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ArchiveObject):
            return NotImplemented
        return (
            self.type == other.type
            and self.version == other.version
            and len(self.fields) == len(other.fields)
            and all(
                a[0] == b[0] and same_value(a[1], b[1])
                for a, b in zip(self.fields, other.fields, strict=True)
            )
        )

    __hash__ = None  # type: ignore[assignment]

    def __contains__(self, key: str) -> bool:
        return any(name == key for name, _ in self.fields)

    def get(self, key: str, default: ArchiveValue = None) -> ArchiveValue:
        """The first value with this key, or the default."""
        return next((value for name, value in self.fields if name == key), default)

    def all(self, key: str) -> tuple[ArchiveValue, ...]:
        """All values with this key, in order; some node types have the key `activation` twice."""
        return tuple(value for name, value in self.fields if name == key)

    def children(self) -> Iterator[tuple[str, ArchiveObject]]:
        """The objects in the fields of this object, with their relative paths."""
        for key, value in self.fields:
            yield from _objects_in(value, key)


def _objects_in(value: ArchiveValue, path: str) -> Iterator[tuple[str, ArchiveObject]]:
    if isinstance(value, ArchiveObject):
        yield path, value
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _objects_in(item, f"{path}[{index}]")


def _normal(value: Any, single: bool) -> ArchiveValue:
    """The canonical form of a value; with `single`, floats are rounded to single precision.

    The value may also be a list or a numpy scalar, for code that makes an archive.
    """
    if isinstance(value, np.ndarray):
        return _normal_array(value, single)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return _round_single(value) if single else value
    if isinstance(value, list | tuple):
        items = gathered([_normal(item, single) for item in value])
        return _normal_array(items, single) if isinstance(items, np.ndarray) else items
    if value is None or isinstance(value, bool | int | str | ArchiveObject):
        return value
    raise TypeError(f"an archive cannot hold a {type(value).__name__}")


def _normal_array(array: NumberArray, single: bool) -> NumberArray:
    if array.dtype.kind == "f":
        wanted = np.dtype(np.float32 if single else np.float64)
    elif array.dtype == np.uint64:
        wanted = np.dtype(np.uint64)
    else:
        wanted = np.dtype(np.int64)
    if array.ndim == 1 and array.dtype == wanted and not array.flags.writeable:
        return array
    with np.errstate(over="ignore"):
        flat = array.reshape(-1).astype(wanted)
    flat.flags.writeable = False
    return flat


def _round_single(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def gathered(items: Sequence[ArchiveValue]) -> ArchiveValue:
    """The canonical form: a numpy array if all items are numbers; a tuple if not, or if empty."""
    kinds = set(map(type, items))
    if not kinds or kinds - {int, float}:
        return tuple(items)
    numbers: Any = items
    if kinds == {int}:
        low, high = min(numbers), max(numbers)
        if low >= -(2**63) and high < 2**63:
            return _frozen(np.array(numbers, dtype=np.int64))
        if low >= 0 and high < 2**64:
            return _frozen(np.array(numbers, dtype=np.uint64))
    return _frozen(np.array(numbers, dtype=np.float64))


def _frozen(array: NumberArray) -> NumberArray:
    array.flags.writeable = False
    return array


def same_value(left: ArchiveValue, right: ArchiveValue) -> bool:
    """Whether two archive values are equal: numbers by value, and NaN equals NaN."""
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return _same_array(left, right)
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(same_value, left, right))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, float) and isinstance(right, float) and left != left:
        return right != right
    return left == right


def _same_array(left: ArchiveValue, right: ArchiveValue) -> bool:
    # An empty array in a file has no element type, so it is read as an empty tuple.
    if isinstance(left, tuple) or isinstance(right, tuple):
        return not len(left) and not len(right)  # type: ignore[arg-type]
    if not (isinstance(left, np.ndarray) and isinstance(right, np.ndarray)):
        return False
    kinds = {left.dtype.kind, right.dtype.kind}
    if "f" in kinds:
        return bool(np.array_equal(left, right, equal_nan=kinds == {"f"}))
    return bool(np.array_equal(left, right))
