"""Which operators of each model format are read, from the very tables that read them."""

from __future__ import annotations

from dataclasses import dataclass

from ellc.frontends.format import formats

_TABLES = {form.name: form.operators for form in formats() if form.operators}
FORMATS = tuple(_TABLES)
NAMES = {form.name: form.title for form in formats() if form.operators}


@dataclass(frozen=True, slots=True)
class Supported:
    """An operator of a format; `limits` says what of it is not taken, or on which condition."""

    operator: str
    limits: str


def supported(format: str) -> tuple[Supported, ...]:
    """The operators of a format of `FORMATS` that are read, by name."""
    return tuple(Supported(kind, limits) for kind, limits in sorted(_TABLES[format]().items()))
