"""The supported operators of each model format, taken from the tables of the importers."""

from __future__ import annotations

from dataclasses import dataclass

from ellc.frontends.format import formats

_TABLES = {form.name: form.operators for form in formats() if form.operators}
FORMATS = tuple(_TABLES)
NAMES = {form.name: form.title for form in formats() if form.operators}


@dataclass(frozen=True, slots=True)
class Supported:
    """An operator of a format; `limits` says which uses of it are not supported."""

    operator: str
    limits: str


def supported(format: str) -> tuple[Supported, ...]:
    """The supported operators of a format (an element of `FORMATS`), sorted by name."""
    return tuple(Supported(kind, limits) for kind, limits in sorted(_TABLES[format]().items()))
