"""Writes a network as a library folder for the build system of a firmware, with portable C source.

The user's build compiles the source with its own compiler and options, so that one folder serves
every core. Layouts:

* Zephyr, docs.zephyrproject.org, "Modules (External projects)": `zephyr/module.yml` names the CMake
  file and the Kconfig file.
* Arduino, "Library specification" 2.2: `library.properties`, source and headers in `src/`, sketches
  in `examples/`.
* PlatformIO, docs.platformio.org, "library.json": source in `src/`, headers in `include/`.
* ESP-IDF, docs.espressif.com, "Build System" and "idf_component.yml Manifest File": a component has
  a `CMakeLists.txt` that calls `idf_component_register`, and a manifest.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from ellc.codegen.languages.foreign_text import Identifier
from ellc.codegen.languages.render import render, render_cmake
from ellc.codegen.output.c_package import write_c_package
from ellc.codegen.output.model import Model
from ellc.codegen.output.package.texts import write_labels
from ellc.codegen.output.package.version import PackageVersion
from ellc.codegen.planning.plan import Plan
from ellc.ir.errors import EllcError

KINDS: dict[str, str] = {
    "zephyr": "folder zephyr/NAME, a Zephyr module with C source",
    "arduino": "folder arduino/NAME, an Arduino library with C source and a sketch",
    "platformio": "folder platformio/NAME, a PlatformIO library with C source",
    "espidf": "folder espidf/NAME, a component for ESP-IDF with C source",
}
"""The kinds of library folders, with descriptions."""


def write_library_folder(
    kind: str, plan: Plan, model: Model, version: str, folder: Path, own: PackageVersion
) -> tuple[Path, ...]:
    """Write the library folder `KIND/NAME` into a folder. Returns its files.

    `version` is that of ellc, which is also the library's unless `own` has one. Raises `EllcError`
    E323 for a target with an operating system, and E608 as `write_c_package` does.
    """
    if plan.target.has_os:
        raise EllcError(
            f"a library folder for {kind} is for microcontrollers; target {plan.target.name!r} has "
            "an operating system",
            code="E323",
            hint="use --target imxrt1050 or another microcontroller; for computers there is "
            "--emit cmake",
        )
    root = folder / kind / model.name
    source = root / "src"
    headers = root / ("src" if kind == "arduino" else "include")
    for part in {source, headers}:
        part.mkdir(parents=True)
    files = [*write_c_package(plan, model.name, source, version)]
    if model.labels:
        files.append(write_labels(model, version, source))
    files = [_moved(path, headers) if path.suffix == ".h" else path for path in files]
    release = own.release if own.text else version
    for path, text in _WRITERS[kind](model, version, release).items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
        files.append(file)
    return tuple(files)


def _moved(path: Path, folder: Path) -> Path:
    return Path(shutil.move(path, folder / path.name))


def _zephyr(model: Model, version: str, _release: str) -> dict[str, str]:
    name = model.name
    option = Identifier(f"ELLC_{name.upper()}")
    return {
        "zephyr/module.yml": f"# Made by ellc {version}.\n"
        f"name: {name}\nbuild:\n  cmake: .\n  kconfig: Kconfig\n",
        "Kconfig": f"# Made by ellc {version}.\n"
        f'config {option}\n\tbool "The neural network {name}"\n'
        "\thelp\n"
        f"\t  Adds {name}.h and the code of the network, which needs {model.ram_bytes} bytes of\n"
        "\t  RAM that the application provides.\n",
        "CMakeLists.txt": render_cmake(
            "package/zephyr.cmake.j2", name=name, option=option, version=version
        ),
    }


def _arduino(model: Model, version: str, release: str) -> dict[str, str]:
    name = model.name
    lines = {
        "name": name,
        "version": release,
        "author": "ellc",
        "maintainer": "ellc",
        "sentence": f"The neural network {name}, compiled by ellc {version}.",
        "paragraph": f"It needs {model.ram_bytes} bytes of RAM that the sketch provides.",
        "category": "Data Processing",
        "url": "https://pypi.org/project/ellc-compiler/",
        "architectures": "*",
        "includes": f"{name}.h",
    }
    return {
        "library.properties": "".join(f"{key}={value}\n" for key, value in lines.items()),
        f"examples/{name}_once/{name}_once.ino": render(
            "package/sketch.ino.j2", m=model, version=version
        ),
    }


def _platformio(model: Model, version: str, release: str) -> dict[str, str]:
    document = {
        "$schema": "https://raw.githubusercontent.com/platformio/platformio-core/develop/"
        "platformio/assets/schema/library.json",
        "name": model.name,
        "version": release,
        "description": f"The neural network {model.name}, compiled by ellc {version}; it needs "
        f"{model.ram_bytes} bytes of RAM that the program provides",
        "keywords": ["neural network", "inference"],
        "frameworks": "*",
        "platforms": "*",
        "headers": f"{model.name}.h",
        "build": {"includeDir": "include", "srcDir": "src"},
    }
    return {"library.json": json.dumps(document, indent=2) + "\n"}


def _espidf(model: Model, version: str, release: str) -> dict[str, str]:
    name = model.name
    return {
        "CMakeLists.txt": render_cmake("package/espidf.cmake.j2", name=name, version=version),
        "idf_component.yml": f"# Made by ellc {version}.\n"
        f'version: "{release}"\ndescription: "The neural network {name}"\n',
    }


_WRITERS: dict[str, Callable[[Model, str, str], dict[str, str]]] = {
    "zephyr": _zephyr,
    "arduino": _arduino,
    "platformio": _platformio,
    "espidf": _espidf,
}
