"""`ellc run` checks manifests of libraries; a damaged or wrong one gives one clear error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ellc.cli import EXIT_BAD_INPUT, run
from ellc.codegen.output.package.manifest import FORMAT
from ellc.driver import CompileOptions, compile_model
from ellc.execute import open_library
from ellc.ir.builder import GraphBuilder
from ellc.ir.errors import EllcError
from ellc.ir.ops.pointwise import Relu
from ellc.ir.ops.shape import Reshape
from ellc.ir.types import DType, Quant, TensorType
from ellc.manifest import Manifest, read_manifest
from ellc.pictures.pixels import Preprocessing

PIXELS = {
    "model.input.expectedColorChannelOrder": "bgr",
    "model.input.expectedPixelRangeHigh": "1",
    "model.input.redChannelMean": "0.5",
    "model.layout": "NCHW",
}


def library(folder: Path, elements: int) -> Path:
    """A library with a float port and a quantised port, and all metadata about pixels."""
    b = GraphBuilder("tiny")
    b.output("y", b.add(Relu(), b.input("x", TensorType(DType.F32, (1, elements)))))
    stored = TensorType(DType.I8, (1, 4), quant=Quant((0.25,), (3,)))
    b.output("z", b.add(Reshape((4, 1)), b.input("s", stored)))
    b.metadata({**PIXELS, "about.author": "somebody"})
    options = CompileOptions(emit=("so",), threads=1)
    made = compile_model(b.build(), "host", options, folder).library
    assert made is not None
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library(tmp_path_factory.mktemp("manifest") / "out", 4)


@pytest.mark.slow
def test_a_manifest_of_another_library_is_refused(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The manifest by itself is valid; only the library shows that it does not belong."""
    folder = shutil.copytree(made.parent, tmp_path / "out")
    np.save(tmp_path / "x.npy", np.ones(4, np.float32))
    np.save(tmp_path / "s.npy", np.ones(4, np.int8))
    arrays = [str(tmp_path / f"{name}.npy") for name in "xs"]
    assert run(["run", str(folder / made.name), *arrays]) == 0
    other = library(tmp_path / "other", 4096)
    shutil.copy(other.with_name("tiny.json"), folder / "tiny.json")
    np.save(tmp_path / "x.npy", np.ones(4096, np.float32))
    capsys.readouterr()
    assert run(["run", str(folder / made.name), *arrays]) == EXIT_BAD_INPUT
    assert "error[E705]" in capsys.readouterr().err


def test_a_manifest_or_its_folder_leads_to_the_library(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", np.ones(4, np.float32))
    for given in (made.with_name("tiny.json"), made.parent):
        assert run(["run", str(given), str(tmp_path / "x.npy")]) == EXIT_BAD_INPUT
        assert f"`ellc run` takes the library {made}" in capsys.readouterr().err


def leaves(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths of all values in a document, including containers."""
    match value:
        case dict():
            inner = [leaves(v, (*path, k)) for k, v in value.items()]
        case list():
            inner = [leaves(v, (*path, i)) for i, v in enumerate(value)]
        case _:
            inner = []
    return [path, *(p for places in inner for p in places)]


VALUES = (None, True, -1, 0, 1, 2**31, 2**63, 10**400, 1.5, float("nan"), "", "\0", "../x", [], {})


@pytest.mark.slow
def test_every_change_of_a_manifest_is_an_error_or_harmless(made: Path, tmp_path: Path) -> None:
    text = made.with_name("tiny.json").read_text()
    path = tmp_path / "tiny.json"
    wanted = read_manifest(made.with_name("tiny.json"), made)

    def change(document: dict[str, object], place: tuple[str | int, ...], value: object) -> object:
        inner: object = document
        for key in place[:-1]:
            inner = inner[key]  # type: ignore[index]
        inner[place[-1]] = value  # type: ignore[index]
        return document

    for place in leaves(json.loads(text))[1:]:
        for value in VALUES:
            path.write_text(json.dumps(change(json.loads(text), place, value)))
            try:
                said = read_manifest(path, made)
            except EllcError as error:
                assert error.code.startswith("E")
                continue
            assert used(said) == used(wanted), place


def used(said: Manifest) -> list[object]:
    """The parts of a manifest that `ellc run` uses."""
    pixels = Preprocessing.from_metadata(said.metadata), said.metadata.get("model.layout")
    return [said.inputs, said.outputs, *pixels, said.arena_bytes, said.abi]


def test_another_format_is_refused_by_name(made: Path, tmp_path: Path) -> None:
    document = json.loads(made.with_name("tiny.json").read_text())
    for number in (0, FORMAT + 1):
        (tmp_path / "tiny.json").write_text(json.dumps(document | {"format": number}))
        with pytest.raises(EllcError, match=f"format is {number}, .* reads {FORMAT}: compile"):
            read_manifest(tmp_path / "tiny.json", made)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: b"[" * 200_000,
        lambda data: b'{"a":' * 200_000,
        lambda data: b"\xff\xfe" + data,
        lambda data: b"9" * 10_000,
        lambda data: b"null",
        lambda data: b'"text"',
    ],
)
def test_damaged_manifests(made: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    folder = shutil.copytree(made.parent, tmp_path / "out")
    path = folder / "tiny.json"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(EllcError) as caught:
        open_library(folder / made.name)
    assert caught.value.code == "E705"
