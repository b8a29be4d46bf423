"""Formats of model files. Every folder with a `format.py` is one; `formats` finds them all."""

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
from ellc.ir.file_interface import FileInterface
from ellc.ir.graph import Graph


class Evidence(IntEnum):
    """How sure a format is that a file belongs to it; the format with the highest value wins."""

    NONE = 0
    LOOKS = 1
    """Files of this format can begin with these bytes."""
    NAME = 2
    """The file name has this format's suffix. If the file is damaged, its reader says how."""
    CONTAINER = 3
    """The file is a general container that this format uses, such as zip."""
    MARK = 4
    """The file has a mark that only this format's files have."""


@dataclass(frozen=True, slots=True)
class Writer:
    """How to write files of a format. `write` raises nothing but `EllcError`."""

    write: Callable[[Graph, Path], None]
    only_pixels: bool = False
    """Images in these files are always NHWC, also if the model that was read had NCHW."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format of model files.

    `name` is its name on the command line, `title` its name in texts. `suffixes` are the suffixes
    of its files, the usual one first. `evidence` takes a file's first bytes and its path, says how
    well they fit, and never raises. `read` raises nothing but `EllcError`, with all problems in one
    report. `takes` names the fields of `ImportOptions` that this format supports; setting another
    one is an error. `writer` is None if ellc does not write the format. `operators` returns the
    format's operators by name, each with a text about its limits ("" for none); it is None for a
    format without operators. `interface` returns what a file, which `read` has taken, says of its
    inputs and outputs; it is None for a format without a runtime of its own.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    evidence: Callable[[bytes, Path], Evidence]
    read: Callable[[Path, ImportOptions], Graph]
    takes: frozenset[str] = frozenset()
    is_exported: bool = False
    """Exporters write these files: layers come with shape arithmetic and transposes."""
    writer: Writer | None = None
    operators: Callable[[], Mapping[str, str]] | None = None
    interface: Callable[[Path, ImportOptions], FileInterface] | None = None


@cache
def formats() -> tuple[Format, ...]:
    """All formats, by name: the `FORMAT` of every folder here that has a `format.py`."""
    folders = (m.name for m in pkgutil.iter_modules(ellc.frontends.__path__) if m.ispkg)
    modules = [f"{ellc.frontends.__name__}.{folder}.format" for folder in sorted(folders)]
    return tuple(import_module(module).FORMAT for module in modules if find_spec(module))


def writers() -> dict[str, Writer]:
    """The writers of all formats that have one, by the format's usual suffix."""
    return {form.suffixes[0]: form.writer for form in formats() if form.writer}


def suffixes() -> tuple[str, ...]:
    """The suffixes of all formats, longest first."""
    every = {suffix for form in formats() for suffix in form.suffixes}
    return tuple(sorted(every, key=lambda suffix: (-len(suffix), suffix)))
