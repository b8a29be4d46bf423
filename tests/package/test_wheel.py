"""Wheels: tags, metadata, and installation with pip."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from small_networks import convolution_network

from ellc.codegen.machine.resolve import fixed_targets, resolve
from ellc.codegen.output.package.wheel import platform_tags
from ellc.driver import CompileOptions, compile_model
from ellc.ir.errors import EllcError


def wheel(target: str, folder: Path) -> Path:
    options = CompileOptions(emit=("so", "wheel"), threads=1)
    made = compile_model(convolution_network("My-Net"), target, options, folder)
    (path,) = [file for file in made.files if file.suffix == ".whl"]
    return path


def pip(*words: str | Path) -> None:
    options = ["--no-index", "--no-deps", "--disable-pip-version-check", "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *words], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "platform"),
    [("pi0", "linux_armv6l"), ("pi3", "linux_armv7l"), ("pi3_64", "manylinux_2_28_aarch64")],
)
def test_pip_takes_it_for_the_board(target: str, platform: str, tmp_path: Path) -> None:
    made = wheel(target, tmp_path / "out")
    where = tmp_path / "site"
    pip("--platform", platform, "--only-binary=:all:", "--target", where, made)
    assert {p.name for p in (where / "My_Net").iterdir() if p.is_file()} == {
        "__init__.py",
        "libMy_Net.so",
        "My_Net.h",
        "My_Net.json",
    }


@pytest.mark.slow
def test_installed_package_predicts(tmp_path: Path) -> None:
    pip("--target", tmp_path / "site", wheel("host", tmp_path / "out"))
    code = "import My_Net, numpy; print(My_Net.Model().predict(numpy.zeros((9, 11, 3))).shape)"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "(1, 4, 5, 10)\n"


@pytest.mark.slow
def test_same_bytes_and_a_full_record(tmp_path: Path) -> None:
    one, two = wheel("pi3", tmp_path / "one"), wheel("pi3", tmp_path / "two")
    assert one.name == two.name and one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as archive:
        names = archive.namelist()
        (record,) = [name for name in names if name.endswith("RECORD")]
        rows = list(csv.reader(io.StringIO(archive.read(record).decode())))
    assert [row[0] for row in rows] == names


def test_every_system_with_python_has_tags() -> None:
    for row in fixed_targets():
        if row.os in ("none", "wasm"):
            with pytest.raises(EllcError, match="E313"):
                platform_tags(row)
        else:
            assert platform_tags(row)
    assert platform_tags(resolve("host"))


@pytest.mark.parametrize("kind", ["py", "litert", "onnxruntime", "wheel"])
def test_a_target_without_python_gets_no_module(kind: str, tmp_path: Path) -> None:
    options = CompileOptions(emit=("so", kind), threads=1)
    with pytest.raises(EllcError, match="E313"):
        compile_model(convolution_network(), "wasm", options, tmp_path / "out")
    assert not (tmp_path / "out").exists()
