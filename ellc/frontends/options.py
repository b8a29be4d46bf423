"""Holds the options for importing model files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal

from ellc.ir.limits import DEFAULT_LIMITS, Limits


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """The options with which a user reads a model.

    `shapes` has the shapes of inputs that the file leaves open; an open batch size that is not
    given is 1. `fixed` turns inputs into constants: it maps an input to one number for all
    elements, or to one number for each element. `outputs` cuts the network: only the nodes on which
    these values depend are read. `signature` chooses one of the signatures of a file; "" means the
    file's first graph. With `layout` "nhwc", inputs and outputs that are NCHW in the file become
    NHWC. With `keep_double`, float64 values of an `.ell` model are computed in float64 instead of
    float32. `limits` bounds the sizes that a reader accepts.
    """

    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))
    fixed: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: MappingProxyType({}))
    outputs: tuple[str, ...] = ()
    signature: str = ""
    layout: Literal["file", "nhwc"] = "file"
    keep_double: bool = False
    limits: Limits = DEFAULT_LIMITS

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the read-only mappings as dictionaries, because a mapping proxy has no pickle."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return (_unpickled, (given | {name: dict(given[name]) for name in _VIEWS},))

    def chosen(self) -> tuple[str, ...]:
        """The fields of `OPTIONS` that differ from their defaults."""
        default = ImportOptions()
        return tuple(name for name in OPTIONS if getattr(self, name) != getattr(default, name))


_VIEWS = ("shapes", "fixed")


def _unpickled(given: dict[str, Any]) -> ImportOptions:
    return ImportOptions(**given | {name: MappingProxyType(given[name]) for name in _VIEWS})


OPTIONS = MappingProxyType(
    {
        "shapes": "--shape",
        "fixed": "--set",
        "outputs": "--outputs",
        "signature": "--signature",
        "layout": "--layout",
        "keep_double": "--double-is",
    }
)
"""Fields of `ImportOptions` that only some formats support, with their command-line options."""
