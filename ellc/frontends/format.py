"""Formats of model files. Each folder with a `format.py` holds a format, which `formats` finds."""

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
    """How likely it is that a file has a format; the likeliest format reads the file."""

    NONE = 0
    LOOKS = 1
    """Files of this format can begin with these bytes."""
    NAME = 2
    """The file name has a suffix of this format, whose reader then reports what is damaged."""
    CONTAINER = 3
    """The file is a general container, such as zip, that this format uses."""
    MARK = 4
    """The file has a mark that only files of this format have."""


@dataclass(frozen=True, slots=True)
class Writer:
    """How to write files of a format. `write` raises only `EllcError`."""

    write: Callable[[Graph, Path], None]
    only_pixels: bool = False
    """Whether images in these files are always NHWC, even if they are NCHW in the source model."""
    only_constants: bool = False
    """Whether weights must be constants: the files cannot hold operators that compute them."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format of model files.

    `name` is the name of the format on the command line, and `title` its name in texts. `suffixes`
    are the suffixes of its files, the usual suffix first. `evidence` takes the first bytes and the
    path of a file, and returns how likely it is that the file has this format; it never raises.
    `read` raises only `EllcError`, with all problems in one report. `takes` are the fields of
    `ImportOptions` that this format supports; it is an error to set others. `writer` is None if
    ellc cannot write the format. `operators` returns the names of the format's operators, each with
    a text about its limits (may be empty); it is None for a format without operators. `interface`
    returns the inputs and outputs that a file declares, if `read` can read the file; it is None for
    a format without a runtime of its own.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    evidence: Callable[[bytes, Path], Evidence]
    read: Callable[[Path, ImportOptions], Graph]
    takes: frozenset[str] = frozenset()
    is_exported: bool = False
    """Whether exporters write these files; if so, they contain shape arithmetic and transposes
    besides the layers."""
    writer: Writer | None = None
    operators: Callable[[], Mapping[str, str]] | None = None
    interface: Callable[[Path, ImportOptions], FileInterface] | None = None


@cache
def formats() -> tuple[Format, ...]:
    """All formats, sorted by name: the `FORMAT` in each folder here that has a `format.py`."""
    folders = (m.name for m in pkgutil.iter_modules(ellc.frontends.__path__) if m.ispkg)
    modules = [f"{ellc.frontends.__name__}.{folder}.format" for folder in sorted(folders)]
    return tuple(import_module(module).FORMAT for module in modules if find_spec(module))


def writers() -> dict[str, Writer]:
    """The writers of all formats that ellc can write, by the usual suffix of the format."""
    return {form.suffixes[0]: form.writer for form in formats() if form.writer}


def suffixes() -> tuple[str, ...]:
    """The suffixes of all formats, the longest suffix first."""
    every = {suffix for form in formats() for suffix in form.suffixes}
    return tuple(sorted(every, key=lambda suffix: (-len(suffix), suffix)))
