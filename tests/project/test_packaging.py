"""The wheel contains all files, and they work outside the checkout."""

from __future__ import annotations

import re
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fresh_environment import fresh_environment, source_files
from small_networks import convolution_network

from ellc.ir.container import save

ROOT = Path(__file__).resolve().parents[2]
PLACES = {"codegen": "ellc/codegen", "ellc": "ellc", "ir": "ellc/ir"}
"""The path in a wheel of each folder of a checkout."""
RUNTIME = "ellc/codegen/runtime_c"
Command = Callable[..., str]


def project() -> dict[str, object]:
    settings: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return settings


def test_every_package_folder_is_listed() -> None:
    listed = project()["tool"]["setuptools"]["packages"]  # type: ignore[index]
    found = {
        "/".join((place, *path.parent.relative_to(ROOT / folder).parts)).replace("/", ".")
        for folder, place in PLACES.items()
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert sorted(listed) == sorted(found | {RUNTIME.replace("/", ".")})


def test_every_typed_package_says_so() -> None:
    assert all((ROOT / package / "py.typed").exists() for package in PLACES)


def test_a_command_installs_the_project_once() -> None:
    """pip refuses `'.[docs]' --editable .`, which are two requirements for the same project."""
    commands = [
        line
        for path in ("Makefile", ".github/workflows/ci.yml")
        for line in (ROOT / path).read_text("utf-8").splitlines()
        if "pip install" in line
    ]
    twice = [c for c in commands if len(re.findall(r"(?<=[\s'])\.(?=[\[\s']|$)", c)) > 1]
    assert commands and not twice


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A function that runs a program from an environment with the wheel, outside the checkout."""
    return fresh_environment(tmp_path_factory.mktemp("installed") / "venv", wheel, ()).call


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    places = {**PLACES, "runtime_c": RUNTIME}
    expected = {
        "/".join((places[path.parts[0]], *path.parts[1:]))
        for path in source_files()
        if path.parts[0] in places and path.suffix != ".md" and (ROOT / path).is_file()
    }
    assert not expected - names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"ellc"}
    extra = {name for name in names - expected if ".dist-info/" not in name}
    assert all(name.endswith(".md") for name in extra), extra


@pytest.mark.slow
def test_the_installed_command_runs(installed: Command, tmp_path: Path) -> None:
    where = installed(
        "python", "-c", "import ellc.ir, ellc.codegen; print(ellc.__file__)", cwd=tmp_path
    )
    assert not Path(where.strip()).is_relative_to(ROOT)
    assert "LLVM" in installed("ellc", "--version", cwd=tmp_path)
    assert installed("python", "-m", "ellc", "targets", cwd=tmp_path).startswith("name")


@pytest.mark.slow
def test_the_installed_ellc_compiles(installed: Command, tmp_path: Path) -> None:
    save(convolution_network("net"), tmp_path / "net.eir")
    kinds = "so,obj,lib,c,py,ell,cmake,demo"
    installed("ellc", "compile", "net.eir", "--emit", kinds, "--threads", "2", cwd=tmp_path)
    names = {path.name for path in (tmp_path / "host").iterdir()}
    assert {"libnet.so", "net.py", "net.c", "demo.c", "CMakeLists.txt", "net_ell.c"} <= names
    program = (
        "import sys; sys.path.insert(0, 'host')\n"
        "import net, numpy\n"
        "print(net.Model().predict(numpy.zeros((9, 11, 3), numpy.float32)).shape)"
    )
    assert installed("python", "-c", program, cwd=tmp_path) == "(1, 4, 5, 10)\n"


@pytest.mark.slow
def test_the_installed_ellc_finds_the_c_sources(installed: Command, tmp_path: Path) -> None:
    program = (
        "from ellc.codegen.output.runtime import runtime_dir\n"
        "print(*sorted(path.name for path in runtime_dir().iterdir()))"
    )
    names = installed("python", "-c", program, cwd=tmp_path).split()
    assert {p.name for p in (ROOT / "runtime_c").iterdir() if p.suffix in (".c", ".h")} <= {*names}
