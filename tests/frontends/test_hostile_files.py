"""Files that declare more than they contain give one clear error, and take bounded resources."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_models import model, node
from PIL import Image
from small_model_files import small_onnx

from ellc.frontends.problems import Problems
from ellc.ir.builder import GraphBuilder
from ellc.ir.container import save
from ellc.ir.errors import EllcError
from ellc.ir.json_values import MOST_VALUES
from ellc.ir.types import DType, TensorType
from ellc.manifest import read_manifest
from ellc.models import read_model
from ellc.pictures.images import load_input, load_labels
from ellc.pictures.pixels import Preprocessing
from ellc.tuning import read_tuning

X = np.ones((1, 4), np.float32)
RGB_4x4 = TensorType(DType.F32, (4, 4, 3))
MEBI = 1 << 20


def code_of(path: Path) -> str:
    with pytest.raises(EllcError) as caught:
        read_model(path)
    assert caught.value.message and caught.value.where
    return caught.value.code


def small_eir(path: Path) -> Path:
    builder = GraphBuilder("small")
    x = builder.input("x", TensorType(DType.F32, (1, 4)))
    builder.output("y", x)
    save(builder.build(), path)
    return path


def rezipped(path: Path, method: int = zipfile.ZIP_DEFLATED, /, **changed: bytes) -> Path:
    """A copy of the zip file with replaced members; the weights are never compressed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | changed
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            method = zipfile.ZIP_STORED if name == "weights.bin" else method
            archive.writestr(name, data, method)
    return path


# ---- zip files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".eir", ".zip", ".ell.zip"])
def test_zip_that_asks_for_a_newer_version(suffix: str, tmp_path: Path) -> None:
    path = small_eir(tmp_path / f"model{suffix}")
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\1\2") + 6] = (
        99  # the version that is needed to extract it, in the zip directory
    )
    path.write_bytes(data)
    assert code_of(path) in ("E140", "E201")


@pytest.mark.parametrize("member", ["ellc.json", "graph.txt"])
def test_eir_whose_text_inflates(member: str, tmp_path: Path) -> None:
    path = rezipped(small_eir(tmp_path / "x.eir"), **{member: b"[" * (40 * MEBI)})
    assert path.stat().st_size < 100_000
    assert code_of(path) == "E203"


def test_eir_whose_text_is_long(tmp_path: Path) -> None:
    path = small_eir(tmp_path / "x.eir")
    assert code_of(rezipped(path, **{"graph.txt": b'graph "g" {\n' + b"[] " * MEBI})) in (
        "E203",
        "E130",
    )


def test_zip_with_many_members(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.ell.zip", "w") as archive:
        for number in range(2000):
            archive.writestr(f"{number}.txt", b"")
    assert code_of(tmp_path / "x.ell.zip") == "E203"


def test_zipped_archive_that_inflates(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.ell.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.ell", b'{"a": [' + b"0," * (40 * MEBI) + b"0]}")
    assert code_of(tmp_path / "x.ell.zip") == "E203"


# ---- JSON of many values ------------------------------------------------------------------------


def valued(unit: str, count: int, before: str = "[", after: str = "]") -> bytes:
    """A document of three megabytes that has a value, and so an object, for every three bytes."""
    return (before + ",".join([unit] * count) + after).encode()


@pytest.mark.parametrize("unit", ["{}", "[]", '""'])
def test_archive_of_many_values(unit: str, tmp_path: Path) -> None:
    nodes = '{"_type": "Map", "model": {"_type": "Model", "nodes": ['
    (tmp_path / "x.ell").write_bytes(valued(unit, 1_000_000, nodes, "]}}"))
    assert code_of(tmp_path / "x.ell") == "E203"


@pytest.mark.parametrize("unit", ["{}", "[]"])
def test_documents_of_many_values(unit: str, tmp_path: Path) -> None:
    """The documents are refused before they are parsed."""
    path, document = tmp_path / "x.json", valued(unit, MOST_VALUES + 1)
    path.write_bytes(document)
    for read in (read_tuning, lambda path: read_manifest(path, path)):
        with pytest.raises(EllcError, match="more than 1,000,000 values"):
            read(path)
    eir = small_eir(tmp_path / "x.eir")
    rezipped(eir, zipfile.ZIP_STORED, **{"ellc.json": document})
    with pytest.raises(EllcError, match="more than 1,000,000 values"):
        read_model(eir)


def test_problems_are_counted_and_the_first_are_kept(tmp_path: Path) -> None:
    problems = Problems()
    for number in range(1000):
        problems.add(str(number), "is bad")
        problems.add(str(number), "is bad")
    assert len(problems) == 1000 and len(problems.lines) == 100
    with pytest.raises(EllcError, match="and 900 more"):
        problems.raise_if_any("much is bad", code="E204")
    (tmp_path / "x.json").write_bytes(
        valued("{}", 300_000, '{"format": "ellc tuning 1", "entries": [', "]}")
    )
    tracemalloc.start()
    try:
        with pytest.raises(EllcError, match="and more"):
            read_tuning(tmp_path / "x.json")
        assert tracemalloc.get_traced_memory()[1] < 60 * MEBI
    finally:
        tracemalloc.stop()


