"""The files beside a library that are text: Python module, ELL's names in C, CMake file, demo."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from codegen.glue import Model
from codegen.render import environment
from codegen.runtime import runtime_dir
from ir.types import DType


def write_python_module(model: Model, library: str, version: str, folder: Path) -> Path:
    """`NAME.py`, which loads the shared library `library` from its own folder."""
    path = folder / f"{model.name}.py"
    text = _render(
        "model.py.j2",
        m=model,
        version=version,
        library=library,
        results=", ".join(p.c_name for p in model.outputs),
        wrapper=f"{model.name[:1].upper()}{model.name[1:]}Wrapper",
    )
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def write_ell_names(model: Model, version: str, folder: Path) -> tuple[Path, Path]:
    """`NAME_ell.h` and `NAME_ell.c`: ELL's C functions on one static instance."""
    paths = folder / f"{model.name}_ell.h", folder / f"{model.name}_ell.c"
    for path, template in zip(paths, ("ell.h.j2", "ell.c.j2"), strict=True):
        path.write_text(_render(template, m=model, version=version), encoding="utf-8", newline="\n")
    return paths


def write_demo(model: Model, version: str, folder: Path) -> tuple[Path, ...]:
    """`demo.c` and the clock it measures with."""
    demo = folder / "demo.c"
    demo.write_text(_render("demo.c.j2", m=model, version=version), encoding="utf-8", newline="\n")
    clock = [folder / name for name in ("ellc_clock.c", "ellc_clock.h")]
    for path in clock:
        shutil.copyfile(runtime_dir() / path.name, path)
    return demo, *clock


def write_cmake(
    model: Model, kind: str, files: Sequence[Path], version: str, folder: Path, *, demo: bool
) -> Path:
    """`CMakeLists.txt` with a library target NAME.

    `kind` is what it is made from (so, obj, lib or c), `files` are the files of that kind.
    """
    path = folder / "CMakeLists.txt"
    names = [file.name for file in files]
    text = _render(
        "CMakeLists.txt.j2",
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


def _render(template: str, **values: object) -> str:
    made = environment().overlay()
    made.filters = {**made.filters, "py": _python_text, "numpy": _numpy_name, "product": math.prod}
    return made.get_template(f"package/{template}").render(**values)


def _python_text(value: object) -> str:
    """A literal of Python in ASCII."""
    return ascii(value)


def _numpy_name(dtype: DType) -> str:
    return f"np.{'bool_' if dtype in (DType.BIT, DType.BOOL) else dtype.numpy.name}"
