"""The driver, and `ellc compile`: manifest, costs, names, output folders, errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from small_networks import convolution_network

import ellc.driver
from ellc.codegen.toolchain.elf_reader import ElfFile
from ellc.driver import CompileOptions, compile_model
from ellc.ir.container import save
from ellc.ir.errors import EllcError

Command = Callable[..., object]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "my model-1.eir"
    save(convolution_network(), path)
    return path


def test_manifest_says_what_is_inside(tmp_path: Path) -> None:
    made = compile_model(convolution_network(), "pi3", CompileOptions(threads=1), tmp_path / "out")
    said = json.loads((tmp_path / "out" / "small.json").read_text(encoding="utf-8"))
    assert said == made.manifest
    assert said["target"]["triple"] == "armv7-unknown-linux-gnueabihf"
    assert [p["shape"] for p in said["inputs"]] == [[1, 9, 11, 3]]
    assert said["metadata"] == {"labels": 'cat\n"dog"', "é": "\\"}
    layers = [layer for step in said["operators"] for layer in step["layers"]]
    assert layers == ["conv1", "relu1", "pool1", "conv2"]
    assert said["macs"] == 9 * 11 * 6 * 27 + 4 * 5 * 10 * 54
    memory = said["memory"]
    assert memory["lower_bound_bytes"] <= memory["planned_bytes"] <= memory["arena_bytes"]
    assert memory["flash_bytes"] == made.costs.flash_bytes
    assert 0 < memory["stack_bytes"] < 4096
    library = ElfFile.read(tmp_path / "out" / "libsmall.so")
    assert memory["flash_bytes"] >= library.read_only_bytes() > memory["weight_bytes"] > 0
    flash = made.costs.flash
    assert flash and flash.weights == 4 * (6 * 27 + 6 + 10 * 54)  # only the first one has a bias
    assert flash.weights + flash.tables + flash.code == memory["flash_bytes"]


def test_default_folder_is_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = compile_model(convolution_network(), "pi3_64", CompileOptions(emit=("obj",)))
    assert made.folder == Path("pi3_64")
    assert sorted(p.name for p in (tmp_path / "pi3_64").iterdir()) == [
        "small.h",
        "small.json",
        "small.o",
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["pi3_64"]


@pytest.mark.slow
def test_failure_leaves_the_folder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    compile_model(convolution_network(), "host", CompileOptions(emit=("so",)), out)
    (out / "mine.txt").write_text("mine")
    before = {p.name: p.read_bytes() for p in out.iterdir()}

    def fail(*_: object) -> None:
        raise EllcError("no", code="E999")

    monkeypatch.setattr(ellc.driver, "write_manifest", fail)
    with pytest.raises(EllcError, match="E999"):
        compile_model(convolution_network(), "pi3", CompileOptions(emit=("so",)), out)
    with pytest.raises(EllcError, match="E999"):
        compile_model(convolution_network(), "pi3", CompileOptions(), tmp_path / "new")
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    monkeypatch.undo()
    compile_model(convolution_network(), "pi3", CompileOptions(emit=("so",)), out)
    assert (out / "mine.txt").read_text() == "mine"
    assert (out / "libsmall.so").read_bytes() != before["libsmall.so"]


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "under"):
        with pytest.raises(EllcError, match="E703"):
            compile_model(convolution_network(), "host", CompileOptions(emit=("h",)), folder)
    assert (tmp_path / "file").read_text() == ""


def test_kinds_are_checked_before_work() -> None:
    with pytest.raises(EllcError, match=r"E310.*cannot emit exe, zip"):
        compile_model(Path("missing"), "host", CompileOptions(emit=("exe", "so", "zip")))


def test_python_module_needs_the_library(tmp_path: Path) -> None:
    with pytest.raises(EllcError, match="E312"):
        compile_model(convolution_network(), "host", CompileOptions(emit=("obj", "py")), tmp_path)


def test_dump_holds_every_stage(tmp_path: Path) -> None:
    options = CompileOptions(emit=("obj",), dump_dir=tmp_path / "dump", paranoid=True)
    compile_model(convolution_network(), "pi3", options, tmp_path / "out")
    names = {p.name for p in (tmp_path / "dump").iterdir()}
    assert {"00_input.txt", "small.ll", "weights.eir"} <= names


@pytest.mark.slow
def test_command(model: Path, tmp_path: Path, ellc_command: Command) -> None:
    ran = ellc_command("compile", model, "--target", "pi3", "-o", "out", "--threads", "1")
    assert (ran.returncode, ran.stderr) == (0, "")  # type: ignore[attr-defined]
    said = ran.stdout  # type: ignore[attr-defined]
    assert "flash" in said and "arena" in said and "stack" in said
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert {"libmy_model_1.so", "my_model_1.h", "my_model_1.py", "my_model_1.json"} <= names


@pytest.mark.slow
def test_command_as_json(model: Path, ellc_command: Command) -> None:
    ran = ellc_command("compile", model, "--name", "class", "--emit", "so,asm", "--json")
    said = json.loads(ran.stdout)  # type: ignore[attr-defined]
    assert said["files"] == ["class_.h", "class_.json", "class_.s", "libclass_.so"]
    assert said["folder"] == "host" and said["arena_bytes"] > 0


@pytest.mark.slow
def test_command_with_bad_input(tmp_path: Path, ellc_command: Command) -> None:
    ran = ellc_command("compile", "missing.ell", "-o", "out")
    assert ran.returncode == 2 and "E701" in ran.stderr  # type: ignore[attr-defined]
    ran = ellc_command("compile", "missing.ell", "--target", "pi33")
    assert ran.returncode == 2 and "pi3" in ran.stderr  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []
