"""The memories of a board without an operating system.

A microcontroller has several small memories. Tightly coupled memories answer in one cycle; others
are larger and slower. Rows of boards (`boards.py`) list them in the order in which a network should
fill them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MemoryKind = Literal["code", "data", "any", "flash"]
"""What a memory holds: code that start-up code copies there, data, both, or the program's image."""


@dataclass(frozen=True, slots=True)
class BoardMemory:
    """A memory of a board: its name in section names, its address in bytes and its size."""

    name: str
    address: int
    bytes: int
    kind: MemoryKind
