"""Writes a package's text files: Python, JavaScript, ELL's C functions, labels, CMake, demo."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ellc.codegen.languages.render import (
    render,
    render_cmake,
    render_js,
    render_python,
    template_text,
)
from ellc.codegen.output.model import Model
from ellc.codegen.output.package.manifest import port_entry
from ellc.codegen.output.package.version import PackageVersion
from ellc.codegen.output.runtime import runtime_dir


def write_python_module(
    model: Model, library: str, version: str, folder: Path, own: PackageVersion
) -> Path:
    """Write `NAME.py`, which loads the shared library `library` from its own folder."""
    path = folder / f"{model.name}.py"
    values = {"version": version, "library": library, "package_version": own.text or version}
    text = render_python("package/model.py.j2", m=model, **values)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def write_js_module(model: Model, version: str, folder: Path) -> tuple[Path, Path]:
    """Write `NAME.mjs`, which loads `NAME.wasm` from its own folder, and its types `NAME.d.mts`."""
    paths = folder / f"{model.name}.mjs", folder / f"{model.name}.d.mts"
    inputs, outputs = ([port_entry(p) for p in ports] for ports in (model.inputs, model.outputs))
    for path, template in zip(paths, ("model.mjs.j2", "model.d.mts.j2"), strict=True):
        values = {"version": version, "inputs": inputs, "outputs": outputs}
        text = render_js(f"package/{template}", m=model, **values)
        path.write_text(text, encoding="utf-8", newline="\n")
    return paths


def network_script() -> str:
    """The part of `NAME.mjs` that is the same for every network, as a script without exports."""
    return template_text("package/network.js")


def write_ell_package(model: Model, version: str, folder: Path) -> tuple[Path, Path]:
    """Write `__init__.py` and `build/NAME.py`, which make the folder a package like ELL's."""
    paths = folder / "__init__.py", folder / "build" / f"{model.name}.py"
    paths[1].parent.mkdir()
    for path, name in zip(paths, ("ell_init", "ell_build"), strict=True):
        text = render_python(f"package/{name}.py.j2", m=model, version=version)
        path.write_text(text, encoding="utf-8", newline="\n")
    return paths


def write_ell_names(model: Model, version: str, folder: Path) -> tuple[Path, Path]:
    """Write `NAME_ell.h` and `NAME_ell.c`, which define ELL's C functions on a static instance."""
    paths = folder / f"{model.name}_ell.h", folder / f"{model.name}_ell.c"
    for path, template in zip(paths, ("package/ell.h.j2", "package/ell.c.j2"), strict=True):
        text = render(template, m=model, version=version)
        path.write_text(text, encoding="utf-8", newline="\n")
    return paths


def write_labels(model: Model, version: str, folder: Path) -> Path:
    """Write `NAME_labels.h`, which defines an array of the names of the classes."""
    path = folder / f"{model.name}_labels.h"
    text = render("package/labels.h.j2", m=model, version=version)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def write_demo(model: Model, version: str, folder: Path) -> tuple[Path, ...]:
    """Write `demo.c` and the files of the clock that it uses."""
    demo = folder / "demo.c"
    text = render("package/demo.c.j2", m=model, version=version)
    demo.write_text(text, encoding="utf-8", newline="\n")
    clock = [folder / name for name in ("ellc_clock.c", "ellc_clock.h")]
    for path in clock:
        shutil.copyfile(runtime_dir() / path.name, path)
    return demo, *clock


@dataclass(frozen=True, slots=True)
class Linkable:
    """The files of a network that programs are linked with.

    `kind` says what the CMake target NAME consists of: so, obj, lib or c. `shared` is the shared
    library, and `static` the object or archive, if they exist. `sources` are C files. `headers` are
    installed.
    """

    kind: str
    shared: Path | None
    static: Path | None
    sources: tuple[Path, ...]
    headers: tuple[Path, ...]

    @property
    def file(self) -> str:
        """The file that the target NAME consists of; if there are several sources, the first."""
        chosen = {"so": self.shared, "c": self.sources[0] if self.sources else None}
        file = chosen.get(self.kind, self.static)
        assert file is not None
        return file.name


def write_cmake(
    model: Model, files: Linkable, version: str, folder: Path, own: PackageVersion, *, demo: bool
) -> tuple[Path, ...]:
    """Write `CMakeLists.txt`, which defines the library target NAME, and `NAMEConfig.cmake`.

    If the package has its own version, also write `NAMEConfigVersion.cmake`.
    """
    built = files.kind == "c"
    libraries = [f.name for f in (files.shared, files.static) if f is not None]
    common = {
        "name": model.name,
        "version": version,
        "threads": model.threads > 1,
        "soname": bool(files.shared and files.shared.suffix == ".so"),
    }
    texts = {
        "CMakeLists.txt": render_cmake(
            "package/CMakeLists.txt.j2",
            kind=files.kind,
            file=files.file,
            sources=[f.name for f in files.sources if f.suffix == ".c"],
            libraries=libraries,
            headers=[f.name for f in files.headers],
            demo=demo,
            has_version=bool(own.text),
            **common,
        ),
        f"{model.name}Config.cmake": render_cmake(
            "package/Config.cmake.j2",
            shared=files.shared.name if files.shared and not built else "",
            static=files.static.name if files.static and not built else "",
            built=built,
            **common,
        ),
    }
    if own.text:
        texts[f"{model.name}ConfigVersion.cmake"] = _version_file(model, version, own)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return tuple(folder / name for name in texts)


def _version_file(model: Model, version: str, own: PackageVersion) -> str:
    return render_cmake(
        "package/ConfigVersion.cmake.j2",
        name=model.name,
        version=version,
        package_version=own.text,
        release=own.release,
        major=own.major,
    )
