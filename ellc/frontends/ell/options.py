"""Options for reading an `.ell` file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ellc.ir.limits import DEFAULT_LIMITS, Limits


@dataclass(frozen=True, slots=True)
class EllOptions:
    """Options of `read_ell`."""

    name: str = ""
    """Name of the graph; by default the file's name without its suffixes, or `model` for bytes."""
    double_is: Literal["float", "double"] = "float"
    """The precision in which a model's doubles are computed. If it is `float` (float32), a note in
    the graph says so."""
    outputs: tuple[str, ...] = ()
    """Port references such as `1003.output` that replace the outputs of the map."""
    limits: Limits = DEFAULT_LIMITS
