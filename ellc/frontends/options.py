"""Options of importing model files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from ellc.ir.limits import DEFAULT_LIMITS, Limits


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Choices at import.

    `shapes` gives inputs the shape that the file leaves open (by input name; a missing batch is 1
    anyway). `fixed` makes inputs constants: one number for all elements, or one for each. `outputs`
    cuts the network: only what these values need is read. With `layout` "nhwc",
    inputs and outputs that are NCHW in the file become NHWC. `keep_double` computes the doubles of
    an `.ell` model in float64 instead of float32.
    """

    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))
    fixed: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: MappingProxyType({}))
    outputs: tuple[str, ...] = ()
    layout: Literal["file", "nhwc"] = "file"
    keep_double: bool = False
    limits: Limits = DEFAULT_LIMITS

    def chosen(self) -> tuple[str, ...]:
        """The fields of `OPTIONS` that differ from their defaults."""
        usual = ImportOptions()
        return tuple(name for name in OPTIONS if getattr(self, name) != getattr(usual, name))


OPTIONS = MappingProxyType(
    {
        "shapes": "--shape",
        "fixed": "--set",
        "outputs": "--outputs",
        "layout": "--layout",
        "keep_double": "--double-is",
    }
)
"""Fields of `ImportOptions` that only some formats have, with their names on the command line."""
