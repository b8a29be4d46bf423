"""`ellc compile --package-version`: pip, CMake, the manifest and Python tell the user's version."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from small_networks import convolution_network

from ellc.cli import run
from ellc.codegen.output.package.version import PackageVersion
from ellc.driver import CompileOptions, compile_model
from ellc.ir.container import save
from ellc.ir.errors import EllcError

FINDS = """
cmake_minimum_required(VERSION 3.10)
project(application C)
find_package(net {wanted} QUIET)
message(STATUS "found: ${{net_FOUND}} ${{net_VERSION}}.")
"""


@pytest.mark.parametrize(
    ("text", "release", "major"),
    [
        ("1.2.3", "1.2.3", 1),
        ("0", "0", 0),
        ("10.0rc1", "10.0", 10),
        ("2!3.4a0.post1.dev2+pi.3", "3.4", 3),
        ("1.0+board7", "1.0", 1),
    ],
)
def test_versions(text: str, release: str, major: int) -> None:
    version = PackageVersion(text)
    assert (version.release, version.major) == (release, major)


@pytest.mark.parametrize(
    "text",
    ["v1.2", "1.2-3", "1.02", "1.", "1.2.3 ", "latest", "1.0-rc1", "1\n", "../1", "1+A", "１"],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(EllcError) as caught:
        PackageVersion(text)
    assert caught.value.code == "E316"


@pytest.mark.slow
def test_the_version_is_told_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(convolution_network("net"), tmp_path / "net.eir")
    words = ["compile", str(tmp_path / "net.eir"), "-o", str(tmp_path / "out"), "--wheel"]
    assert run([*words, "--package-version", "v1"]) == 2
    assert "E316" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert run([*words, "--package-version", ""]) == 2
    assert "E316" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert run([*words, "--package-version", "1.2.3"]) == 0
    out = tmp_path / "out"
    assert json.loads((out / "net.json").read_text())["version"] == "1.2.3"
    assert "__version__ = '1.2.3'" in (out / "net.py").read_text()
    (wheel,) = out.glob("net-1.2.3-py3-none-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert "Version: 1.2.3\n" in archive.read("net-1.2.3.dist-info/METADATA").decode()
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    for wanted, found in (("1.2", True), ("1.2.3 EXACT", True), ("", True), ("1.3", False),
                          ("2.0", False), ("0.9", False), ("1.2 EXACT", False)):  # fmt: skip
        project = tmp_path / "application"
        shutil.rmtree(project, ignore_errors=True)
        project.mkdir()
        (project / "CMakeLists.txt").write_text(FINDS.format(wanted=wanted))
        command = ["cmake", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={out}"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert ("found: 1 1.2.3." in said) == found, (wanted, said)


def test_without_the_option_no_file_changes(tmp_path: Path) -> None:
    options = CompileOptions(emit=("c", "cmake"), threads=1, name="net")
    made = compile_model(convolution_network(), "host", options, tmp_path)
    assert "netConfigVersion.cmake" not in made.names and "version" not in made.manifest
    assert "ConfigVersion" not in (tmp_path / "CMakeLists.txt").read_text()
