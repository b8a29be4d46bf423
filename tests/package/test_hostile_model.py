"""Use the package of a model in which all names and texts are hostile, as a user would."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hostile_texts import TEXTS, many_ports

from ellc.driver import Artifact, CompileOptions, compile_model
from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.ops.pointwise import Relu
from ellc.ir.types import DType, TensorType

FOLDER = "o'u\"t $HOME %s #{{x}} é\n"
FILE = 'x; import os\n"""%s{{ 7*7 }}$(id)\'.eir'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The result of compiling a file with a hostile name to a folder with a hostile name."""
    folder = tmp_path_factory.mktemp("hostile")
    save(many_ports(TEXTS), folder / FILE)
    kinds = ("so", "obj", "c", "py", "wheel", "ell", "cmake", "demo")
    return compile_model(folder / FILE, "host", CompileOptions(emit=kinds), folder / FOLDER)


def test_files_are_called_by_the_valid_name(made: Artifact) -> None:
    assert made.name == "x__import_os_____s___7_7_____id__"
    assert all(path.name.isascii() and path.name.isprintable() for path in made.files)


def test_the_module_runs_the_network_and_nothing_else(made: Artifact, tmp_path: Path) -> None:
    shutil.copytree(made.folder, tmp_path / "module")
    script = f"import {made.name} as m; x = [[-1, 2, 3, -4]] * len(m.INPUTS)\n"
    script += "print(m.Model().predict(*x)[0].tolist(), len(m.METADATA))"
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path / "module",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == f"[0.0, 2.0, 3.0, 0.0] {2 * len(TEXTS)}\n", ran.stderr
    assert not list(tmp_path.glob("**/ellc_was_here"))


def test_the_wheel_names_its_files_plainly(made: Artifact) -> None:
    (wheel,) = made.folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        info = next(name for name in names if name.endswith("METADATA"))
        lines = archive.read(info).decode().splitlines()
    assert all(name.isascii() and name.isprintable() for name in names)
    keys = ["Metadata-Version", "Name", "Version", "Summary", "Requires-Python"]
    assert [line.split(":")[0] for line in lines] == [*keys, "Requires-Dist", "Requires-Dist"]


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake not installed")
def test_cmake_builds_the_demo_and_the_demo_prints_text(made: Artifact, tmp_path: Path) -> None:
    odd = "a $package(${HOME})'@x@'%<y>&é"
    source, build = shutil.copytree(made.folder, tmp_path / odd), tmp_path / "build"
    for words in (["-S", source, "-B", build], ["--build", build]):
        ran = subprocess.run(["cmake", *words], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
    demo = build / f"{made.name}_demo"
    ran = subprocess.run([demo], capture_output=True, text=True, check=True)
    assert ran.stdout.replace("\n", "").isprintable()


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake not installed")
def test_cmake_refuses_folders_that_no_build_could_quote(made: Artifact, tmp_path: Path) -> None:
    both = ["a;b", "a[b;c", 'a"b', "a\nb", "$<1:x>"]
    makes = ["a#b", "a[b", "a]b", "a:b"]
    refused = {"Ninja": both if shutil.which("ninja") else [], "Unix Makefiles": both + makes}
    for generator, names in refused.items():
        for name in names:
            source = tmp_path / generator / name
            source.mkdir(parents=True)
            shutil.copy(made.folder / "CMakeLists.txt", source)
            build = tmp_path / generator / f"build {names.index(name)}"
            words = ["cmake", "-G", generator, "-S", source, "-B", build]
            ran = subprocess.run(words, capture_output=True, text=True, check=False)
            said = " ".join(ran.stderr.split())
            assert ran.returncode == 1 and "rename or move" in said, f"{name!r}: {said}"


@pytest.mark.parametrize("name", ["random", "numpy", "threading", "weakref"])
def test_a_module_hides_none_of_python(name: str, tmp_path: Path) -> None:
    b = GraphBuilder(name)
    b.output("y", b.add(Relu(), b.input("x", TensorType(DType.F32, (2,)))))
    made = compile_model(b.build(), "host", CompileOptions(emit=("so", "py")), tmp_path / "out")
    script = f"import {made.name} as m; print(m.Model().predict([-1, 2]).tolist())"
    words = [sys.executable, "-c", script]
    ran = subprocess.run(words, cwd=made.folder, capture_output=True, text=True, check=False)
    assert ran.stdout == "[0.0, 2.0]\n", ran.stderr
