"""Options for reading an `.ell` file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ellc.ir.limits import DEFAULT_LIMITS, Limits


@dataclass(frozen=True, slots=True)
class EllOptions:
    """Options of `read_ell`."""

    name: str = ""
    """Name of the graph; by default the file's name without its suffixes."""
    double_is: Literal["float", "double"] = "float"
    """How to compute a model's doubles. `float` means float32, and adds a note to the graph."""
    outputs: tuple[str, ...] = ()
    """Port references such as `1003.output`, used as outputs instead of those of the map."""
    limits: Limits = DEFAULT_LIMITS