def test_weights_that_share_one_place(tmp_path: Path) -> None:
    """A thousand arrays share a megabyte of booleans; the size of the file bounds their total."""
    place = {"dtype": "|b1", "shape": [MEBI], "offset": 0}
    head = {"format": 1, "weights": [{"key": f"{i:032x}", **place} for i in range(1000)]}
    changed = {"ellc.json": json.dumps(head).encode(), "weights.bin": bytes(MEBI)}
    assert code_of(rezipped(small_eir(tmp_path / "x.eir"), **changed)) == "E140"


# ---- plain files --------------------------------------------------------------------------------

IN_BOUNDS = """
import resource, sys
from pathlib import Path
from ellc.models import read_model
from ellc.ir.errors import EllcError
used = int(next(l for l in open("/proc/self/status") if l.startswith("VmSize")).split()[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20),) * 2)
try:
    read_model(Path(sys.argv[1]))
except EllcError as error:
    print(error.code)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux")
def test_small_archive_reserves_little(tmp_path: Path) -> None:
    path = tmp_path / "x.ell"
    path.write_text('{"_type": "Nothing"}')
    done = subprocess.run([sys.executable, "-c", IN_BOUNDS, path], capture_output=True, text=True)
    assert done.stdout in ("E204\n", "E205\n"), done.stdout + done.stderr


def sparse(path: Path, size: int) -> Path:
    with path.open("ab") as file:
        file.truncate(size)
        try:
            if os.lseek(file.fileno(), 0, os.SEEK_HOLE) >= size:
                pytest.skip("the file system keeps no holes")
        except (OSError, AttributeError):
            pytest.skip("the system does not tell of holes")
    return path


@pytest.mark.parametrize("suffix", [".onnx", ".tflite", ".ell"])
def test_files_of_holes(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"{" if suffix == ".ell" else b"")
    assert code_of(sparse(path, 1 << 30)) == "E203"


def external(folder: Path, location: str, rows: int = 4) -> Path:
    """A model whose weights are in another file."""
    proto = model([node("MatMul", ["x", "w"], ["y"])], {"x": np.ones((1, rows), "f4")}, ["y"])
    tensor = proto.graph.initializer.add(name="w", data_type=onnx.TensorProto.FLOAT)
    tensor.dims.extend((rows, 3))
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_external_tensor_in_a_file_of_holes(tmp_path: Path) -> None:
    sparse(tmp_path / "weights", 12 << 24)
    assert code_of(external(tmp_path, "weights", 1 << 24)) == "E203"


def on_one_file(folder: Path, count: int, step: int) -> Path:
    """A model of `count` tensors of a megabyte, at offsets that are multiples of `step`."""
    rows, names = 1 << 18, [f"w{i}" for i in range(count)]
    (folder / "weights").write_bytes(bytes(rows * 4 + 4 * count))
    nodes = [node("Add", ["x", name], [f"y{name}"]) for name in names]
    proto = model(nodes, {"x": np.ones((1, rows), "f4")}, [f"y{name}" for name in names])
    for index, name in enumerate(names):
        tensor = proto.graph.initializer.add(name=name, data_type=1, dims=(1, rows))
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", "weights"), ("offset", str(index * step))):
            tensor.external_data.add(key=key, value=value)
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_many_tensors_on_one_file(tmp_path: Path) -> None:
    """The total size of ranges of a file is bounded by its size, even if they are equal."""
    assert len(read_model(on_one_file(tmp_path, 20, step=0)).outputs) == 20
    assert code_of(on_one_file(tmp_path, 20, step=4)) == "E203"
    assert code_of(on_one_file(tmp_path, 80, step=0)) == "E203"


@pytest.mark.parametrize(
    "location", ["sub", "sub/", ".", "", "\n", "a\0b", "%s", "a\\b", "x" * 5000, "sub/../sub"]
)
def test_external_locations(location: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    assert code_of(external(tmp_path, location)) == "E210"


# ---- versions -----------------------------------------------------------------------------------


def _version(number: int) -> Callable[[onnx.ModelProto], object]:
    return lambda proto: setattr(proto.opset_import[0], "version", number)


def _other_domain(proto: onnx.ModelProto) -> None:
    proto.opset_import[0].domain = "x"


@pytest.mark.parametrize("change", [_version(0), _version(-3), _version(-(2**63)), _other_domain])
def test_no_version_of_the_operators(change: Callable[[onnx.ModelProto], object], tmp_path) -> None:
    proto = onnx.ModelProto.FromString(small_onnx())
    change(proto)
    (tmp_path / "x.onnx").write_bytes(proto.SerializeToString())
    assert code_of(tmp_path / "x.onnx") == "E210"


@pytest.mark.parametrize("version", [2**31 - 1, 2**31, 2**63 - 1])
def test_version_newer_than_any_is_the_newest(version: int, tmp_path: Path) -> None:
    proto = onnx.ModelProto.FromString(small_onnx())
    _version(version)(proto)
    (tmp_path / "x.onnx").write_bytes(proto.SerializeToString())
    assert read_model(tmp_path / "x.onnx").nodes


@pytest.mark.parametrize("opset", [1, 7, 9, 2**31])
@pytest.mark.parametrize("operator", ["SoftmaxCrossEntropyLoss", "CenterCropPad", "Attention"])
def test_operators_that_a_version_does_not_have(operator: str, opset: int, tmp_path: Path) -> None:
    proto = model([node(operator, ["x", "x", "x"], ["y"])], {"x": X}, ["y"], opset=opset)
    (tmp_path / "x.onnx").write_bytes(proto.SerializeToString())
    assert code_of(tmp_path / "x.onnx") == "E212"


# ---- arrays, pictures, labels -------------------------------------------------------------------


def npy(text: str, version: bytes = b"\1\0") -> bytes:
    header = text.encode("latin-1")
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header + bytes(192)


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 12), }\n"


def input_code(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(EllcError) as caught:
        load_input(path, RGB_4x4, Preprocessing())
    return caught.value.code


@pytest.mark.parametrize(
    "data",
    [
        npy(GOOD.replace("(4, 12)", "(99999999999999999999999, 4)")),
        npy(GOOD.replace("(4, 12)", "(4, -12)")),
        npy(GOOD.replace("(4, 12)", "(True, 48)")),
        npy(GOOD.replace("(4, 12)", "(" * 3000)),
        npy(GOOD.replace("(4, 12)", "1" * 6000 + ",")),
        npy(GOOD.replace("'<f4'", "'<.8'")),
        npy(GOOD.replace("'<f4'", "'O'")),
        npy(GOOD.replace("'<f4'", "[('a', '<f4')]")),
        npy(GOOD.replace("'shape'", "'sha\\pe'")),
        npy(GOOD.replace("False", "None")),
        npy(GOOD.replace(", 'sh", "\0 ...\xff 'sh")),
        npy("  if x:\n\t1\n 0777"),
        npy(GOOD, b"\7\0"),
        npy(GOOD)[:100],
        b"\x93NUMPY",
        b"\x93NUMPY\1\0\xff\xff" + b"{" * 65535,
    ],
)
def test_headers_of_arrays(data: bytes, tmp_path: Path) -> None:
    assert input_code(tmp_path / "x.npy", data) in ("E720", "E721")


def test_arrays_of_every_order_and_version(tmp_path: Path) -> None:
    values = np.arange(48, dtype=np.float32).reshape(4, 4, 3)
    for order in (values, np.asfortranarray(values), values.astype(">i2")):
        for version in ((1, 0), (2, 0), (3, 0)):
            with (tmp_path / "x.npy").open("wb") as file:
                np.lib.format.write_array(file, order, version)
            got = load_input(tmp_path / "x.npy", RGB_4x4, Preprocessing())
            assert got.ravel().tolist() == list(range(48))


def test_pictures_are_of_the_kinds_that_are_said(tmp_path: Path) -> None:
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    assert input_code(tmp_path / "x.png", postscript) == "E715"
    picture = Image.new("RGB", (4, 4), (10, 20, 30))
    for suffix in ("png", "jpeg", "bmp", "gif", "webp", "ppm"):
        picture.save(tmp_path / f"x.{suffix}")
        assert load_input(tmp_path / f"x.{suffix}", RGB_4x4, Preprocessing()).shape == (4, 4, 3)
    for suffix in ("tiff", "tga", "ico", "pcx"):
        picture.save(tmp_path / f"x.{suffix}")
        assert input_code(tmp_path / "y.png", (tmp_path / f"x.{suffix}").read_bytes()) == "E715"


def test_pictures_with_too_many_pixels(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.new("1", (9400, 9400)).save(content, "PNG")
    assert len(content.getvalue()) < 50_000
    assert input_code(tmp_path / "x.png", content.getvalue()) == "E715"


@pytest.mark.slow
def test_pictures_of_many_scans(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.new("RGB", (8000, 8000)).save(content, "JPEG", progressive=True)
    jpeg = content.getvalue()
    last = jpeg.rfind(b"\xff\xda")
    scans = jpeg[:-2] + 30 * jpeg[last:-2] + jpeg[-2:]
    assert input_code(tmp_path / "x.jpg", scans) == "E715"


def test_labels_without_end(tmp_path: Path) -> None:
    path = sparse(tmp_path / "labels.txt", 1 << 30)
    with pytest.raises(EllcError):
        load_labels(path)
