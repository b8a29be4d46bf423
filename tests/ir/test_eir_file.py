from __future__ import annotations

import contextlib
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ellc.ir.builder import GraphBuilder
from ellc.ir.container import ALIGN_BYTES, load, save
from ellc.ir.errors import EllcError
from ellc.ir.graph import Graph
from ellc.ir.interp import evaluate
from ellc.ir.ops.pointwise import Add
from ellc.ir.types import DType, TensorType
from ellc.ir.weights import WeightPool


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """A copy of a container after `change` of its members."""
    with zipfile.ZipFile(path) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    change(members)
    other = path.with_name("changed.eir")
    with zipfile.ZipFile(other, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return other


def edit_index(change: Callable[[dict[str, object]], None]) -> Callable[[dict[str, bytes]], None]:
    def edit(members: dict[str, bytes]) -> None:
        head = json.loads(members["ellc.json"])
        change(head)
        members["ellc.json"] = json.dumps(head).encode()

    return edit


def test_identity_and_equal_bytes(varied_graph: Graph, tmp_path: Path) -> None:
    first, second = tmp_path / "a.eir", tmp_path / "b.eir"
    save(varied_graph, first)
    loaded = load(first, check=True)
    assert loaded == varied_graph
    for value, array in varied_graph.constant_arrays().items():
        np.testing.assert_array_equal(loaded.constant_arrays()[value], array, strict=True)
    save(loaded, second)
    assert first.read_bytes() == second.read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_loaded_weights_compute(varied_graph: Graph, tmp_path: Path) -> None:
    save(varied_graph, tmp_path / "g.eir")
    rng = np.random.default_rng(0)
    inputs = tuple(rng.random(t.shape, np.float32) for t in varied_graph.input_types())
    want, got = evaluate(varied_graph, inputs), evaluate(load(tmp_path / "g.eir"), inputs)
    for a, b in zip(want.outputs, got.outputs, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)


def test_every_element_type_and_shape_survives(tmp_path: Path) -> None:
    b = GraphBuilder("types")
    for dtype in DType:
        array = np.arange(6).reshape(2, 3).astype(dtype.numpy)
        b.output(dtype.value, b.constant(array, dtype))
    b.output("scalar", b.constant(np.array(2.5, np.float32)))
    b.output("empty", b.constant(np.zeros((3, 0), np.float32)))
    b.output("big endian", b.constant(np.arange(3, dtype=">f4").astype(np.float32)))
    graph = b.build()
    save(graph, tmp_path / "g.eir")
    loaded = load(tmp_path / "g.eir", check=True)
    assert loaded == graph
    for value, array in graph.constant_arrays().items():
        np.testing.assert_array_equal(loaded.constant_arrays()[value], array, strict=True)


def test_weights_are_aligned_and_read_only(varied_graph: Graph, tmp_path: Path) -> None:
    save(varied_graph, tmp_path / "g.eir")
    with zipfile.ZipFile(tmp_path / "g.eir") as archive:
        index = json.loads(archive.read("ellc.json"))["weights"]
    assert len(index) > 3
    assert all(e["offset"] % ALIGN_BYTES == 0 for e in index)
    loaded = load(tmp_path / "g.eir")
    for array in loaded.constant_arrays().values():
        assert array.ctypes.data % ALIGN_BYTES == 0
        with pytest.raises(ValueError, match="read-only"):
            array.reshape(-1)[0] = 0


def test_a_graph_without_weights(tmp_path: Path) -> None:
    b = GraphBuilder("sum")
    x, y = (b.input(n, TensorType(DType.F32, (2,))) for n in "xy")
    b.output("z", b.add(Add(), x, y))
    save(b.build(), tmp_path / "g.eir")
    assert load(tmp_path / "g.eir", check=True) == b.build()


@pytest.mark.slow
def test_ten_thousand_nodes(chain: Callable[[int], Graph], tmp_path: Path) -> None:
    graph = chain(10_000)
    save(graph, tmp_path / "g.eir")
    assert load(tmp_path / "g.eir") == graph


def first_weight(head: dict[str, object]) -> dict[str, object]:
    entries = head["weights"]
    assert isinstance(entries, list)
    entry: dict[str, object] = entries[0]
    return entry


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("ellc.json"),
        lambda m: m.pop("graph.txt"),
        lambda m: m.pop("weights.bin"),
        lambda m: m.update({"ellc.json": b"[]"}),
        lambda m: m.update({"ellc.json": b"{"}),
        lambda m: m.update({"ellc.json": b'{"format": 1, "weights": [1]}'}),
        lambda m: m.update({"ellc.json": b"[" * 100_000}),
        lambda m: m.update({"graph.txt": b"\xff\xfe"}),
        lambda m: m.update({"graph.txt": b""}),
        lambda m: m.update({"weights.bin": b"\0"}),
        edit_index(lambda h: h.update(format=2)),
        edit_index(lambda h: h.update(weights=[])),
        edit_index(lambda h: first_weight(h).update(offset=-64)),
        edit_index(lambda h: first_weight(h).update(offset=10**30)),
        edit_index(lambda h: first_weight(h).update(offset=None)),
        edit_index(lambda h: first_weight(h).update(shape=[-1, 2])),
        edit_index(lambda h: first_weight(h).update(shape=[2**40, 2**40])),
        edit_index(lambda h: first_weight(h).update(shape=[0, 2**70])),
        edit_index(lambda h: first_weight(h).update(shape=3)),
        edit_index(lambda h: first_weight(h).update(shape=[[1]])),
        edit_index(lambda h: first_weight(h).update(dtype="O")),
        edit_index(lambda h: first_weight(h).update(dtype="M8[s]")),
        edit_index(lambda h: first_weight(h).update(dtype="no such")),
        edit_index(lambda h: first_weight(h).update(dtype="f4,f4")),
        edit_index(lambda h: first_weight(h).update(dtype="((")),
        edit_index(lambda h: first_weight(h).update(dtype="<f4, (")),
        edit_index(lambda h: first_weight(h).update(dtype="(4)<f4")),
        edit_index(lambda h: first_weight(h).update(key=[1])),
        edit_index(lambda h: first_weight(h).pop("key")),
    ],
)
def test_wrong_contents_are_rejected(
    change: Callable[[dict[str, bytes]], None], varied_graph: Graph, tmp_path: Path
) -> None:
    save(varied_graph, tmp_path / "g.eir")
    with pytest.raises(EllcError) as error:
        load(rewritten(tmp_path / "g.eir", change))
    assert error.value.code in ("E110", "E130", "E140")


