"""Kinds of model files: each says all about itself in `FOLDER/format.py`, and is found there."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import ellc.frontends
from ellc.frontends.options import ImportOptions
from ellc.ir.graph import Graph


class Evidence(IntEnum):
    """How sure it is that a file is of a format; the strongest of all formats decides."""

    NONE = 0
    LOOKS = 1
    """It may begin like this."""
    NAME = 2
    """Its name says so: even if it is damaged, this format's reader tells what is wrong."""
    CONTAINER = 3
    """It is of a general kind that this format uses, such as zip."""
    MARK = 4
    """It has what only this format's files have."""


@dataclass(frozen=True, slots=True)
class Writer:
    """How files of a format are written: `write` raises nothing but `EllcError`."""

    write: Callable[[Graph, Path], None]
    only_pixels: bool = False
    """Pictures are pixel by pixel in these files (NHWC), whatever the model read had."""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of model file.

    `name` is what commands take, `title` what people call it. `suffixes` are ends of file names,
    the usual one first. `evidence` says how well the first bytes of a file fit; it raises
    nothing. `read` raises nothing but `EllcError`, with all problems in one report. `takes` are the
    fields of `ImportOptions` that mean something here; others are refused. `writer` is there if
    ellc writes such files, `operators` (by name, with what is not taken of each) if the format has
    them.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    evidence: Callable[[bytes, Path], Evidence]
    read: Callable[[Path, ImportOptions], Graph]
    takes: frozenset[str] = frozenset()
    is_exported: bool = False
    """Exporters write it: layers have shape arithmetic and transposes around them."""
    writer: Writer | None = None
    operators: Callable[[], Mapping[str, str]] | None = None


@cache
def formats() -> tuple[Format, ...]:
    """All formats, by name: the `FORMAT` of every folder here that has a `format.py`."""
    folders = (m.name for m in pkgutil.iter_modules(ellc.frontends.__path__) if m.ispkg)
    modules = [f"{ellc.frontends.__name__}.{folder}.format" for folder in sorted(folders)]
    return tuple(import_module(module).FORMAT for module in modules if find_spec(module))


def writers() -> dict[str, Writer]:
    """How files are written, by their usual suffix."""
    return {form.suffixes[0]: form.writer for form in formats() if form.writer}


def suffixes() -> tuple[str, ...]:
    """What the names of model files end in, longest first."""
    every = {suffix for form in formats() for suffix in form.suffixes}
    return tuple(sorted(every, key=lambda suffix: (-len(suffix), suffix)))
