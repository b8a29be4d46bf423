"""Reads tables of TOML or JSON value by value, and collects all problems in them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

_QUOTED_LETTERS = 80
"""The most characters of a wrong value that a problem quotes."""


class Table:
    """Reads the values of a table one by one, and adds a line to `problems` for each invalid value.

    Each line begins with `where`.
    """

    def __init__(self, table: Mapping[str, Any], where: str, problems: list[str]) -> None:
        self._unread = dict(table)
        self._where = where
        self._problems = problems

    def text(self, key: str, *, among: tuple[str, ...] = (), needed: bool = True) -> str:
        """The text of a key; empty if there is none. A text that is not in `among` is a problem."""
        value = self._take(key, (str,), needed)
        if not isinstance(value, str):
            return ""
        if among and value not in among:
            self.problem(f"{key}: {_quoted(value)} is not one of {', '.join(among)}")
        elif not value.strip():
            self.problem(f"{key}: it is empty")
        return value

    def number(self, key: str, low: float, high: float, *, needed: bool = True) -> float | None:
        """A number; None if missing or invalid. A number outside `low` to `high` is a problem."""
        value = self._take(key, (int, float), needed)
        if value is None:
            return None
        if not low <= value <= high:
            self.problem(f"{key}: {_quoted(value)} is not between {low:g} and {high:g}")
        return float(value) if abs(value) <= sys.float_info.max else None

    def whole(self, key: str, high: int) -> int | None:
        """An optional integer; None if missing or invalid. One outside 1 to `high` is a problem."""
        value = self._take(key, (int,), needed=False)
        if value is not None and not 1 <= value <= high:
            self.problem(f"{key}: {_quoted(value)} is not between 1 and {high}")
        return None if value is None else int(value)

    def wholes(self, key: str, high: int, most: int) -> tuple[int, ...]:
        """A list of 1 to `most` integers from 1 to `high`."""
        value = self._take(key, (list,), needed=True)
        if value is None:
            return ()
        valid = [x for x in value if type(x) is int and 1 <= x <= high]
        if len(valid) < len(value) or not 1 <= len(value) <= most:
            self.problem(f"{key}: it must be 1 to {most} integers from 1 to {high}")
            return ()
        return tuple(valid)

    def table(self, key: str) -> Table | None:
        """An optional table within this table; its problems begin with the key."""
        value = self._take(key, (dict,), needed=False)
        return None if value is None else Table(value, f"{self._where}: {key}", self._problems)

    def texts(self, key: str) -> tuple[str, ...]:
        """An optional list of texts."""
        value = self._take(key, (list,), needed=False) or []
        if not all(isinstance(line, str) for line in value):
            self.problem(f"{key}: not all elements are texts")
        return tuple(map(str, value))

    def tables(self, key: str) -> list[Table]:
        """The tables in an optional array of tables."""
        value = self._take(key, (list,), needed=False) or []
        where = f"{self._where}: {key}"
        rows = [row for row in value if isinstance(row, dict)]
        if len(rows) < len(value):
            self.problem(f"{key}: not all elements are tables (in TOML: [[{key}]])")
        return [Table(row, f"{where} {i}", self._problems) for i, row in enumerate(rows, 1)]

    def end(self) -> None:
        """Report as unknown each key that has not been read; call this last."""
        for key in sorted(self._unread):
            self.problem(f"{key[:_QUOTED_LETTERS]}: unknown key")

    def problem(self, text: str) -> None:
        """Record a problem of this table."""
        self._problems.append(f"{self._where}: {text}")

    def _take(self, key: str, kinds: tuple[type, ...], needed: bool) -> Any:
        value = self._unread.pop(key, None)
        if value is None:
            if needed:
                self.problem(f"{key}: it is missing")
            return None
        if not isinstance(value, kinds) or isinstance(value, bool):
            names = " or ".join(kind.__name__ for kind in kinds)
            self.problem(f"{key}: {_quoted(value)} is not of type {names}")
            return None
        return value


def _quoted(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer with more digits than Python prints
        return "the number"
    return text if len(text) <= _QUOTED_LETTERS else f"{text[:_QUOTED_LETTERS]}..."
