"""What a caller may choose when reading an `.ell` file."""

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
    """The type that a model's doubles are computed in. With `float` a note says so."""
    outputs: tuple[str, ...] = ()
    """Port references such as `1003.output` to use as outputs instead of the map's own."""
    limits: Limits = DEFAULT_LIMITS