def test_check_finds_changed_weights(varied_graph: Graph, tmp_path: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        members["weights.bin"] = b"\1" + members["weights.bin"][1:]

    save(varied_graph, tmp_path / "g.eir")
    other = rewritten(tmp_path / "g.eir", change)
    load(other)
    with pytest.raises(EllcError, match="hashes"):
        load(other, check=True)


def test_no_such_file_and_no_zip(tmp_path: Path) -> None:
    (tmp_path / "text.eir").write_text("hello")
    (tmp_path / "empty.eir").write_bytes(b"")
    for name in ("missing.eir", "text.eir", "empty.eir", "."):
        with pytest.raises(EllcError) as error:
            load(tmp_path / name)
        assert error.value.code == "E140"


def test_compressed_weights_are_rejected(varied_graph: Graph, tmp_path: Path) -> None:
    save(varied_graph, tmp_path / "g.eir")
    with zipfile.ZipFile(tmp_path / "g.eir") as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "c.eir", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(EllcError, match="compressed"):
        load(tmp_path / "c.eir")


def test_damaged_files_raise_nothing_else(varied_graph: Graph, tmp_path: Path) -> None:
    save(varied_graph, tmp_path / "g.eir")
    whole = (tmp_path / "g.eir").read_bytes()
    rng = np.random.default_rng(3)
    damaged = tmp_path / "d.eir"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for round_ in range(600):
            data = bytearray(whole)
            if round_ % 3 == 0:
                data = data[: int(rng.integers(len(data)))]
            for _ in range(int(rng.integers(1, 4))):
                if data:
                    data[int(rng.integers(len(data)))] = int(rng.integers(256))
            damaged.write_bytes(bytes(data))
            with contextlib.suppress(EllcError):
                load(damaged, check=True)


def test_a_number_and_a_vector_of_one_number_are_different_weights() -> None:
    pool = WeightPool()
    scalar, vector = np.float32(2).reshape(()), np.full(1, 2, np.float32)
    assert pool.add(scalar) != pool.add(vector)
    assert pool[pool.add(scalar)].shape == ()


@pytest.mark.parametrize("entry", ["key", "dtype", "shape", "offset"])
def test_an_index_without_an_entry_says_so(entry: str, varied_graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "x.eir"
    save(varied_graph, path)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    head = json.loads(contents["ellc.json"])
    del head["weights"][0][entry]
    contents["ellc.json"] = json.dumps(head).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    with pytest.raises(EllcError, match="lacks a valid key, dtype, shape or offset"):
        load(path)
