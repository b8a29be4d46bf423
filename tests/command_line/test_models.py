"""Model files are told apart by what is in them, and what is none is one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest

from ellc.models import read_model
from ir.builder import GraphBuilder
from ir.container import save
from ir.errors import EllcError
from ir.graph import Graph
from ir.ops.pointwise import Relu
from ir.types import DType, TensorType


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
