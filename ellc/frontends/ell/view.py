"""Checked access to the fields of an archive object.

A `View` never raises. For a missing or invalid field it adds a line to the shared `Problems` and
returns a harmless value, so that one run reports every problem of a file. Code that relies on
several valid fields must check `View.sound` first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ellc.frontends.ell.typenames import TypeName, parse_type_name
from ellc.frontends.ell.values import ArchiveObject, ArchiveValue
from ellc.frontends.problems import Problems
from ellc.ir.limits import DEFAULT_LIMITS, Limits

_INT32_MAX = 2**31 - 1


@dataclass(slots=True)
class View:
    """An archive object, its JSON path, and the list that collects problems.

    `sound` becomes false when the object's first problem is found.
    """

    object: ArchiveObject
    path: str
    problems: Problems
    limits: Limits = DEFAULT_LIMITS
    sound: bool = field(default=True)

    @property
    def type(self) -> TypeName:
        """The object's type name, split into base and arguments."""
        return parse_type_name(self.object.type or "")

    def __contains__(self, key: str) -> bool:
        return key in self.object

    def bad(self, key: str, what: str) -> None:
        """Record a problem of the field `key`, or of the whole object if `key` is empty."""
        self.sound = False
        self.problems.add(f"{self.path}.{key}" if key else self.path, what)

    def value(self, key: str) -> ArchiveValue:
        """The first value with this key, unchecked; None if there is none."""
        return self.object.get(key)

    def integer(
        self, key: str, *, default: int | None = None, low: int = 0, high: int = _INT32_MAX
    ) -> int:
        """An integer from `low` to `high`, both included; without a default the field is required.

        A float with an integral value is accepted as an integer.
        """
        value = self.value(key)
        if value is None and default is not None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            self.bad(key, f"expected an integer, found {_kind(value)}")
            return max(low, 0 if default is None else default)
        if not low <= value <= high:
            self.bad(key, f"{value} is not between {low} and {high}")
            return low
        return value

    def number(self, key: str, *, default: float | None = None) -> float:
        """A number, possibly NaN or infinite."""
        value = self.value(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.bad(key, f"expected a number, found {_kind(value)}")
            return 0.0
        return float(value)

    def text(self, key: str, *, default: str | None = None) -> str:
        """A string. An integer is converted, because files written by hand may have such ids."""
        value = self.value(key)
        if value is None and default is not None:
            return default
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            self.bad(key, f"expected a string, found {_kind(value)}")
            return ""
        return value

    def flag(self, key: str) -> bool:
        """A boolean. As in ELL, a missing field and any value except `true` is false."""
        return self.value(key) is True

    def texts(self, key: str) -> tuple[str, ...]:
        """An array of strings; empty if the field is missing."""
        value = self.value(key)
        if value is None:
            return ()
        if isinstance(value, tuple) and all(isinstance(item, str) for item in value):
            return tuple(str(item) for item in value)
        self.bad(key, f"expected an array of strings, found {_kind(value)}")
        return ()

    def integers(self, key: str, *, length: int | None = None, low: int = 0) -> tuple[int, ...]:
        """An array of integers that are at least `low`."""
        array = self._array(key)
        if array is None:
            return (max(low, 0),) * (length or 0)
        values = array.tolist()
        are_integers = all(isinstance(item, int) or float(item).is_integer() for item in values)
        if not are_integers or any(not low <= item <= _INT32_MAX for item in values):
            self.bad(key, f"expected integers of at least {low}")
        elif length is not None and len(values) != length:
            self.bad(key, f"expected {length} numbers, found {len(values)}")
        else:
            return tuple(int(item) for item in values)
        return (max(low, 0),) * (length or 0)

    def child(self, key: str) -> View | None:
        """The view of an object in a field; None, after recording a problem, if there is none."""
        value = self.value(key)
        if isinstance(value, ArchiveObject):
            return self.at(value, key)
        self.bad(key, f"expected an object, found {_kind(value)}")
        return None

    def children(self, key: str) -> list[View]:
        """The views of an array of objects."""
        value = self.value(key)
        if not isinstance(value, tuple):
            self.bad(key, f"expected an array of objects, found {_kind(value)}")
            return []
        views: list[View] = []
        for index, item in enumerate(value):
            if isinstance(item, ArchiveObject):
                views.append(self.at(item, f"{key}[{index}]"))
            else:
                self.bad(f"{key}[{index}]", f"expected an object, found {_kind(item)}")
        return views

    def at(self, value: ArchiveObject, key: str) -> View:
        """The view of an object that is the value of `key` in this one."""
        path = f"{self.path}.{key}" if self.path else key
        return View(value, path, self.problems, self.limits)

    def vector(self, key: str, *, length: int | None = None) -> NDArray[np.float32]:
        """An array of numbers as float32, one-dimensional."""
        array = self._array(key)
        if array is None:
            return np.zeros(length or 0, np.float32)
        if length is not None and array.size != length:
            self.bad(key, f"expected {length} numbers, found {array.size}")
            return np.zeros(min(length, 1), np.float32)
        with np.errstate(over="ignore"):
            return array.astype(np.float32, copy=False)

    def matrix(self, name: str) -> NDArray[np.float32]:
        """[rows, columns] float32 from the fields `name_rows`, `name_columns`, `name_values`."""
        return self._shaped(name, ("rows", "columns"))

    def tensor(self, name: str) -> NDArray[np.float32]:
        """[rows, columns, channels] float32 from the fields `name_rows` to `name_values`."""
        return self._shaped(name, ("rows", "columns", "channels"))

    def words(self, key: str) -> NDArray[np.uint64]:
        """An array of unsigned 64-bit words with packed bits."""
        array = self._array(key)
        if array is None:
            return np.zeros(0, np.uint64)
        if array.dtype.kind == "f" or (array.dtype == np.int64 and array.size and array.min() < 0):
            self.bad(key, "expected unsigned 64-bit numbers")
            return np.zeros(0, np.uint64)
        return array.astype(np.uint64, copy=False)

    def _shaped(self, name: str, axes: tuple[str, ...]) -> NDArray[np.float32]:
        shape = tuple(self.integer(f"{name}_{axis}") for axis in axes)
        total = 1
        for size in shape:
            total *= size
        array = self._array(f"{name}_values")
        if array is None:
            return np.zeros((0,) * len(axes), np.float32)
        if array.size != total:
            self.bad(f"{name}_values", f"expected {_times(shape)} numbers, found {array.size}")
            return np.zeros((0,) * len(axes), np.float32)
        with np.errstate(over="ignore"):
            return array.astype(np.float32, copy=False).reshape(shape)

    def _array(self, key: str) -> NDArray[Any] | None:
        value = self.value(key)
        if isinstance(value, np.ndarray):
            return value
        if value == ():
            return np.zeros(0, np.int64)
        self.bad(key, f"expected an array of numbers, found {_kind(value)}")
        return None


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _kind(value: ArchiveValue) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return "a string"
        case np.ndarray():
            return f"an array of {value.size} numbers"
        case tuple():
            return "an array"
        case ArchiveObject():
            return f"an object of type '{value.type}'"
