"""The format of a model file is recognised by its content; other files give one clear error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.ops.pointwise import Relu
from ellc.ir.types import DType, TensorType
from ellc.models import read_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def graph() -> Graph:
    b = GraphBuilder("g")
    b.output("y", b.add(Relu(), b.input("x", TensorType(DType.F32, (1, 2)))))
    return b.build()


@pytest.mark.parametrize("name", ["m.eir", "m.zip", "m"])
def test_eir_by_any_name(graph: Graph, tmp_path: Path, name: str) -> None:
    save(graph, tmp_path / name)
    assert read_model(tmp_path / name) == graph


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("nothing.ell", None, "E701"),
        ("folder.ell", "folder", "E701"),
        ("empty.ell", b"", "E702"),
        ("noise", b"\x08\x07\xff", "E702"),
        ("cut.eir", b"PK\x03\x04 and no more", "E140"),
        ("cut.ell.zip", b"PK\x03\x04 and no more", "E201"),
        ("cut.ell", b"\xef\xbb\xbf {", "E202"),
    ],
)
def test_what_is_no_model(tmp_path: Path, name: str, data: object, code: str) -> None:
    if data == "folder":
        (tmp_path / name).mkdir()
    elif isinstance(data, bytes):
        (tmp_path / name).write_bytes(data)
    with pytest.raises(EllcError) as caught:
        read_model(tmp_path / name)
    assert caught.value.code == code
    assert name in caught.value.where


@pytest.mark.parametrize("library", ["libm.so", "m.dll", "libm.dylib"])
def test_a_manifest_or_its_folder_leads_to_the_library(tmp_path: Path, library: str) -> None:
    manifest = tmp_path / "m.json"
    document = {"format": 1, "name": "m", "made_by": "ellc 0.1.0", "inputs": []}
    manifest.write_text(json.dumps(document, indent=1))
    for path, code in ((manifest, "E702"), (tmp_path, "E701")):
        with pytest.raises(EllcError, match=code) as caught:
            read_model(path)
        assert "ellc reads" in caught.value.hint
        (tmp_path / library).touch()
        with pytest.raises(EllcError, match=code) as caught:
            read_model(path)
        assert caught.value.hint == f"`ellc run` takes the library {tmp_path / library}"
        (tmp_path / library).unlink()


@pytest.mark.parametrize(("suffix", "package"), [("onnx", "onnx"), ("tflite", "flatbuffers")])
def test_a_missing_package_is_named(
    tmp_path: Path, ellc_command, suffix: str, package: str
) -> None:
    data = {"onnx": b"\x08\x07\x12\x00", "tflite": b"\x1c\x00\x00\x00TFL3" + bytes(16)}
    (tmp_path / f"m.{suffix}").write_bytes(data[suffix])
    without = f"import sys; sys.modules[{package!r}] = None"
    done = ellc_command("inspect", f"m.{suffix}", prepared=without)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error[E211]: m.{suffix}: ")
    assert package in done.stderr and f"pip install 'ellc-compiler[{suffix}]'" in done.stderr
    assert "pipx inject ellc-compiler" in done.stderr
