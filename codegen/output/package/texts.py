"""Text files of a package: Python module, ELL's functions in C, CMake file, demo."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ellc.codegen.languages.render import render, render_cmake, render_python
from ellc.codegen.output.glue import Model
from ellc.codegen.output.runtime import runtime_dir


def write_python_module(model: Model, library: str, version: str, folder: Path) -> Path:
    """`NAME.py`, which loads the shared library `library` from its own folder."""
    path = folder / f"{model.name}.py"
    text = render_python("package/model.py.j2", m=model, version=version, library=library)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def write_ell_names(model: Model, version: str, folder: Path) -> tuple[Path, Path]:
    """`NAME_ell.h` and `NAME_ell.c`: ELL's C functions on one static instance."""
    paths = folder / f"{model.name}_ell.h", folder / f"{model.name}_ell.c"
    for path, template in zip(paths, ("package/ell.h.j2", "package/ell.c.j2"), strict=True):
        text = render(template, m=model, version=version)
        path.write_text(text, encoding="utf-8", newline="\n")
    return paths


def write_labels(model: Model, version: str, folder: Path) -> Path:
    """`NAME_labels.h`: the names of the classes as an array."""
    path = folder / f"{model.name}_labels.h"
    text = render("package/labels.h.j2", m=model, version=version)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def write_demo(model: Model, version: str, folder: Path) -> tuple[Path, ...]:
    """`demo.c`, and the files of the clock that it uses."""
    demo = folder / "demo.c"
    text = render("package/demo.c.j2", m=model, version=version)
    demo.write_text(text, encoding="utf-8", newline="\n")
    clock = [folder / name for name in ("ellc_clock.c", "ellc_clock.h")]
    for path in clock:
        shutil.copyfile(runtime_dir() / path.name, path)
    return demo, *clock


def write_cmake(
    model: Model, kind: str, files: Sequence[Path], version: str, folder: Path, *, demo: bool
) -> Path:
    """`CMakeLists.txt` with a library target NAME.

    `kind` is what the library is built from (so, obj, lib or c), `files` are its files.
    """
    path = folder / "CMakeLists.txt"
    names = [file.name for file in files]
    text = render_cmake(
        "package/CMakeLists.txt.j2",
        name=model.name,
        version=version,
        kind=kind,
        file=names[0],
        soname=names[0].endswith(".so"),
        sources=[name for name in names if name.endswith(".c")],
        threads=model.threads > 1,
        demo=demo,
    )
    path.write_text(text, encoding="utf-8", newline="\n")
    return path
